"""Preprocessing of image files for training: decoding, halves of side-by-side files, resizing to load size."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from translate import images
from translate.config import WHOLE_IMAGES
from translate.data.split import ImageRef, Split
from translate.images import ImageError, LabelFormat, Reading, ValueRange


@dataclass(frozen=True)
class Preprocessing:
    """Settings by which image files become training images."""

    load_size: int
    crop_size: int
    flip: bool
    channels: tuple[int, int]
    """Number of channels of domain a and of domain b."""
    preprocess: str = "resize_and_crop"
    """A row of PREPROCESS."""
    value_ranges: tuple[ValueRange | None, ValueRange | None] = (None, None)
    """Value ranges of domain a and of domain b, declared or found in the set; None: the full range of the file's type."""
    decoder: str = "pillow"
    """A row of DECODERS."""
    resize: str = "pillow"
    """A row of RESIZERS."""
    background: images.Colour = images.WHITE
    multiple_of: int = 4
    """Multiple to which the sizes of whole images are rounded."""
    minimum: int = 1
    """Smallest height and width that the networks take: smaller whole images are enlarged."""
    labels: LabelFormat | None = None
    """Format of the label maps of domain a, whose channels are those that are stored; None where it has images."""

    @property
    def random_crop_size(self) -> int | None:
        """Side of the random square crops in pixels; None where images stay whole."""
        return None if self.preprocess in WHOLE_IMAGES else self.crop_size

    def reading(self, side: int) -> Reading:
        """Options for reading the files of domain a (0) or b (1); of label maps the labels alone."""
        if side == 0 and self.labels is not None:
            return Reading(1, labels=replace(self.labels, edges=False))
        return Reading(
            self.channels[side], background=self.background, deep=True, value_range=self.value_ranges[side],
            require_scale=True,
        )  # fmt: skip


# Load sizes.


