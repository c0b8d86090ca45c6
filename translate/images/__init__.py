"""The one place that opens and writes image files, and knows how their values map to [-1, 1]."""

from translate.images.formats import KNOWN, MAX_PIXELS, NOT_ALLOWED, READABLE, ImageError, extension, find, walk
from translate.images.grid import grid, write_image
from translate.images.picture import WHITE, Colour, Picture, colour, decode, decode_array, eight_bits, resize, to_image
from translate.images.reading import FORMATS, Reading, pixels_of, read
from translate.images.values import FULL, Values, fills_range, to_array, to_integers, to_pixels, to_range, to_tensor
from translate.images.writing import ALIASES, DEPTHS, WRITERS, Writer, encode, writer_for

__all__ = [
    "ALIASES",
    "DEPTHS",
    "FORMATS",
    "FULL",
    "KNOWN",
    "MAX_PIXELS",
    "NOT_ALLOWED",
    "READABLE",
    "WHITE",
    "WRITERS",
    "Colour",
    "ImageError",
    "Picture",
    "Reading",
    "Values",
    "Writer",
    "colour",
    "decode",
    "decode_array",
    "eight_bits",
    "encode",
    "extension",
    "fills_range",
    "find",
    "grid",
    "pixels_of",
    "read",
    "resize",
    "to_array",
    "to_image",
    "to_integers",
    "to_pixels",
    "to_range",
    "to_tensor",
    "walk",
    "write_image",
    "writer_for",
]
