"""The choice of a format by an Accept header."""

import pytest

from translate import images
from translate.serving.media_types import MEDIA_TYPES, choose_format


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "keep"),
        ("", "keep"),
        ("*/*", "keep"),
        ("image/*", "keep"),
        ("image/webp", "webp"),
        ("image/jpeg;q=0.5, image/png", "png"),
        ("image/avif,image/webp,*/*;q=0.8", "avif"),
        ("text/html, image/png;q=0.1", "png"),
        ("IMAGE/TIFF", "tiff"),
        ("image/webp;q=0", None),
        ("text/html", None),
        ("image/png;q=nonsense", None),
    ],
)
def test_the_highest_quality_value_decides(accept: str | None, chosen: str | None) -> None:
    assert choose_format(accept) == chosen


def test_every_format_that_is_written_has_a_media_type():
    """HEIC is written only with its extra."""
    assert MEDIA_TYPES.keys() == images.WRITERS.keys() | {"heic"}
