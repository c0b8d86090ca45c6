"""Labels of a data set's images, and scorers that learned to read them from the real images of the target domain.

Classes are the names of the folders inside a split's folder: trainB/zebra/1.jpg shows a zebra, and so should what is made
of testA/zebra/7.jpg. Label maps lie in a folder of their own, which mirrors that of the images: DIR/trainB/1.png has the
class of each pixel of trainB/1.jpg as its grey value; 255 counts for nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import images
from translate.data.layouts import relative_stem
from translate.data.split import ImageRef
from translate.errors import DataError, UsageError
from translate.evaluation import image_sets, label_scorers
from translate.evaluation.image_sets import ReadOptions
from translate.evaluation.label_scorers import IGNORE_INDEX, LabelScorer


def train_label_scorer(
    metric: str, root: Path, learnt: Sequence[ImageRef], inputs: Sequence[ImageRef], way: ReadOptions, maps: Path | None, *, seed: int,
    device: torch.device,
) -> tuple[LabelScorer, Tensor]:  # fmt: skip
    """For `classification` or `segmentation`: a scorer of real images, and the labels of the inputs, (N,) or (N, H, W).

    `learnt` are the real images of the target domain in the training split, which are read in `way`; `inputs` those whose
    labels the translations should keep. `maps`: the folder of label maps. DataError where a label is missing.
    """
    pixels = image_sets.read_image_set(learnt, root, way).stack(metric)
    if metric == "classification":
        return _classifier(root, pixels, learnt, inputs, seed, device)
    if maps is None:
        raise UsageError(f"{metric}: needs label maps; give their folder by --labels DIR")
    return _segmenter(root, pixels, learnt, inputs, maps, seed, device)


def _classifier(
    root: Path, pixels: Tensor, learnt: Sequence[ImageRef], inputs: Sequence[ImageRef], seed: int, device: torch.device
) -> tuple[LabelScorer, Tensor]:
    classes = sorted({_class_of(ref, root) for ref in learnt})
    for ref in inputs:
        if (name := _class_of(ref, root)) not in classes:
            raise DataError(f"{ref.path}: no real image of the training split is of class {name!r}; they are {classes}")
    of_learnt, of_inputs = (
        torch.tensor([classes.index(_class_of(ref, root)) for ref in refs]) for refs in (learnt, inputs)
    )
    return label_scorers.train_classifier(pixels, of_learnt, len(classes), seed, device), of_inputs


def _class_of(ref: ImageRef, root: Path) -> str:
    parts = ref.path.relative_to(root).parts
    if len(parts) < 3:
        raise DataError(f"{ref.path}: lies in no class folder; classification needs {parts[0]}/CLASS/{ref.path.name}")
    return parts[1]


def _segmenter(
    root: Path,
    pixels: Tensor,
    learnt: Sequence[ImageRef],
    inputs: Sequence[ImageRef],
    maps: Path,
    seed: int,
    device: torch.device,
) -> tuple[LabelScorer, Tensor]:
    height, width = pixels.shape[-2:]
    by_stem = {relative_stem(ref.path, maps): ref.path for ref in image_sets.list_images(maps)}
    of_learnt, of_inputs = (
        torch.cat([_map_of(by_stem.get(relative_stem(ref.path, root)), ref, maps, height, width) for ref in refs])
        for refs in (learnt, inputs)
    )
    classes = 1 + max(int(each.masked_fill(each == IGNORE_INDEX, 0).max()) for each in (of_learnt, of_inputs))
    return label_scorers.train_segmenter(pixels, of_learnt, classes, seed, device), of_inputs


def _map_of(path: Path | None, ref: ImageRef, maps: Path, height: int, width: int) -> Tensor:
    """A label map at an image's size, (1, H, W) int64, by nearest neighbours."""
    if path is None:
        raise DataError(
            f"{maps}: no label map of {ref.path}; it must have that name, below a folder {ref.path.parent.name}"
        )
    try:
        grey = torch.from_numpy(images.read(path, 1).pixels.copy()).permute(2, 0, 1)[None]
    except images.ImageError as e:
        raise DataError(f"{path}: {e}; mend it") from None
    return F.interpolate(grey.float(), (height, width), mode="nearest-exact")[:, 0].long()
