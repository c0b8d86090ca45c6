"""Labels of a data set's images, and scorers that are trained on the real images of the target domain to read them.

Classes are the names of the folders inside a split's folder: trainB/zebra/1.jpg shows a zebra, and so should the translation
of testA/zebra/7.jpg. Label maps lie in a folder of their own, which mirrors that of the images: DIR/trainB/1.png has the
class of each pixel of trainB/1.jpg as its grey value; pixels of 255 are ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import images
from translate.data.pairing import relative_stem
from translate.data.split import ImageRef
from translate.errors import DataError, UsageError
from translate.evaluation import image_sets, label_scorers
from translate.evaluation.image_sets import ReadOptions
from translate.evaluation.label_scorers import IGNORE_INDEX, LabelScorer


@dataclass(frozen=True)
class LabelTask:
    """Images from which a label metric trains its scorer, and images whose labels the translations should keep."""

    metric: str
    """`classification` or `segmentation`."""
    root: Path
    """Data folder."""
    train: Sequence[ImageRef]
    """Real images of the target domain in the training split."""
    inputs: Sequence[ImageRef]
    """Images whose translations are scored."""
    read_options: ReadOptions
    """Options with which `train` is read."""
    label_maps: Path | None = None
    """Folder of label maps, for `segmentation`."""


def train_label_scorer(task: LabelTask, *, seed: int, device: torch.device) -> tuple[LabelScorer, Tensor]:
    """Train a scorer on real images; return it with the labels of the inputs, (N,) or (N, H, W).

    DataError where a label is missing, UsageError where `segmentation` has no folder of label maps.
    """
    pixels = image_sets.read_image_set(task.train, task.root, task.read_options).stack(task.metric)
    if task.metric == "classification":
        return _train_classifier(task, pixels, seed, device)
    if task.label_maps is None:
        raise UsageError(f"{task.metric}: needs label maps; give their folder by --labels DIR")
    return _train_segmenter(task, task.label_maps, pixels, seed, device)


def _train_classifier(task: LabelTask, pixels: Tensor, seed: int, device: torch.device) -> tuple[LabelScorer, Tensor]:
    classes = sorted({_class_name(ref, task.root) for ref in task.train})
    for ref in task.inputs:
        if (name := _class_name(ref, task.root)) not in classes:
            raise DataError(
                f"{ref.path}: class {name!r} has no real image in the training split; its classes are {', '.join(classes)}"
            )
    train_labels, input_labels = (
        torch.tensor([classes.index(_class_name(ref, task.root)) for ref in refs]) for refs in (task.train, task.inputs)
    )
    return label_scorers.train_classifier(pixels, train_labels, len(classes), seed, device), input_labels


def _class_name(ref: ImageRef, root: Path) -> str:
    parts = ref.path.relative_to(root).parts
    if len(parts) < 3:
        raise DataError(f"{ref.path}: not in a class folder; classification needs {parts[0]}/CLASS/{ref.path.name}")
    return parts[1]


def _train_segmenter(
    task: LabelTask, label_maps: Path, pixels: Tensor, seed: int, device: torch.device
) -> tuple[LabelScorer, Tensor]:
    size = (pixels.shape[-2], pixels.shape[-1])
    by_stem = {relative_stem(ref.path, label_maps): ref.path for ref in image_sets.list_images(label_maps)}

    def read_labels(refs: Sequence[ImageRef]) -> Tensor:
        paths = [_find_label_map(ref, by_stem.get(relative_stem(ref.path, task.root)), label_maps) for ref in refs]
        return torch.cat([_read_label_map(path, size) for path in paths])

    train_labels, input_labels = read_labels(task.train), read_labels(task.inputs)
    classes = 1 + max(int(each.masked_fill(each == IGNORE_INDEX, 0).max()) for each in (train_labels, input_labels))
    return label_scorers.train_segmenter(pixels, train_labels, classes, seed, device), input_labels


def _find_label_map(ref: ImageRef, path: Path | None, label_maps: Path) -> Path:
    if path is None:
        raise DataError(
            f"{label_maps}: no label map of {ref.path}; it must have that name, in a folder {ref.path.parent.name}"
        )
    return path


def _read_label_map(path: Path, size: tuple[int, int]) -> Tensor:
    """Read a label map at the size of the images, (1, H, W) int64, by nearest neighbours. DataError if it cannot be read."""
    try:
        grey = torch.from_numpy(images.read(path, 1).pixels.copy()).permute(2, 0, 1)[None]
    except images.ImageError as e:
        raise DataError(f"{path}: {e}; fix this label map") from None
    return F.interpolate(grey.float(), size, mode="nearest-exact")[:, 0].long()
