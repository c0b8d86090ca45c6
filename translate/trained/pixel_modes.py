"""Ways to make integers of a network's output."""

from translate.errors import UsageError

PIXEL_MODES = ("rounded", "reference")
"""Rounded to the nearest, or truncated as the reference does."""


def check_pixel_mode(pixels: str) -> None:
    """Raise UsageError if `pixels` is not one of PIXEL_MODES."""
    if pixels not in PIXEL_MODES:
        raise UsageError(f"--pixels {pixels}: unknown; possible: {', '.join(PIXEL_MODES)}")
