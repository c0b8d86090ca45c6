"""Conversion of videos: frame by frame, in segments that survive an interruption."""
