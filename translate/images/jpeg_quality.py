"""Quality at which a JPEG file was written, as its quantization tables tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, JpegImagePlugin

LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Luminance table of quality 50 (ITU-T T.81, table K.1), row by row."""

LEAST_QUALITY = 85
"""Lowest quality of outputs by default: a second compression at a low quality would show."""


@dataclass(frozen=True)
class JpegEncoding:
    """Quality and chroma subsampling of a JPEG file."""

    quality: int
    """Quality from 1 to 100, on the scale of the Independent JPEG Group's library."""
    subsampling: int
    """Chroma subsampling in Pillow's numbers: 0, none (4:4:4); 1, 4:2:2; 2, 4:2:0."""

    @classmethod
    def from_image(cls, image: Image.Image) -> "JpegEncoding | None":
        """Estimate the encoding of an opened image; None if it is no JPEG or has no quantization table."""
        tables = getattr(image, "quantization", None)
        if not isinstance(image, JpegImagePlugin.JpegImageFile) or not tables:
            return None
        subsampling = JpegImagePlugin.get_sampling(image)
        return cls(
            estimate_quality(tables), max(subsampling, 0)
        )  # −1: grey, or a rare kind, written without subsampling

    def options(self) -> dict[str, int]:
        """Return Pillow's options that write a JPEG like it, of at least LEAST_QUALITY."""
        return {"quality": max(self.quality, LEAST_QUALITY), "subsampling": self.subsampling}


def luminance_table(quality: int) -> list[int]:
    """Return the luminance table of a quality from 1 to 100, scaled as by the Independent JPEG Group's library."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(max((value * scale + 50) // 100, 1), 255) for value in LUMINANCE]


def estimate_quality(tables: Mapping[int, Sequence[int]]) -> int:
    """Return the quality whose luminance table is nearest to the first of the quantization tables, in any order of its values.

    Exact for files of programs that scale the standard's table; the nearest for those with tables of their own.
    """
    found = sorted(tables[min(tables)])
    return min(range(100, 0, -1), key=lambda quality: _distance(_sorted_table(quality), found))


@cache
def _sorted_table(quality: int) -> list[int]:
    return sorted(luminance_table(quality))


def _distance(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))
