"""Accuracy of sgan with few labels, beside the same classifier trained on the same labels alone, over several seeds.

    uv run python tools/semi_supervised.py my_classes --out runs --labelled 100 --seeds 3 --preset mnist --images 200000

ROOT has train/<class>/ and test/<class>/. Each seed draws labels, weights and noise of its own, the same for both. What is
there already is not trained again. The interval is that of Student's t over the seeds, at 95 %. `--sheet FILE.png` draws
generated images of the first seed, a column for each class that its classifier sees in them.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

import translate
from translate import images
from translate.trained import find
from translate.trained.sampler import ImageSampler

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t for 1, 2, … degrees of freedom."""
KINDS = {"sgan": {}, "labels alone": {"supervised_only": True}}
"""Trainings that are compared, with the settings that differ."""


SHOWN, SIDE = 4, 64
"""Rows of a sheet, and the least pixels of a side of its images."""


def run_folder(folder: Path, kind: str, seed: int, settings: dict[str, Any]) -> Path:
    """Return the run folder of one training."""
    return folder / f"{kind.replace(' ', '-')}-{settings['labelled']}-{seed}"


def measure(root: Path, folder: Path, kind: str, seed: int, settings: dict[str, Any]) -> float:
    """Return the error on the test images, in percent, of one training."""
    run = run_folder(folder, kind, seed, settings)
    own = {**settings, **KINDS[kind], "seed": seed, "label_seed": seed}
    translate.train("sgan", root, run=run, watch=False, **own)
    results = translate.evaluate(run, root, metrics=["accuracy"], split="test", device=settings["device"])
    return 100 * (1 - results["metrics"]["accuracy"]["value"])


def draw_classes(run: Path, count: int = 2000) -> Image:
    """Draw the first of `count` generated images that the classifier sees in each class: columns, but of rare classes none."""
    sampler = ImageSampler(find.read_model(run), torch.device("cpu"))
    made = sampler(range(count))
    seen = sampler.classify(made).argmax(1)
    columns = {name: made[seen == n][:SHOWN] for n, name in enumerate(sampler.method.class_names)}
    return images.make_comparison_grid({name: x for name, x in columns.items() if len(x) == SHOWN}, scale_to=SIDE)


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean, and half the width of its interval at 95 %; None for one value or more than there are quantiles."""
    if not 1 < len(values) <= len(STUDENT) + 1:
        return statistics.fmean(values), None
    return statistics.fmean(values), STUDENT[len(values) - 2] * statistics.stdev(values) / len(values) ** 0.5


def rows(errors: dict[str, list[float]]) -> list[str]:
    """Return a line for each kind, and one for the difference of the pairs of one seed."""
    table = {**errors, "difference": [a - b for a, b in zip(*errors.values(), strict=True)]}
    lines = []
    for kind, values in table.items():
        mean, half = interval(values)
        spread = "" if half is None else f" ± {half:.2f}"
        lines.append(f"{kind:14} error {mean:.2f}{spread} %  ({', '.join(f'{value:.2f}' for value in values)})")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path, help="data folder")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--labelled", type=int, default=100, help="labelled images")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--preset", default="paper", help="preset of sgan")
    parser.add_argument("--images", type=int, help="images of a training [default: those of the preset]")
    parser.add_argument("--device", default="auto", help="device")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=JSON", help="a further setting, as crop_size=32"
    )
    parser.add_argument("--sheet", type=Path, help="PNG file for generated images of the first seed")
    given = parser.parse_args()
    settings = {"labelled": given.labelled, "preset": given.preset, "device": given.device}
    settings |= {name: json.loads(value) for name, _, value in (text.partition("=") for text in given.set)}
    if given.images is not None:
        settings["images"] = given.images
    errors: dict[str, list[float]] = {
        kind: [measure(given.root, given.out, kind, seed, settings) for seed in range(given.seeds)] for kind in KINDS
    }
    print("\n".join(rows(errors)))
    if given.sheet is not None:
        images.write_png(given.sheet, draw_classes(run_folder(given.out, "sgan", 0, settings)))


if __name__ == "__main__":
    main()
