"""Short trainings of the other methods on the small sets: the pictures of README's table of methods and docs/methods/.

    uv run python tools/method_examples.py --data datasets --out runs --jobs 2

One thread each, a few minutes; what is there already is not trained again. `--only NAME` makes one of them.
"""

import argparse
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

import translate
from translate import images
from translate.conversion import sampling
from translate.data import layouts
from translate.evaluation import image_sets
from translate.trained import find

SHOWN = 5
"""Rows of a picture."""
GREY = ["--input-channels", "1", "--output-channels", "1", "--load-size", "32", "--crop-size", "32"]
EARTH = ["--load-size", "128", "--crop-size", "64"]


@dataclass(frozen=True)
class ExampleRecipe:
    """One method on one set."""

    method: str
    data: str
    size: int
    """Pixels a side of the pictures."""
    flags: list[str] = field(default_factory=list)

    def command(self, root: Path, run: Path) -> list[str]:
        common = ["--threads", "1", "--device", "cpu", "--log-every", "1000", "--ema-half-life", "500"]
        return ["train", self.method, str(root / self.data), "--run", str(run), *common, *self.flags]


RECIPES = (
    ExampleRecipe("dualgan", "earth_season", 128, [
        *EARTH, "--images", "2400", "--batch-size", "4", "--g-width", "24", "--d-width", "24", "--adversarial", "lsgan",
        "--lr", "2e-4", "--lambda-a", "10", "--lambda-b", "10", "--discriminator", "dualgan_patch",
    ]),
    ExampleRecipe("discogan", "sneaker2boot", 32, [
        *GREY, "--images", "40000", "--batch-size", "32", "--g-width", "24", "--d-width", "24", "--gan-curriculum", "300",
        "--lr", "5e-4",
    ]),
    ExampleRecipe("cut", "earth_season", 128, [
        *EARTH, "--images", "2500", "--decay-images", "1200", "--batch-size", "1", "--generator", "antialias_4blocks",
        "--g-width", "16", "--d-width", "24", "--lr", "5e-4", "--whole-in-decay", "off",
    ]),
    ExampleRecipe("fastcut", "earth_season", 128, [
        *EARTH, "--images", "1800", "--decay-images", "900", "--batch-size", "1", "--generator", "antialias_4blocks",
        "--g-width", "16", "--d-width", "24", "--lr", "5e-4", "--whole-in-decay", "off",
    ]),
    ExampleRecipe("stargan", "shoes_domains", 32, [
        *GREY, "--images", "24000", "--decay-images", "12000", "--batch-size", "16", "--g-width", "24", "--d-width", "24",
        "--n-critic", "2", "--lr", "5e-4",
    ]),
    ExampleRecipe("dcgan", "sneakers_and_boots", 32, [
        *GREY, "--images", "24000", "--batch-size", "32", "--g-width", "32", "--d-width", "32", "--lr", "5e-4",
        "--real-label", "0.9",
    ]),
)  # fmt: skip


def prepare(root: Path, out: Path) -> Path:
    """Make a data folder with the sets as they are, and two that are composed of them."""
    data = out / "data"
    shoes = root / "sneaker2boot"
    copies = {
        "earth_season": root / "earth_season",
        "sneaker2boot": shoes,
        "sneakers_and_boots/sneaker": shoes / "trainA",
        "sneakers_and_boots/boot": shoes / "trainB",
        "shoes_domains/train/sneaker": shoes / "trainA",
        "shoes_domains/train/boot": shoes / "trainB",
        "shoes_domains/test/sneaker": shoes / "testA",
        "shoes_domains/test/boot": shoes / "testB",
    }
    for name, source in copies.items():
        if not (data / name).exists():
            shutil.copytree(source, data / name)
    return data


def train(recipe: ExampleRecipe, root: Path, out: Path) -> None:
    """In a process of its own; its output goes to a file beside the run."""
    run = out / recipe.method
    env = {**os.environ, "GOMP_SPINCOUNT": "10000", "OMP_NUM_THREADS": "1"}
    with open(out / f"{recipe.method}.log", "ab") as log:
        command = [sys.executable, "-m", "translate", *recipe.command(root, run)]
        subprocess.run(command, env=env, stdout=log, stderr=log, check=True)


def picture(recipe: ExampleRecipe, root: Path, out: Path, target: Path) -> None:
    """Held-out inputs and what the model makes of them; of dcgan a sheet of samples."""
    run, place = out / recipe.method, target / f"method-{recipe.method}.png"
    if recipe.method == "dcgan":
        made = sampling.ImageSampler(find.read_model(run), torch.device("cpu"))(range(30))
        images.write_png(place, images.make_grid(torch.nn.functional.interpolate(made, scale_factor=3), 10))
        return
    layout = "domains" if recipe.method == "stargan" else "unpaired"
    split = layouts.find_split(root / recipe.data, layout, "test").subsample(SHOWN)
    model = translate.load(run, device="cpu")
    shown = image_sets.read_image_set(
        split.a, root / recipe.data, image_sets.ReadOptions(recipe.size, 1 if recipe.size == 32 else 3)
    )
    x = torch.cat([shown.normalized(i) for i in range(len(shown))])
    if recipe.method == "stargan":
        columns = {"input": x, **{f"to {name}": model(x, name) for name in model.directions}}
    else:
        there = model(x)
        columns = {"input": x, "output": there, **({"and back": model(there, "a")} if "a" in model.directions else {})}
    images.write_png(place, images.make_comparison_grid(columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("datasets"))
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only")
    args = parser.parse_args()
    wanted = [recipe for recipe in RECIPES if args.only in (None, recipe.method)]
    root = prepare(args.data, args.out)
    with ThreadPoolExecutor(args.jobs) as pool:
        for done in [pool.submit(train, recipe, root, args.out) for recipe in wanted]:
            done.result()
    for recipe in wanted:
        picture(recipe, root, args.out, args.pictures)


if __name__ == "__main__":
    main()
