"""From files to images at load size, in their own depth: decoding, halves of side-by-side files, resizing."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.ExifTags import Base
from torch import Tensor

from translate import images
from translate.data.split import ImageRef
from translate.images import ImageError, Reading, ValueRange


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared for training."""

    load_size: int
    crop_size: int
    flip: bool
    channels: tuple[int, int]
    """Of domain a and of domain b."""
    preprocess: str = "resize_and_crop"
    """A row of PREPROCESS."""
    value_ranges: tuple[ValueRange | None, ValueRange | None] = (None, None)
    """Declared values of domain a and of domain b."""
    decoder: str = "pillow"
    """A row of DECODERS."""
    resize: str = "pillow"
    """A row of RESIZERS."""
    background: images.Colour = images.WHITE
    multiple_of: int = 4
    """What sizes are rounded to where nothing is cut."""

    @property
    def random_crop_size(self) -> int | None:
        """Of the random squares; None where images stay whole."""
        return None if self.preprocess == "none" else self.crop_size

    def reading(self, side: int) -> Reading:
        """How the files of domain a (0) or b (1) are opened."""
        declared = self.value_ranges[side] is not None
        return Reading(self.channels[side], background=self.background, deep=True, preserve_range=declared)


# Sizes before the crop, by the reference's names.


