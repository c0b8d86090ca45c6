"""The demo: train two models on drawings, convert held-out images with them and write a report.

It runs the same code as `translate train` and `translate convert`, on the images that ship in `datasets/`.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from translate import api, images, run_folder
from translate.catalog.cards import cards_folder
from translate.catalog.shipped import HOME
from translate.data import layouts, preprocessing, split
from translate.demo_page import PageSection, write_demo_page
from translate.errors import DataError
from translate.evaluation import paired
from translate.invocation import command_line, tool_line
from translate.methods import METHODS
from translate.trained import find

ImageList = list[np.ndarray]
MetricTable = dict[str, dict[str, float]]
"""Candidate → metric → value."""

CROP_SIZE = 64
"""Side of the crops to train on, in pixels: two CPU cores learn from these in minutes."""

LINE_SECONDS = 4.5
"""Approximate time between two lines on the console."""

REPORT_ROWS = 8
"""Held-out images of each task in the report."""


@dataclass(frozen=True)
class DemoTask:
    """One training of the demo."""

    name: str
    method: str
    data: str
    """Folder below `datasets/`."""
    title: str
    text: str
    """Explanation in the report."""
    columns: tuple[str, str, str, str]
    """Titles of the columns in the report: input, output of the model trained here, output of the shipped model, truth."""
    share: float
    """Share of the demo's time."""
    warm_up: int
    """Training images of the first part, by which the speed is measured."""
    size: int
    """Side of the images, in pixels."""
    decay: float = 0.5
    """Share of the training over which the learning rate falls to zero."""


TASKS = (
    DemoTask(
        name="blond-hair",
        method="cyclegan",
        data="avatar_hair",
        title="CycleGAN: dark hair → blond hair, without pairs",
        text="Trained on 300 faces with dark hair and 300 others with blond hair. No face was seen with both.",
        columns=("dark hair", "trained here", "shipped model", "true blond hair"),
        share=0.45,
        warm_up=240,
        size=64,
    ),
    DemoTask(
        name="flat-to-3d",
        method="pix2pix",
        data="emoji_flat2three",
        title="pix2pix: flat drawing → shaded drawing, from pairs",
        text="Trained on 500 pairs of drawings of the same thing. The held-out drawings show other things.",
        columns=("flat drawing", "trained here", "shipped model", "true shaded drawing"),
        share=0.41,
        warm_up=640,
        size=128,
    ),
)


def data_folder() -> Path:
    """Return the folder of the shipped images: in the checkout, or inside the installed package. DataError if there is none."""
    folder = cards_folder()
    if not (folder / TASKS[0].data).is_dir():
        raise DataError(f"{folder}: the demo's images are missing; install the project from its repository")
    return folder


def run_demo(out: Path, minutes: float, say: Callable[[str], None]) -> dict[str, MetricTable]:
    """Run the demo into the folder `out` and return metrics by task, candidate and metric name.

    It takes about `minutes`. The same call resumes an interrupted demo. Raises DataError where the shipped images are missing
    or damaged, ModelError for a damaged model. A model that does not ship is left out.
    """
    sections: list[PageSection] = []
    metrics: dict[str, MetricTable] = {}
    for task in TASKS:
        say(f"\n{task.title}")
        metrics[task.name], section = _run_task(task, out, 60 * minutes * task.share, say)
        for row in _table(metrics[task.name]):
            say("  " + row[0].ljust(32) + "".join(cell.rjust(12) for cell in row[1:]))
        sections.append(section)
    intro = (
        "Two models were trained from scratch on this machine, in a few minutes. Beside them are models that ship with the "
        "project, which were trained for longer; their model cards say how. None of the models has seen these images."
    )
    commands = [command for _, command in next_commands(out, metrics)]
    title = "Image-to-image translation, trained on this machine"
    write_demo_page(out / "report.html", title, intro, sections, commands)
    return metrics


def _run_task(task: DemoTask, out: Path, seconds: float, say: Callable[[str], None]) -> tuple[MetricTable, PageSection]:
    """Train, convert the held-out images and return their metrics and the section of the report."""
    root = data_folder() / task.data
    run = _train(task, root, out / task.name, seconds, say)
    names, photos, truth = _held_out(task, root, out)
    outputs = _convert(task, names, run.path, out, "output")
    model = find.find_named_model(task.name)
    shipped = [] if model is None else _convert(task, names, model, out, "shipped")
    candidates = {"trained here": outputs, "shipped model": shipped, "copying the input": photos}
    candidates = {name: made for name, made in candidates.items() if made}
    metrics = _compute_metrics(task, root, candidates, truth)
    rows = split.evenly_spaced(len(photos), REPORT_ROWS)
    source, *made, true = [
        (title, [column[i] for i in rows])
        for title, column in zip(task.columns, (photos, outputs, shipped, truth), strict=True)
        if column
    ]
    grid = images.make_comparison_grid({title: column[:4] for title, column in (source, *made, true)})
    images.write_png(out / f"{task.name}.png", grid)
    table, links = _table(metrics), _links(task, out)
    return metrics, PageSection(task.title, task.text, links, table, _best(metrics), source, dict(made), true)


def _links(task: DemoTask, out: Path) -> dict[str, str]:
    """Return the pages about the models and the data of a task: words → address relative to the report."""
    pages = {
        "how the shipped model was trained": cards_folder().parent / "checkpoints" / task.name / "README.md",
        "the model trained here": out / task.name / run_folder.MODEL / "README.md",
        "its training": out / task.name / run_folder.REPORT,
        "about the images": data_folder() / "README.md",
    }
    return {words: quote(os.path.relpath(path, out)) for words, path in pages.items() if path.is_file()}