def _square(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    return preprocessing.load_size, preprocessing.load_size


def _scale_width(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    return max(preprocessing.load_size * height // width, preprocessing.crop_size), preprocessing.load_size


def _at_least_crop(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Keep the size, but enlarge where a side is smaller than the crop."""
    scale = max(1.0, preprocessing.crop_size / min(height, width))
    return max(round(height * scale), preprocessing.crop_size), max(round(width * scale), preprocessing.crop_size)


def _scale_whole_width(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Scale the width to the load size and the height in proportion, both then rounded as `_rounded` does."""
    return _rounded(preprocessing.load_size * height / width, preprocessing.load_size, preprocessing)


def _rounded(height: float, width: float, preprocessing: Preprocessing) -> tuple[int, int]:
    """Round both sides; where one is then smaller than the networks take, enlarge the image without changing its shape."""
    base = preprocessing.multiple_of
    rounded = max(round(height / base), 1) * base, max(round(width / base), 1) * base
    if min(rounded) >= preprocessing.minimum:
        return rounded
    least = -(-preprocessing.minimum // base)
    scale = least / min(height, width)
    return max(round(height * scale), least) * base, max(round(width * scale), least) * base


PREPROCESS: dict[str, Callable[[int, int, Preprocessing], tuple[int, int]]] = {
    "resize_and_crop": _square,
    "crop": _at_least_crop,
    "scale_width_and_crop": _scale_width,
    "scale_width": _scale_whole_width,
    "none": _rounded,
}
"""Functions of a file's (height, width) that give the size at which it is loaded, by the reference's names.

All but those of `config.WHOLE_IMAGES` are followed by a crop to the crop size."""


# Decoders.


def _pillow(path: Path, how: Reading) -> Tensor:
    pixels = _plain_pixels(path, how)
    if pixels is None:
        pixels = images.read(path, how=how).pixels
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)


def _torchcodec(path: Path, how: Reading) -> Tensor:
    """Decode plain JPEG by torchcodec, and every other file by Pillow."""
    data = read_plain_jpeg(path, how)
    if data is None:
        return _pillow(path, how)
    from torchcodec.decoders import decode_jpeg

    try:
        pixels: Any = decode_jpeg(data, mode="RGB" if how.channels == 3 else "GRAY")  # a list for a list
    except RuntimeError:
        return _pillow(path, how)  # damaged: report Pillow's reason
    return cast(Tensor, pixels)


def _plain_pixels(path: Path, how: Reading) -> np.ndarray | None:
    """Pixels of a plain JPEG as `images.read` gives them, (H, W, C) uint8, in less time; None for other files."""
    if not _may_be_plain(path, how):
        return None
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return np.array(image).reshape(image.height, image.width, how.channels) if _is_plain(image, how) else None
    except Exception:
        return None  # `images.read` gives the reason


def read_plain_jpeg(path: Path, how: Reading) -> bytes | None:
    """Read the content of a plain JPEG, which every decoder shows alike; None for other files."""
    if not _may_be_plain(path, how):
        return None
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return data if _is_plain(image, how) and images.is_ended(data) else None
    except Exception:
        return None  # `images.read` gives the reason


def _may_be_plain(path: Path, how: Reading) -> bool:
    return how.labels is None and how.channels in (1, 3) and images.format_of(path) == "jpg" and path.is_file()


def _is_plain(image: Image.Image, how: Reading) -> bool:
    """Return whether every decoder shows a JPEG as `images.read` does.

    So it is where the size is allowed, the colours are those wanted and stored as usual, and neither orientation nor profile
    changes them.
    """
    if image.mode != ("RGB" if how.channels == 3 else "L") or image.height * image.width > how.max_pixels:
        return False
    if image.info.get("adobe_transform") == 0 and image.mode == "RGB":  # stored as RGB
        return False
    if how.value_range is None and images.changes_colours(image, image.info.get("icc_profile")):
        return False
    may_be_rotated = "exif" in image.info or "xmp" in image.info  # without them no look is needed, which costs time
    return not may_be_rotated or images.read_orientation(image) == 1


DECODERS: dict[str, Callable[[Path, Reading], Tensor]] = {
    "pillow": _pillow,
    "torchcodec": _torchcodec,
    "nvjpeg": _pillow,  # for what nvJPEG does not take; the rest is decoded by nvjpeg.NvjpegDecoder, on the device
}
"""Functions that decode a file to (C, H, W) uint8, uint16 or float32, in any memory layout. They raise ImageError."""


# Resizers.


def _by_pillow(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[1:] == (height, width):
        return image
    resized = images.resize(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), height, width)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _by_torch(image: Tensor, height: int, width: int) -> Tensor:
    """Resize by torch's antialiased bicubic filter, on the image's own device."""
    if image.shape[1:] == (height, width):
        return image
    x = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)  # image[None] would hide the channels-last layout from torch
    if image.dtype != torch.uint8 or image.device.type != "cpu":
        x = x.to(torch.float32)
    resized = F.interpolate(x, (height, width), mode="bicubic", antialias=True, align_corners=False)[0]
    if image.dtype == torch.float32 or resized.dtype == torch.uint8:
        return resized
    rounded = resized.round_().clamp_(0, images.FULL_RANGES[image.dtype][1])
    return rounded.to(torch.int32).to(image.dtype)


RESIZERS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "pillow": _by_pillow,
    "torch": _by_torch,
}
"""Functions of an image (C, H, W) of any depth, a height and a width that give the image at that size."""


def select_half(image: Tensor, half: str) -> Tensor:
    """Select the "left" or "right" half of a side-by-side image (C, H, W); the whole image for "".

    Raise ImageError where the image is one pixel wide.
    """
    if not half:
        return image
    middle = image.shape[2] // 2
    if middle == 0:
        raise ImageError("one pixel wide: too narrow to hold A and B side by side")
    return image[:, :, :middle] if half == "left" else image[:, :, middle:]


def load_image(ref: ImageRef, preprocessing: Preprocessing, side: int) -> Tensor | ImageError:
    """Load one image of domain a (0) or b (1) at load size: (C, h, w) uint8, uint16 or float32.

    Where the file cannot be read, the ImageError is returned, not raised.
    """
    try:
        image = select_half(DECODERS[preprocessing.decoder](ref.path, preprocessing.reading(side)), ref.half)
        return _resized(image, ref, preprocessing, side, target_size(image, preprocessing))
    except ImageError as e:
        return e


def _resized(image: Tensor, ref: ImageRef, preprocessing: Preprocessing, side: int, size: tuple[int, int]) -> Tensor:
    """Resize a decoded image (C, H, W); a label map by the nearest pixel, with the edges of its instance map at this size."""
    labels = preprocessing.labels if side == 0 else None
    if labels is None:
        return RESIZERS[preprocessing.resize](image, *size)
    resized = images.resize_nearest(image, *size)
    if not labels.edges:
        return resized
    assert ref.instances is not None, "label maps with edges have instance maps"
    instances = images.read_instance_map(ref.instances)
    images.check_instance_size(ref.instances, instances.shape, tuple(image.shape[1:]))
    nearest = images.resize_nearest(torch.from_numpy(instances)[None], *size)[0]
    return torch.cat([resized, torch.from_numpy(images.instance_edges(nearest.numpy()))[None]])


def target_size(image: Tensor, preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width at which an image (C, H, W) is loaded."""
    return PREPROCESS[preprocessing.preprocess](image.shape[1], image.shape[2], preprocessing)


def estimate_bytes(ref: ImageRef, preprocessing: Preprocessing, side: int) -> int:
    """Estimate the bytes of an image at load size from its file's header; 0 where that cannot be read."""
    if not ref.path.is_file():  # opening a pipe would block for ever
        return 0
    try:
        if images.extension(ref.path) == "npy":
            array = np.load(ref.path, mmap_mode="r", allow_pickle=False)
            (height, width), depth = array.shape[:2], min(array.dtype.itemsize, 4)
        else:
            with Image.open(ref.path, formats=images.PILLOW_FORMATS) as image:
                pages = images.tiff_pages_of(image)
                height, width = pages.size if pages else image.size[::-1]
                depth = 4 if image.mode == "F" else 2 if image.mode.startswith("I") else 1
        height, width = PREPROCESS[preprocessing.preprocess](
            height, max(width // 2, 1) if ref.half else width, preprocessing
        )
        return height * width * preprocessing.channels[side] * depth
    except Exception:  # the file's fault is reported when it is decoded
        return 0


def load_pair(
    a: ImageRef, b: ImageRef, preprocessing: Preprocessing
) -> tuple[Tensor | ImageError, Tensor | ImageError]:
    """Load both sides of a pair at the load size of a. A file that holds both is decoded once.

    Sides that cannot be read are returned as ImageError, not raised.
    """
    try:
        image_a = DECODERS[preprocessing.decoder](a.path, preprocessing.reading(0))
        one_file = a.path == b.path and preprocessing.reading(0) == preprocessing.reading(1)
        half_a = select_half(image_a, a.half)
        size = target_size(half_a, preprocessing)
        resized = _resized(half_a, a, preprocessing, 0, size)
    except ImageError as e:
        other = e if a.path == b.path else load_image(b, preprocessing, 1)
        return e, other
    try:
        image_b = image_a if one_file else DECODERS[preprocessing.decoder](b.path, preprocessing.reading(1))
        return resized, _resized(select_half(image_b, b.half), b, preprocessing, 1, size)
    except ImageError as e:
        return resized, e


def load_group(
    split: Split, domains: tuple[str, ...], index: int, preprocessing: Preprocessing
) -> tuple[Tensor | ImageError, ...]:
    """Load image `index` of each domain of one of `split.domain_groups`: both sides of a pair, or one image of one domain."""
    if split.paired:
        return load_pair(split.a[index], split.b[index], preprocessing)
    return (load_image(split.refs(domains[0])[index], preprocessing, "ab".index(domains[0])),)
