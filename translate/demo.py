"""The demo: real photos, two models trained before one's eyes, held-out images converted by them, and a report.

It runs the same code as `translate train` and `translate convert`, on the images that ship in `datasets/`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translate import api, images, run_folder
from translate.conversion.report import html
from translate.data import layouts, preprocessing, split
from translate.errors import DataError, ModelError
from translate.evaluation import paired
from translate.methods import METHODS
from translate.trained import translator

ImageList = list[np.ndarray]
MetricTable = dict[str, dict[str, float]]
"""Candidate → metric → value."""

SIZE = 128
"""Pixels of the photos, as they ship."""

COMMON = {
    "load_size": SIZE,
    "crop_size": 64,  # what two CPU cores can learn from in minutes; the networks then translate whole photos
    "norm": "batch",
    "norm_statistics": "running",  # of all training images: batches of several, unlike the papers' one
}

LINE_SECONDS = 4.5
"""Between two lines on the console, about."""

SHOWN = 8
"""Rows of each set in the report."""


@dataclass(frozen=True)
class DemoTask:
    """One of the demo's trainings."""

    name: str
    method: str
    data: str
    title: str
    text: str
    columns: tuple[str, str, str, str]
    """Input, what the model trained here makes of it, what the one that ships does, truth."""
    share: float
    """Of the demo's minutes."""
    warm_up: int
    """Images after which the speed is measured."""
    settings: dict[str, Any]
    decay: float
    """Share of the images over which the learning rate falls to zero."""


TASKS = (
    DemoTask(
        name="satellite-to-map",
        method="pix2pix",
        data="earth_map",
        title="pix2pix: satellite photo → elevation map",
        text="Learned from 717 pairs. The 136 held-out places lie in other parts of the world. L1 is of 255.",
        columns=("satellite photo", "trained here", "shipped model", "true map"),
        share=0.45,
        warm_up=640,
        settings={"batch_size": 16, "g_width": 24, "d_width": 24, "dropout": False, "lr": 5e-4, "lambda_l1": 300.0},
        decay=0.5,
    ),
    DemoTask(
        name="summer-to-winter",
        method="cyclegan",
        data="earth_season",
        title="CycleGAN: summer → winter",
        text="Learned from 243 summer and 301 winter photos of different places, without a single pair.",
        columns=("summer", "trained here", "shipped model", "true winter"),
        share=0.41,
        warm_up=240,
        settings={
            "batch_size": 4,
            "generator": "unet_16",
            "g_width": 16,
            "discriminator": "n_layers",
            "d_layers": 2,
            "d_width": 32,
            "lr": 1e-3,
            "lambda_cycle": 5.0,
        },
        decay=0.7,
    ),
)


def data_folder() -> Path:
    """Where the images that ship with the project are: in the checkout, or inside the installed package."""
    package = Path(__file__).parent
    for folder in (package.parent / "datasets", package / "_datasets"):
        if (folder / TASKS[0].data).is_dir():
            return folder
    raise DataError(
        f"{package.parent / 'datasets'}: the demo's images are missing; install the project from its repository"
    )


def demo(out: Path, minutes: float, say: Callable[[str], None]) -> dict[str, MetricTable]:
    """Runs the demo into `out`; figures by task, candidate and metric."""
    sections: list[html.PageSection] = []
    figures: dict[str, MetricTable] = {}
    for task in TASKS:
        say(f"\n{task.title}")
        root = data_folder() / task.data
        run = _train(task, root, out / task.name, 60 * minutes * task.share, say)
        names, photos, truth = _held_out(task, root, out)
        translated = _convert(task, names, run.path, out, "output")
        shipped = _convert(task, names, _shipped(task.name), out, "shipped")
        candidates = {"trained here": translated, "shipped model": shipped, "copying the input": photos}
        figures[task.name] = _score(task, root, candidates, truth)
        table = _table(figures[task.name])
        for row in table:
            say("  " + row[0].ljust(32) + "".join(cell.rjust(12) for cell in row[1:]))
        shown = split.evenly_spaced(len(photos), SHOWN)
        pictures = {
            name: [column[i] for i in shown]
            for name, column in zip(task.columns, (photos, translated, shipped, truth), strict=True)
        }
        sections.append(html.PageSection(task.title, task.text, table, pictures))
        images.write_png(out / f"{task.name}.png", images.make_comparison_grid({k: v[:4] for k, v in pictures.items()}))
    intro = (
        "Two models were trained from scratch on this machine, in a few minutes. Beside them stand the two that ship with the "
        "project, trained for longer; their cards say how. The places are new to all of them."
    )
    html.write_comparison_page(
        out / "report.html", "Image translation, trained before your eyes", intro, sections, next_commands(out)
    )
    return figures