def _best(metrics: MetricTable) -> int:
    """Return the number of the candidate that is nearest to the truth, by the first metric, L1."""
    errors = [next(iter(values.values())) for values in metrics.values()]
    return errors.index(min(errors))


def next_commands(out: Path, metrics: Mapping[str, MetricTable]) -> list[tuple[str, str]]:
    """Return commands to try next, each with its purpose; all of them run as they stand.

    Images are converted with the model that has the lower L1: the one trained here or the one that ships.
    """
    task = TASKS[0]
    l1 = {
        name: metrics[task.name].get(name, {}).get("L1 (of 255)", np.inf) for name in ("trained here", "shipped model")
    }
    is_better = l1["trained here"] < l1["shipped model"]
    model, words = (out / task.name, "trained here") if is_better else (task.name, "that ships")
    photos = f"{HOME}/{task.data}/testA"
    return [
        (
            f"convert images with the better model, the one {words}; your own folder may stand in place of {photos}",
            command_line("convert", model, photos, out / "blond", "--report"),
        ),
        (
            f"train on photos; a folder with your own in trainA/ and trainB/ may stand in place of {HOME}/{task.data}",
            command_line("train", "cyclegan", f"{HOME}/{task.data}", "--preset", "quick"),
        ),
        ("look at the training curves", tool_line("tensorboard", "--logdir", out)),
    ]


def _train(task: DemoTask, root: Path, folder: Path, seconds: float, say: Callable[[str], None]) -> api.Run:
    """Train for about `seconds`; the first few images show the speed of this machine."""
    planned = run_folder.read_config(folder)
    if planned.get("decay_images"):  # an earlier call has planned the rest: resume it
        return api.resume(folder, say=say)
    api.train(
        task.method, root, run=folder, say=say, preset="modern", images=task.warm_up, load_size=task.size,
        crop_size=CROP_SIZE, log_every=task.warm_up // 4,
    )  # fmt: skip
    batch = run_folder.read_config(folder)["batch_size"]
    speed = _speed(folder)
    total = max(task.warm_up, int(speed * seconds)) // batch * batch + batch
    log_every = max(1, int(speed * LINE_SECONDS))
    return api.resume(folder, say=say, images=total, decay_images=int(total * task.decay), log_every=log_every)


def _speed(folder: Path) -> float:
    """Return the training speed in images per second, between the last two log points: without the start."""
    last = (folder / run_folder.STATS_FILE).read_text(encoding="utf-8").splitlines()[-1]
    return json.loads(last)["time/images_per_second"]


def _held_out(task: DemoTask, root: Path, out: Path) -> tuple[list[str], ImageList, ImageList]:
    """Return names, inputs and true images of the held-out pairs; the inputs are also written as files of these names."""
    held_out = layouts.find_split(root, "paired", "test")
    names = [f"{ref.path.stem}.png" for ref in held_out.a]
    photos, truth = ([_load(ref, task.size) for ref in refs] for refs in (held_out.a, held_out.b))
    for name, photo in zip(names, photos, strict=True):
        path = out / f"{task.name}-input" / name
        if not path.exists():
            images.write_png(path, images.to_pil_image(photo))
    return names, photos, truth


def _convert(task: DemoTask, names: list[str], model: Path, out: Path, kind: str) -> ImageList:
    """Convert the folder of inputs and return the outputs. DataError if an image fails."""
    target = out / f"{task.name}-{kind}"
    result = api.convert(model, out / f"{task.name}-input", target)
    if result.failures:
        raise DataError(f"{target}: {len(result.failures)} of the demo's images were not converted: {result.failures}")
    return [images.read(target / name).pixels for name in names]


def _load(ref: split.ImageRef, size: int) -> np.ndarray:
    """Return an image at the size of a task, (size, size, 3) uint8. DataError if it cannot be read."""
    image = preprocessing.load_image(ref, preprocessing.Preprocessing(size, size, False, (3, 3)), 0)
    if isinstance(image, images.ImageError):
        raise DataError(f"{ref.path}: {image}; the demo's images are damaged; install the project again")
    return image.permute(1, 2, 0).numpy()


def _compute_metrics(task: DemoTask, root: Path, candidates: dict[str, ImageList], truth: ImageList) -> MetricTable:
    """Return the mean L1 and PSNR to the true images, of each candidate and of the mean training target."""
    train = layouts.find_split(root, METHODS[task.method].layout)
    mean = np.mean([_load(ref, task.size) for ref in train.b], axis=0).round().astype(np.uint8)
    candidates = {**candidates, "mean training target": [mean] * len(truth)}
    return {
        name: {
            "L1 (of 255)": float(paired.l1(_stack(outputs), _stack(truth)).mean()),
            "PSNR (dB)": float(paired.psnr(_stack(outputs), _stack(truth)).mean()),
        }
        for name, outputs in candidates.items()
    }


def _stack(pixels: ImageList) -> Tensor:
    """Return images as a batch (N, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def _table(metrics: MetricTable) -> list[tuple[str, ...]]:
    """Return the rows of a table of metrics, the first one with their names."""
    head = ("held-out images", *next(iter(metrics.values())))
    return [head, *((name, *(f"{value:.1f}" for value in row.values())) for name, row in metrics.items())]
