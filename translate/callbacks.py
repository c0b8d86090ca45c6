"""Types of the functions that a caller gives to long tasks. Imports nothing of the package."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int, int], None]
"""Function of (images finished, images failed, images in all), called after each of them."""
