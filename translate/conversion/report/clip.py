"""Clip of a video before and after, side by side, as an animated image that a page can hold."""

from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from translate import html, videos
from translate.videos import VideoInfo

CLIP_SECONDS = 3.0
"""Length of a clip: the beginning of the video."""
CLIP_FRAMES = 24
"""Frames of a clip, evenly spaced."""
CLIP_SIDE = 320
"""Limit of the longer side of each of the two pictures, in pixels."""


def side_by_side_clip(source: Path, output: Path) -> str | None:
    """Return an animated WebP of the beginning of a video and of its translation as a data URI; None if one cannot be read."""
    try:
        info = videos.read_video_info(source)
        step = max(1, round(float(info.rate) * CLIP_SECONDS / CLIP_FRAMES))
        before, after = _frames(source, info, step), _frames(output, videos.read_video_info(output), step)
    except videos.VideoError:
        return None
    joined = [_joined(*pair) for pair in zip(before, after, strict=False)]
    if not joined:
        return None
    first, *others = joined
    milliseconds = round(1000 * step / float(info.rate))
    return html.data_uri(
        first, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, quality=75, method=2
    )


def _frames(path: Path, info: VideoInfo, step: int) -> list[Image.Image]:
    """Return small copies of every `step`-th frame of the beginning."""
    frames = islice(videos.read_frames(path, info, 3), 0, CLIP_FRAMES * step, step)
    found = []
    for frame in frames:
        pixels = frame.pixels
        image = Image.fromarray((pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels)
        image.thumbnail((CLIP_SIDE, CLIP_SIDE), Image.Resampling.BICUBIC)
        found.append(image)
    return found


def _joined(before: Image.Image, after: Image.Image) -> Image.Image:
    """Put two pictures side by side; the second one gets the height of the first."""
    after = after.resize((max(1, round(after.width * before.height / after.height)), before.height))
    joined = Image.new("RGB", (before.width + after.width, before.height))
    joined.paste(before, (0, 0))
    joined.paste(after, (before.width, 0))
    return joined
