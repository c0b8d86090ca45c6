"""Short trainings of the other methods on the small sets: the pictures of README's table of methods and docs/methods/.

    uv run python tools/method_examples.py --data datasets --out runs --jobs 2

One thread each, a few minutes to half an hour; what is there already is not trained again. `--only METHOD` makes one of them.
avatar_captions, for stackgan, is fetched first: `translate data get avatar_captions`. tools/compare_noise.py makes the pictures
of other methods from noise.
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
from PIL.Image import Image

import translate
from translate import images, methods
from translate.data import layouts
from translate.evaluation import image_sets
from translate.trained import find
from translate.trained.sampler import ImageSampler

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
    ema_half_life: int = 500

    def command(self, root: Path, run: Path) -> list[str]:
        common = ["--threads", "1", "--device", "cpu", "--log-every", "1000"]
        average = ["--ema-half-life", str(self.ema_half_life)]
        return ["train", self.method, str(root / self.data), "--run", str(run), *common, *average, *self.flags]


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
    ExampleRecipe("starganv2", "hair_domains", 32, ["--preset", "quick"], ema_half_life=2000),
    ExampleRecipe("stackgan", "avatar_captions", 32, ["--preset", "quick"], ema_half_life=2000),
    ExampleRecipe("dcgan", "sneakers_and_boots", 32, [
        *GREY, "--images", "24000", "--batch-size", "32", "--g-width", "32", "--d-width", "32", "--lr", "5e-4",
        "--real-label", "0.9",
    ]),
)  # fmt: skip


def prepare(root: Path, out: Path) -> Path:
    """Make a data folder with the sets as they are, and three that are composed of them."""
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
        **{
            f"hair_domains/{split}/{name}": root / "avatar_hair" / f"{split}{side}"
            for split in ("train", "test")
            for side, name in (("A", "dark"), ("B", "blond"))
        },
        "avatar_captions": root / "avatar_captions",
    }
    for name, source in copies.items():
        if source.exists() and not (data / name).exists():
            shutil.copytree(source, data / name)
    return data


def train(recipe: ExampleRecipe, root: Path, out: Path) -> None:
    """In a process of its own; its output goes to a file beside the run."""
    run = out / recipe.method
    env = {**os.environ, "GOMP_SPINCOUNT": "10000", "OMP_NUM_THREADS": "1"}
    with open(out / f"{recipe.method}.log", "ab") as log:
        command = [sys.executable, "-m", "translate", *recipe.command(root, run)]
        subprocess.run(command, env=env, stdout=log, stderr=log, check=True)


TEXTS = {
    "black, red": "a person with short black hair and a red shirt",
    "blond, blue": "a person with long blond hair and a blue shirt",
    "auburn, green": "a person with long auburn hair and a green shirt",
    "beard, yellow": "a person with short brown hair, a yellow shirt and a beard",
}
"""Texts of the picture of stackgan, by what stands above their column."""


def draw_samples(run: Path) -> Image:
    """Draw a sheet of samples, enlarged threefold."""
    made = ImageSampler(find.read_model(run), torch.device("cpu"))(range(30))
    return images.make_grid(torch.nn.functional.interpolate(made, scale_factor=3), 10)


def draw_texts(run: Path) -> Image:
    """Draw samples of a few texts, a column for each."""
    sampler = ImageSampler(find.read_model(run), torch.device("cpu"))
    return images.make_comparison_grid({name: sampler(range(SHOWN), text=text) for name, text in TEXTS.items()})


def draw_styles(run: Path, x: torch.Tensor) -> Image:
    """Draw held-out dark hair, an example of blond hair, the input in its style and in two random ones."""
    model = translate.load(run, device="cpu")
    blond, dark = x[:SHOWN], x[-SHOWN:]  # domains in the order of their names
    styled = [model(dark[i : i + 1], "blond", style=blond[i : i + 1]) for i in range(SHOWN)]
    drawn = {f"style {sample + 1}": model(dark, "blond", sample=sample) for sample in range(2)}
    return images.make_comparison_grid({"input": dark, "example": blond, "in its style": torch.cat(styled), **drawn})


def draw_translations(run: Path, x: torch.Tensor) -> Image:
    """Draw held-out inputs and what the model makes of them."""
    model = translate.load(run, device="cpu")
    if model.info.method == "stargan":
        return images.make_comparison_grid({"input": x, **{f"to {name}": model(x, name) for name in model.directions}})
    there = model(x)
    back = {"and back": model(there, "a")} if "a" in model.directions else {}
    return images.make_comparison_grid({"input": x, "output": there, **back})


def read_inputs(recipe: ExampleRecipe, root: Path, count: int) -> torch.Tensor:
    """Return held-out inputs, evenly spaced: of two domains as many of each."""
    method = methods.find(recipe.method)
    assert method is not None, "the recipes name methods that there are"
    refs = layouts.find_split(root / recipe.data, method.layout, "test").subsample(count).a
    options = image_sets.ReadOptions(recipe.size, 1 if GREY[:2] == recipe.flags[:2] else 3)
    return image_sets.read_image_set(refs, root / recipe.data, options).all_normalized()


def picture(recipe: ExampleRecipe, root: Path, out: Path, target: Path) -> None:
    """Write the picture of a method."""
    run = out / recipe.method
    if recipe.method in ("dcgan", "stackgan"):
        drawn = draw_samples(run) if recipe.method == "dcgan" else draw_texts(run)
    elif recipe.method == "starganv2":
        drawn = draw_styles(run, read_inputs(recipe, root, 2 * SHOWN))
    else:
        drawn = draw_translations(run, read_inputs(recipe, root, SHOWN))
    images.write_png(target / f"method-{recipe.method}.png", drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("datasets"))
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="one method")
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
