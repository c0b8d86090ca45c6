"""The choice of a format by an Accept header."""

import pytest

from translate.serving.media_types import choose_format


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