def _square(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    return preprocessing.load_size, preprocessing.load_size


def _scale_width(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    return max(preprocessing.load_size * height // width, preprocessing.crop_size), preprocessing.load_size


def _as_it_is(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Unchanged, but no smaller than the crop."""
    scale = max(1.0, preprocessing.crop_size / min(height, width))
    return max(round(height * scale), preprocessing.crop_size), max(round(width * scale), preprocessing.crop_size)


def _rounded(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    base = preprocessing.multiple_of
    return max(round(height / base), 1) * base, max(round(width / base), 1) * base


PREPROCESS: dict[str, Callable[[int, int, Preprocessing], tuple[int, int]]] = {
    "resize_and_crop": _square,
    "crop": _as_it_is,
    "scale_width_and_crop": _scale_width,
    "none": _rounded,
}
"""(height, width) of a file's image → those that it is loaded at. All but "none" are then cut to the crop size."""


# Decoders: file → (C, H, W) uint8, uint16 or float32, in any layout in memory.


def _pillow(path: Path, how: Reading) -> Tensor:
    pixels = _plain_pixels(path, how)
    if pixels is None:
        pixels = images.read(path, how=how).pixels
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)


def _torchcodec(path: Path, how: Reading) -> Tensor:
    """JPEG by torchcodec, all else, and what JPEG has beside colour and grey, by Pillow."""
    data = read_plain_jpeg(path, how)
    if data is None:
        return _pillow(path, how)
    from torchcodec.decoders import decode_jpeg

    try:
        return decode_jpeg(data, mode="RGB" if how.channels == 3 else "GRAY")
    except RuntimeError:
        return _pillow(path, how)  # damaged: Pillow's reason is the one to tell


def _plain_pixels(path: Path, how: Reading) -> np.ndarray | None:
    """What `images.read` gives of a plain JPEG, (H, W, C) uint8, without the copies that it makes; None for other files."""
    if not _may_be_plain(path, how):
        return None
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return np.array(image).reshape(image.height, image.width, how.channels) if _is_plain(image, how) else None
    except Exception:
        return None  # `images.read` will say why


def read_plain_jpeg(path: Path, how: Reading) -> bytes | None:
    """The content of a plain JPEG, None for other files."""
    if not _may_be_plain(path, how):
        return None
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return data if _is_plain(image, how) else None
    except Exception:
        return None  # `images.read` will say why


def _may_be_plain(path: Path, how: Reading) -> bool:
    return how.channels in (1, 3) and images.extension(path) in ("jpg", "jpeg") and path.is_file()


def _is_plain(image: Image.Image, how: Reading) -> bool:
    """Whether a JPEG has the wanted colours and an allowed size and is upright, so that any decoder sees the same."""
    speaks = "exif" in image.info or "xmp" in image.info  # else nothing says how it lies, and looking costs time
    upright = not speaks or image.getexif().get(Base.Orientation, 1) == 1
    wanted = image.mode == ("RGB" if how.channels == 3 else "L")
    return wanted and upright and image.height * image.width <= how.max_pixels


DECODERS: dict[str, Callable[[Path, Reading], Tensor]] = {
    "pillow": _pillow,
    "torchcodec": _torchcodec,
    "nvjpeg": _pillow,  # what nvJPEG does not take; the rest is decoded by nvjpeg.Finisher, on the device
}


# Resizers: (C, H, W) of any depth → the same of another size.


def _by_pillow(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[1:] == (height, width):
        return image
    resized = images.resize(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), height, width)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def _by_torch(image: Tensor, height: int, width: int) -> Tensor:
    """By torch's antialiased bicubic filter, on whatever device the image is."""
    if image.shape[1:] == (height, width):
        return image
    x = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)  # image[None] hides from torch that colours lie side by side
    if image.dtype != torch.uint8 or image.device.type != "cpu":
        x = x.to(torch.float32)
    resized = F.interpolate(x, (height, width), mode="bicubic", antialias=True, align_corners=False)[0]
    if image.dtype == torch.float32 or resized.dtype == torch.uint8:
        return resized
    whole = resized.round_().clamp_(0, images.FULL_RANGES[image.dtype][1])
    return whole.to(torch.int32).to(image.dtype)


RESIZERS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "pillow": _by_pillow,
    "torch": _by_torch,
}


def select_half(image: Tensor, half: str) -> Tensor:
    """The half of a side-by-side image that a Ref names; the whole where it names none."""
    if not half:
        return image
    middle = image.shape[2] // 2
    if middle == 0:
        raise ImageError("one pixel wide: too narrow to hold A and B side by side")
    return image[:, :, :middle] if half == "left" else image[:, :, middle:]


def load_image(ref: ImageRef, preprocessing: Preprocessing, side: int) -> Tensor | ImageError:
    """One image of domain a (0) or b (1) at load size: (C, h, w) uint8, uint16 or float32, or why it cannot be read."""
    try:
        image = select_half(DECODERS[preprocessing.decoder](ref.path, preprocessing.reading(side)), ref.half)
        return RESIZERS[preprocessing.resize](image, *target_size(image, preprocessing))
    except ImageError as e:
        return e


def target_size(image: Tensor, preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width that an image (C, H, W) is loaded at."""
    return PREPROCESS[preprocessing.preprocess](image.shape[1], image.shape[2], preprocessing)


def estimate_bytes(ref: ImageRef, preprocessing: Preprocessing, side: int) -> int:
    """About how much memory an image needs at load size, from its file's header; 0 where that cannot be read."""
    if not ref.path.is_file():  # opening a pipe would wait for ever
        return 0
    try:
        if images.extension(ref.path) == "npy":
            array = np.load(ref.path, mmap_mode="r", allow_pickle=False)
            (height, width), depth = array.shape[:2], min(array.dtype.itemsize, 4)
        else:
            with Image.open(ref.path, formats=images.PILLOW_FORMATS) as image:
                width, height = image.size
                depth = 4 if image.mode == "F" else 2 if image.mode.startswith("I") else 1
        height, width = PREPROCESS[preprocessing.preprocess](
            height, max(width // 2, 1) if ref.half else width, preprocessing
        )
        return height * width * preprocessing.channels[side] * depth
    except Exception:  # what is wrong with the file is said when it is decoded
        return 0


def load_pair(
    a: ImageRef, b: ImageRef, preprocessing: Preprocessing
) -> tuple[Tensor | ImageError, Tensor | ImageError]:
    """Both sides of a pair, of one size: that of a. A file that holds both is decoded once."""
    try:
        first = DECODERS[preprocessing.decoder](a.path, preprocessing.reading(0))
        whole = first if a.path == b.path and preprocessing.reading(0) == preprocessing.reading(1) else None
        left = select_half(first, a.half)
        size = target_size(left, preprocessing)
        resized = RESIZERS[preprocessing.resize](left, *size)
    except ImageError as e:
        other = e if a.path == b.path else load_image(b, preprocessing, 1)
        return e, other
    try:
        second = whole if whole is not None else DECODERS[preprocessing.decoder](b.path, preprocessing.reading(1))
        return resized, RESIZERS[preprocessing.resize](select_half(second, b.half), *size)
    except ImageError as e:
        return resized, e
