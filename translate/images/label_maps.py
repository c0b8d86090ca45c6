"""Label maps: images whose pixels are classes, and instance maps, whose pixels are numbers of objects.

They are read exactly, resized by the nearest pixel, and shown to networks one-hot, with an optional channel for pixels without
a label and one for the edges of objects (Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs", CVPR 2018, sec. 3.3).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from translate.images.formats import FORMATS, MAX_PIXELS, ImageError, check_size, extension, format_of
from translate.images.metadata.photo_metadata import read_orientation
from translate.images.orientation import apply_orientation
from translate.images.palettes import Palette, colour_table
from translate.images.value_ranges import quantize

LABEL_FORMATS = ("png", "bmp", "tiff", "ppm", "pgm", "pbm", "npy")
"""Formats of label and instance maps: those that keep values, in one frame."""
LABEL_EXTENSIONS = tuple(extension for extension, usual in FORMATS.items() if usual in LABEL_FORMATS)
"""Extensions of these formats."""
MAX_LABELS = 255
"""Largest number of classes: with one value for pixels without a label, they are stored in 8 bits."""
IGNORE_INDEX = 255
"""Value of pixels without a label, if no other is given."""

_INDEX_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")


class LabelError(ImageError):
    """Error of a map whose values are not those of the classes."""


@dataclass(frozen=True)
class LabelFormat:
    """Format of the label maps of a domain, and of the tensors that networks get of them."""

    count: int
    """Number of classes: their values are 0 to `count` − 1."""
    ignore: int = IGNORE_INDEX
    """Value of pixels without a label."""
    unknown: bool = False
    """A channel after those of the classes is 1 where pixels have no label. Without it such pixels are refused."""
    edges: bool = False
    """The last channel is 1 at the edges of objects, from instance maps."""
    palette: Palette = ()
    """Colours of the classes, for colour-coded maps and for showing maps; empty: default colours."""

    @property
    def channels(self) -> int:
        """Channels of the tensors that networks get."""
        return self.count + self.unknown + self.edges

    @property
    def stored_channels(self) -> int:
        """Channels of the maps as they are kept: the label, and the edges where there are any."""
        return 1 + self.edges

    def one_hot(self, stored: Tensor) -> Tensor:
        """Return the tensors (N, channels, H, W), of 0 and 1, of stored maps (N, stored_channels, H, W).

        stored: maps in 8 bits, which give float32; or in [-1, 1], as `normalize` gives such maps, of the type of the result.
        """
        values, dtype = (stored, torch.float32) if stored.dtype == torch.uint8 else (quantize(stored), stored.dtype)
        labels = torch.arange(self.count + self.unknown, device=stored.device, dtype=torch.uint8)
        encoded = (values[:, :1] == labels[:, None, None]).to(dtype)
        return torch.cat([encoded, values[:, 1:].to(dtype)], 1) if self.edges else encoded

    def stored_of(self, x: Tensor) -> Tensor:
        """Return the stored maps (N, stored_channels, H, W) uint8 of one-hot tensors (N, channels, H, W)."""
        labels = x[:, : self.count + self.unknown].argmax(1, keepdim=True).to(torch.uint8)
        return torch.cat([labels, (x[:, -1:] > 0.5).to(torch.uint8)], 1) if self.edges else labels

    def colours_of(self, stored: Tensor) -> Tensor:
        """Return the colours (N, 3, H, W) uint8 of stored maps (N, stored_channels, H, W) uint8."""
        table = torch.from_numpy(colour_table(self.palette, self.count, self.ignore)).to(stored.device)
        return table[stored[:, 0].long()].permute(0, 3, 1, 2)

    def colours(self, stored: np.ndarray) -> np.ndarray:
        """Return the colours (H, W, 3) uint8 of a label map (H, W) uint8."""
        return colour_table(self.palette, self.count, self.ignore)[stored]


def read_label_map(path: Path, labels: LabelFormat, max_pixels: int) -> np.ndarray:
    """Read a label map (H, W) uint8: values 0 to count − 1, and `count` where pixels have no label.

    The values are those of a grey image or of an array, the indices of a palette image, or the classes whose colours in the
    palette are those of a colour image. LabelError names a value or a colour that is none of a class; ImageError for files that
    hold no label map.
    """
    if path_format := _refused_format(path):
        raise ImageError(f"{path_format} changes or hides the values of a label map; save it as png")
    if extension(path) == "npy":
        return labels_of_array(_read_array(path, max_pixels), labels)
    with Image.open(path, formats=("PNG", "BMP", "TIFF", "PPM")) as image:
        check_size(image.height, image.width, max_pixels)
        return labels_of_image(image, labels)


def labels_of_image(image: Image.Image, labels: LabelFormat) -> np.ndarray:
    """Return the label map (H, W) uint8 of an opened image, upright by its EXIF. Errors are those of `read_label_map`."""
    upright = _upright(image)
    if upright.mode in _INDEX_MODES:
        return check_labels(np.asarray(upright).astype(np.int64), labels)
    return labels_of_array(np.asarray(upright), labels)


def labels_of_array(array: np.ndarray, labels: LabelFormat) -> np.ndarray:
    """Return the label map (H, W) uint8 of an array of integers: (H, W), (H, W, 1), or (H, W, 3) of colours."""
    if array.dtype.kind not in "uib":
        raise ImageError(f"a label map holds whole numbers, not {array.dtype}")
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
        return check_labels(array.reshape(array.shape[:2]).astype(np.int64), labels)
    if array.ndim == 3 and array.shape[2] == 4 and array.dtype == np.uint8 and array[:, :, 3].min() == 255:
        array = array[:, :, :3]
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ImageError(
            f"a label map has one channel of classes or three of colours, without transparency; it is {array.dtype} of shape "
            f"{array.shape}"
        )
    if not labels.palette and (array[:, :, 0] == array[:, :, 1]).all() and (array[:, :, 0] == array[:, :, 2]).all():
        return check_labels(array[:, :, 0].astype(np.int64), labels)
    return check_labels(_labels_of_colours(array, labels.palette), labels)


def _labels_of_colours(array: np.ndarray, palette: Palette) -> np.ndarray:
    codes = _codes(array)
    if not palette:
        raise LabelError(
            f"is a colour-coded label map ({len(np.unique(codes))} colours): say which class each colour is by --palette FILE, "
            f"or save class numbers as a grey or palette PNG"
        )
    rows = sorted((_code(row.colour), row.label) for row in palette)
    known, numbers = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    found = np.searchsorted(known, codes).clip(max=len(known) - 1)
    if (strange := known[found] != codes).any():
        colour = array[strange][0]
        raise LabelError(
            f"has the colour {','.join(map(str, colour))} in {strange.sum()} pixels, which is none of the palette; add a row "
            f"for it, or save the map without smoothing"
        )
    return numbers[found]


def _code(colour: tuple[int, int, int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _codes(array: np.ndarray) -> np.ndarray:
    """Return one number (H, W) for each colour of (H, W, 3) uint8."""
    wide = array.astype(np.int64)
    return wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]


def check_labels(values: np.ndarray, labels: LabelFormat) -> np.ndarray:
    """Return a map of class numbers (H, W) as uint8, `count` where pixels have no label. LabelError for other values."""
    ignored = values == labels.ignore
    strange = ((values < 0) | (values >= labels.count)) & ~ignored
    if strange.any():
        raise LabelError(
            f"has the value {values[strange][0]} in {strange.sum()} pixels, but the {labels.count} classes are 0 to "
            f"{labels.count - 1}, and {labels.ignore} is no label"
        )
    if ignored.any() and not labels.unknown:
        raise LabelError(
            f"has pixels without a label (value {labels.ignore}), and the model has no channel for them; train it with "
            f"--unknown-label on"
        )
    return np.where(ignored, labels.count, values).astype(np.uint8)


def read_instance_map(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an instance map (H, W) int64: a number for each object, in colours any, which only differ. ImageError for others."""
    if path_format := _refused_format(path):
        raise ImageError(f"{path_format} changes the values of an instance map; save it as png")
    if extension(path) == "npy":
        return instances_of_array(_read_array(path, max_pixels))
    with Image.open(path, formats=("PNG", "BMP", "TIFF", "PPM")) as image:
        check_size(image.height, image.width, max_pixels)
        return instances_of_array(np.asarray(_upright(image)))


