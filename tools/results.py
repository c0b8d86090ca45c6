"""Short trainings of both methods on the small sets, measured alike: the table and the pictures of docs/results.md.

    uv run translate data get emoji && uv run translate data get sneaker2boot
    uv run --extra metrics python tools/results.py --jobs 2 --out runs

Each line of RECIPES is trained with three seeds, one thread each, `--jobs` at a time, and evaluated on the test images at the
size that training saw. Runs that exist already are not repeated.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import translate
from translate import images
from translate.data import layouts
from translate.evaluation import image_sets, paired

SEEDS = (0, 1, 2)
SHOWN = 6
COMMON = ["--norm", "batch", "--norm-statistics", "running", "--threads", "1", "--device", "cpu"]
SIZE_64 = ["--load-size", "128", "--crop-size", "64"]
PIX2PIX = [
    *COMMON, "--batch-size", "16", "--g-width", "24", "--d-width", "24", "--dropout", "off", "--lr", "5e-4",
    "--lambda-l1", "300",
]  # fmt: skip
CYCLEGAN = [
    *COMMON, "--batch-size", "4", "--generator", "unet_16", "--g-width", "16", "--discriminator", "n_layers", "--d-layers",
    "2", "--d-width", "32", "--lr", "1e-3", "--lambda-cycle", "5",
]  # fmt: skip
GREY = ["--load-size", "32", "--crop-size", "32", "--input-channels", "1", "--output-channels", "1"]


@dataclass(frozen=True)
class ResultRecipe:
    """Settings of one method on one data set."""

    method: str
    data: str
    images: int
    decay: int
    flags: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.method}-{self.data}"

    def command(self, root: Path, run: Path, seed: int) -> list[str]:
        plan = [
            "--images",
            str(self.images),
            "--decay-images",
            str(self.decay),
            "--log-every",
            "500",
            "--seed",
            str(seed),
        ]
        return ["train", self.method, str(root / self.data), "--run", str(run), *plan, *self.flags]


RECIPES = (
    ResultRecipe("pix2pix", "earth_map", 16000, 8000, [*PIX2PIX, *SIZE_64]),
    ResultRecipe("pix2pix", "emoji", 16000, 8000, [*PIX2PIX, *SIZE_64]),
    ResultRecipe("cyclegan", "earth_map", 4000, 2800, [*CYCLEGAN, *SIZE_64]),
    ResultRecipe("cyclegan", "earth_season", 4000, 2800, [*CYCLEGAN, *SIZE_64]),
    ResultRecipe("cyclegan", "emoji", 4000, 2800, [*CYCLEGAN, *SIZE_64]),
    ResultRecipe("cyclegan", "sneaker2boot", 10000, 7000, [*CYCLEGAN, *GREY]),
)
METRIC_KEYS = ("l1", "psnr", "ssim", "kid", "swd", "edge_correlation", "cycle_psnr")


def do(recipe: ResultRecipe, seed: int, root: Path, out: Path) -> None:
    """Run one training and its evaluation, in processes of their own."""
    run = out / f"{recipe.name}-{seed}"
    record = run / "metrics.json"
    if record.exists():
        return
    env = {**os.environ, "GOMP_SPINCOUNT": "10000", "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    _translate(recipe.command(root, run, seed), env, run)
    trained = time.monotonic() - began
    wanted = [name for name in METRIC_KEYS if not (recipe.method == "pix2pix" and name in METRIC_KEYS[4:])]
    if recipe.data == "sneaker2boot":  # no pairs
        wanted = [name for name in wanted if name not in METRIC_KEYS[:3]]
    figures = ["--metrics", ",".join(wanted), "--device", "cpu"]
    _translate(["evaluate", str(run), str(root / recipe.data), *figures], env, run)
    (run / "seconds.json").write_text(json.dumps({"training": trained}))
    print(f"{run.name}: {trained:.0f} s", file=sys.stderr, flush=True)


def _translate(words: list[str], env: dict[str, str], run: Path) -> None:
    """Run a command of the program; its output goes to a file beside the run."""
    with open(run.with_name(f"{run.name}.log"), "ab") as log:
        subprocess.run([sys.executable, "-m", "translate", *words], env=env, stdout=log, stderr=log, check=True)


def table(out: Path) -> str:
    """Return a table with a row for each run, and below those of a recipe their mean and standard deviation."""
    head = ["run", "images", "minutes", *METRIC_KEYS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for recipe in RECIPES:
        found = [_figures(out / f"{recipe.name}-{seed}") for seed in SEEDS]
        for seed, (minutes, figures) in zip(SEEDS, found, strict=True):
            cells = [_cell(figures.get(name)) for name in METRIC_KEYS]
            lines.append(f"| {recipe.name}, seed {seed} | {recipe.images} | {minutes:.1f} | {' | '.join(cells)} |")
        means = [_spread([figures.get(name) for _, figures in found]) for name in METRIC_KEYS]
        lines.append(f"| **{recipe.name}** | | | {' | '.join(means)} |")
    return "\n".join(lines)


def _figures(run: Path) -> tuple[float, dict[str, Any]]:
    seconds = json.loads((run / "seconds.json").read_text())["training"]
    return seconds / 60, json.loads((run / "metrics.json").read_text())["metrics"]


def _cell(figure: dict[str, float] | None) -> str:
    return "" if figure is None else f"{figure['value']:.3g} ± {figure['error']:.2g}"


def _spread(figures: list[dict[str, float] | None]) -> str:
    values = [figure["value"] for figure in figures if figure is not None]
    return f"{statistics.fmean(values):.3g}, σ {statistics.stdev(values):.2g}" if values else ""


def copying(root: Path) -> str:
    """Return the scores of a model that copies its input, for sets whose truth is known."""
    lines = ["| set | l1 | psnr | ssim |", "|---|---|---|---|"]
    for data in dict.fromkeys(recipe.data for recipe in RECIPES if recipe.data != "sneaker2boot"):
        split = layouts.find_split(root / data, "paired", "test")
        x, y = (
            image_sets.read_image_set(side, root / data, image_sets.ReadOptions(128)).stack("copying")
            for side in (split.a, split.b)
        )
        values = [function(x, y).mean().item() for function in (paired.l1, paired.psnr, paired.ssim)]
        lines.append(f"| {data} | " + " | ".join(f"{value:.3g}" for value in values) + " |")
    return "\n".join(lines)


def pictures(root: Path, out: Path, target: Path) -> None:
    """Write a grid for each recipe: input, each seed's translation, and the truth if it is known."""
    for recipe in RECIPES:
        grey = recipe.data == "sneaker2boot"
        split = layouts.find_split(root / recipe.data, "unpaired" if grey else "paired", "test").subsample(SHOWN)
        options = image_sets.ReadOptions(32, 1) if grey else image_sets.ReadOptions(128)
        a, b = (image_sets.read_image_set(side, root / recipe.data, options) for side in (split.a, split.b))
        x = a.all_normalized()
        columns = {"input": x}
        for seed in SEEDS:
            columns[f"seed {seed}"] = translate.load(out / f"{recipe.name}-{seed}", device="cpu")(x)
        if not grey:
            columns["truth"] = b.all_normalized()
        images.make_comparison_grid(columns).save(target / f"results-{recipe.name}.jpg", quality=88, subsampling=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("datasets"))
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        work = [pool.submit(do, recipe, seed, args.data, args.out) for seed in SEEDS for recipe in RECIPES]
        for each in work:
            each.result()
    print(table(args.out), copying(args.data), sep="\n\n")
    pictures(args.data, args.out, args.pictures)


if __name__ == "__main__":
    main()
