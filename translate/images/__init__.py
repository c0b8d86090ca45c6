"""The one place that opens and writes image files, and knows how their values map to [-1, 1]."""

from translate.images.formats import KNOWN, MAX_PIXELS, NOT_ALLOWED, READABLE, ImageError, extension, find, walk
from translate.images.frames import (
    ANIMATED,
    Animation,
    Frame,
    animation_notices,
    encode_animation,
    is_animation,
    open_animation,
)
from translate.images.grid import grid, sheet, write_image
from translate.images.holding import attach, fitted
from translate.images.metadata import COMPOSITE, GENERATED, Mark, Metadata, to_srgb, upright
from translate.images.picture import WHITE, Colour, Picture, colour, decode, decode_array, eight_bits, resize, to_image
from translate.images.reading import FORMATS, Reading, read, size_of
from translate.images.values import FULL, Values, fills_range, to_array, to_integers, to_pixels, to_range, to_tensor
from translate.images.writing import ALIASES, DEPTHS, WRITERS, Writer, encode, writer_for

__all__ = [
    "ALIASES",
    "ANIMATED",
    "COMPOSITE",
    "DEPTHS",
    "FORMATS",
    "FULL",
    "GENERATED",
    "KNOWN",
    "MAX_PIXELS",
    "NOT_ALLOWED",
    "READABLE",
    "WHITE",
    "WRITERS",
    "Animation",
    "Colour",
    "Frame",
    "ImageError",
    "Mark",
    "Metadata",
    "Picture",
    "Reading",
    "Values",
    "Writer",
    "animation_notices",
    "attach",
    "colour",
    "decode",
    "decode_array",
    "eight_bits",
    "encode",
    "encode_animation",
    "extension",
    "fills_range",
    "find",
    "fitted",
    "grid",
    "is_animation",
    "open_animation",
    "read",
    "resize",
    "sheet",
    "size_of",
    "to_array",
    "to_image",
    "to_integers",
    "to_pixels",
    "to_range",
    "to_srgb",
    "to_tensor",
    "upright",
    "walk",
    "write_image",
    "writer_for",
]
