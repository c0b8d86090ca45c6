"""Grids of images, and PNG files of them."""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from translate import atomic
from translate.images.value_ranges import to_uint8_array

MAX_COLUMNS = 6
"""Largest number of columns of a grid that stand side by side."""


def make_comparison_grid(
    columns: Mapping[str, Tensor | Iterable[np.ndarray]], gap: int = 4, scale_to: int = 128
) -> Image.Image:
    """Draw columns of images with their names on top, one row per sample, on a white background.

    A column is a tensor (N, C, H, W) in [-1, 1] or N arrays (H, W, C) uint8. Images narrower than `scale_to` pixels are
    enlarged by a whole factor. `gap` is the distance of images in pixels. Names are as large as their columns allow, and more
    than MAX_COLUMNS columns stand in blocks below each other, since TensorBoard and others show the grid reduced.
    """
    cells = {name: [_rgb(image) for image in _arrays(column)] for name, column in columns.items()}
    first = next(iter(cells.values()))[0]
    factor = max(1, round(scale_to / first.shape[1]))
    height, width = first.shape[0] * factor, first.shape[1] * factor
    rows, blocks = min(map(len, cells.values())), -(-len(cells) // MAX_COLUMNS)
    across = -(-len(cells) // blocks)
    size = _caption_size(cells, width)
    font, caption = ImageFont.load_default(size), round(size * 1.7)
    block = rows * (height + gap) + caption
    sheet = Image.new("RGB", (across * (width + gap) + gap, blocks * block), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, column) in enumerate(cells.items()):
        left, top = gap + number % across * (width + gap), number // across * block
        draw.text((left + width / 2, top + caption / 2), name, fill="black", font=font, anchor="mm")
        for y, pixels in enumerate(column[:rows]):
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(image, (left, top + caption + y * (height + gap)))
    return sheet


def _caption_size(names: Iterable[str], width: int) -> int:
    """Return the largest font size, of at least 14 and at most a fifth of the width, at which all names fit into the width."""
    sizes = range(max(width // 5, 14), 14, -1)
    fits = (size for size in sizes if max(map(ImageFont.load_default(size).getlength, names)) <= width)
    return next(fits, 14)


def make_grid(x: Tensor, columns: int, gap: int = 2) -> Image.Image:
    """Draw images (N, C, H, W) in [-1, 1] in rows of `columns` images, on a white background, `gap` pixels apart."""
    cells = [_rgb(pixels) for pixels in _arrays(x)]
    height, width = cells[0].shape[:2]
    across, down = min(columns, len(cells)), -(-len(cells) // columns)
    sheet = Image.new("RGB", (across * (width + gap) + gap, down * (height + gap) + gap), "white")
    for n, pixels in enumerate(cells):
        sheet.paste(Image.fromarray(pixels), (gap + n % columns * (width + gap), gap + n // columns * (height + gap)))
    return sheet


def _arrays(column: Tensor | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for image in column:
        yield to_uint8_array(image) if isinstance(image, Tensor) else image


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """Return the first three channels, or the first one as grey where there are fewer."""
    return pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1].repeat(3, axis=2)


def write_png(path: Path, image: Image.Image) -> None:
    """Write a Pillow image as a PNG file, whole or not at all."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    atomic.write(path, buffer.getvalue())