def _shipped(name: str) -> Path:
    """The model of this name that ships with the project."""
    if (folder := translator.find_named_model(name)) is None:
        raise ModelError(f"checkpoints/{name}: missing; install the project from its repository")
    return folder


def next_commands(out: Path) -> list[str]:
    """What a person would type next."""
    return [
        f"translate convert {out / TASKS[1].name} my_photos/ my_photos_in_winter/",
        "translate train cyclegan my_data --crop-size 128    # my_data/trainA and my_data/trainB hold your photos",
        f"tensorboard --logdir {out}",
    ]


def _train(task: DemoTask, root: Path, folder: Path, seconds: float, say: Callable[[str], None]) -> api.Run:
    """Trains for about so many seconds: a first few images tell how fast this machine is."""
    planned = run_folder.read_config(folder)
    if planned.get("decay_images"):  # the plan was made by an earlier call: go on with it
        return api.resume(folder, say=say)
    settings = {**COMMON, **task.settings, "log_every": task.warm_up // 4}
    api.train(task.method, root, run=folder, say=say, images=task.warm_up, **settings)
    batch = task.settings.get("batch_size", 1)
    speed = _speed(folder)
    total = max(task.warm_up, int(speed * seconds)) // batch * batch + batch
    log_every = max(1, int(speed * LINE_SECONDS))
    return api.resume(folder, say=say, images=total, decay_images=int(total * task.decay), log_every=log_every)


def _speed(folder: Path) -> float:
    """Images per second between the last two lines of the run's statistics: without the start."""
    last = (folder / run_folder.STATS_FILE).read_text(encoding="utf-8").splitlines()[-1]
    return json.loads(last)["time/images_per_second"]


def _held_out(task: DemoTask, root: Path, out: Path) -> tuple[list[str], ImageList, ImageList]:
    """The held-out inputs, which are written as files of these names too, and the truths."""
    held_out = layouts.find_split(root, "paired", "test")
    names = [f"{ref.path.stem}.png" for ref in held_out.a]
    photos, truth = [_picture(ref) for ref in held_out.a], [_picture(ref) for ref in held_out.b]
    for name, photo in zip(names, photos, strict=True):
        path = out / f"{task.name}-input" / name
        if not path.exists():
            images.write_png(path, images.to_pil_image(photo))
    return names, photos, truth


def _convert(task: DemoTask, names: list[str], model: Path, out: Path, kind: str) -> ImageList:
    """The inputs, converted as a folder."""
    target = out / f"{task.name}-{kind}"
    result = api.convert(model, out / f"{task.name}-input", target)
    if result.failures:
        raise DataError(f"{target}: {len(result.failures)} of the demo's images were not converted: {result.failures}")
    return [images.read(target / name).pixels for name in names]


def _picture(ref: split.ImageRef) -> np.ndarray:
    """One image at the demo's size: (SIZE, SIZE, 3) uint8."""
    image = preprocessing.load_image(ref, preprocessing.Preprocessing(SIZE, SIZE, False, (3, 3)), 0)
    if isinstance(image, images.ImageError):
        raise DataError(f"{ref.path}: {image}; the demo's images are damaged: install the project anew")
    return image.permute(1, 2, 0).numpy()


def _score(task: DemoTask, root: Path, candidates: dict[str, ImageList], truth: ImageList) -> MetricTable:
    """Mean L1 and PSNR to the truth, of all candidates and of the mean training target."""
    train = layouts.find_split(root, METHODS[task.method].layout)
    mean = np.mean([_picture(ref) for ref in train.b], axis=0).round().astype(np.uint8)
    candidates = {**candidates, "mean training target": [mean] * len(truth)}
    return {
        name: {
            "L1 (of 255)": float(paired.l1(_batch(pictures), _batch(truth)).mean()),
            "PSNR (dB)": float(paired.psnr(_batch(pictures), _batch(truth)).mean()),
        }
        for name, pictures in candidates.items()
    }


def _batch(pictures: ImageList) -> Tensor:
    """(N, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _table(figures: MetricTable) -> list[tuple[str, ...]]:
    head = ("held-out images", *next(iter(figures.values())))
    return [head, *((name, *(f"{value:.1f}" for value in row.values())) for name, row in figures.items())]
