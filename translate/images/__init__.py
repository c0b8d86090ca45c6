"""Reading and writing of image files, and the mapping of their values to [-1, 1]; no other package opens image files."""

from translate.images.animation import (
    Animation,
    animation_notices,
    encode_animation,
    is_animated,
    open_animation,
)
from translate.images.animation_encoders import Frame
from translate.images.contact_sheet import make_comparison_grid, make_grid, write_png
from translate.images.formats import (
    IMAGE_EXTENSIONS,
    MAX_PIXELS,
    READABLE_EXTENSIONS,
    REFUSED_EXTENSIONS,
    ImageError,
    extension,
    list_files,
    list_images,
)
from translate.images.jpeg_end import is_ended
from translate.images.metadata.icc import changes_colours
from translate.images.metadata.photo_metadata import (
    COMPOSITE,
    GENERATED,
    Mark,
    Metadata,
    read_orientation,
    to_srgb,
)
from translate.images.orientation import apply_orientation
from translate.images.picture import (
    WHITE,
    Colour,
    Picture,
    from_array,
    from_pil_image,
    parse_colour,
    resize,
    to_pil_image,
    to_uint8,
)
from translate.images.reading import PILLOW_FORMATS, Reading, from_opened, read, read_size
from translate.images.value_ranges import (
    FULL_RANGES,
    ValueRange,
    normalize,
    quantize,
    spans_full_range,
    to_array,
    to_tensor,
    to_uint8_array,
)
from translate.images.writing import ALIASES, ANIMATED, DEPTHS, WRITERS, Writer, encode, supported_by, writer_for

__all__ = [
    "ALIASES",
    "ANIMATED",
    "COMPOSITE",
    "DEPTHS",
    "FULL_RANGES",
    "GENERATED",
    "IMAGE_EXTENSIONS",
    "MAX_PIXELS",
    "PILLOW_FORMATS",
    "READABLE_EXTENSIONS",
    "REFUSED_EXTENSIONS",
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
    "ValueRange",
    "Writer",
    "animation_notices",
    "apply_orientation",
    "changes_colours",
    "encode",
    "encode_animation",
    "extension",
    "from_array",
    "from_opened",
    "from_pil_image",
    "is_animated",
    "is_ended",
    "list_files",
    "list_images",
    "make_comparison_grid",
    "make_grid",
    "normalize",
    "open_animation",
    "parse_colour",
    "quantize",
    "read",
    "read_orientation",
    "read_size",
    "resize",
    "spans_full_range",
    "supported_by",
    "to_array",
    "to_pil_image",
    "to_srgb",
    "to_tensor",
    "to_uint8",
    "to_uint8_array",
    "write_png",
    "writer_for",
]
