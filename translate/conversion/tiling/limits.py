"""Limits of the size of tiles."""

MIN_TILE = 8
"""Smallest tile size, in pixels."""