def instances_of_array(array: np.ndarray) -> np.ndarray:
    """Return the instance map (H, W) int64 of an array of whole numbers (H, W), (H, W, 1), or (H, W, 3) uint8."""
    if array.dtype.kind in "uib" and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)):
        return array.reshape(array.shape[:2]).astype(np.int64)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return _codes(array)
    raise ImageError(f"an instance map has one channel of whole numbers; it is {array.dtype} of shape {array.shape}")


def check_instance_size(path: Path, instances: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Raise LabelError unless an instance map has the height and width of its label map."""
    if instances != labels:
        raise LabelError(
            f"its instance map {path.name!r} has {instances[1]}×{instances[0]} pixels, but it has {labels[1]}×{labels[0]}"
        )


def instance_edges(instances: np.ndarray) -> np.ndarray:
    """Return the edges (H, W) uint8 of an instance map: 1 where a pixel's number differs from that of a 4-neighbour.

    Both sides of an edge are marked, so that it is two pixels wide (Wang et al., CVPR 2018, sec. 3.3).
    """
    edges = np.zeros(instances.shape, bool)
    across, down = instances[:, 1:] != instances[:, :-1], instances[1:] != instances[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges.astype(np.uint8)


def resize_nearest(stored: Tensor, height: int, width: int) -> Tensor:
    """Resize maps (C, H, W) to (C, height, width) of the same values: each pixel is the one that its centre lies in."""
    if stored.shape[1:] == (height, width):
        return stored
    rows, columns = (
        ((torch.arange(to) * 2 + 1) * of // (2 * to)).to(stored.device)
        for of, to in zip(stored.shape[1:], (height, width), strict=True)
    )
    return stored[:, rows][:, :, columns]


def _refused_format(path: Path) -> str:
    """Return the format of a file that cannot be a label map; empty for the others."""
    return "" if format_of(path) in LABEL_FORMATS else format_of(path)


def _read_array(path: Path, max_pixels: int) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)  # reads only the header
    if array.ndim < 2:
        raise ImageError(f"a map has two dimensions, not shape {array.shape}")
    check_size(array.shape[0], array.shape[1], max_pixels)
    return np.array(array)


def _upright(image: Image.Image) -> Image.Image:
    orientation = read_orientation(image)
    image.load()
    return apply_orientation(image, orientation)
