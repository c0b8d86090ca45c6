"""Frames of a video as upright arrays, from the start or after a known frame."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from translate.videos.containers import VideoError, import_av, open_video
from translate.videos.video_info import FULL, LIMITED, VideoInfo, main_stream, reason

SCALER = 4 | 0x2000 | 0x4000 | 0x40000 | 0x80000
"""Flags of swscale: bicubic, full chroma in and out, exact rounding, the same bits on each machine."""

FORMATS = {(3, False): "rgb24", (3, True): "rgb48le", (1, False): "gray", (1, True): "gray16le"}
"""(channels, more than 8 bits) → pixel format of the arrays."""


class Position(NamedTuple):
    """Frame after which reading goes on."""

    number: int
    """Number of the frame, from 0."""
    pts: int | None
    """Timestamp that the file gives it."""
    crc32: int
    """CRC-32 of its pixels."""


@dataclass(frozen=True)
class DecodedFrame:
    """Frame of a video."""

    pixels: np.ndarray
    """(H, W, C), uint8 or uint16, upright."""
    pts: int | None
    """Timestamp in units of the stream's time base."""
    duration: int
    """Duration in the same units; 0 if unknown."""
    quarter_turns: int
    """Quarter turns, anticlockwise, that made it upright."""
    is_interlaced: bool


def read_frames(path: Path, info: VideoInfo, channels: int, after: Position | None = None) -> Iterator[DecodedFrame]:
    """Yield the frames in the order in which they are shown. VideoError if one cannot be decoded.

    `after`: the frame before the first one. It is sought by its timestamp, and known by its pixels; where seeking does not lead
    to it, everything before it is decoded.
    """
    if after is not None and after.pts is not None:
        frames = _sought(path, info, channels, after)
        if frames is not None:
            yield from frames
            return
    frames = _decoded(path, info, channels, None)
    if after is not None:
        for number in range(after.number + 1):
            frame = next(frames, None)
            if frame is None or (number == after.number and crc32(frame.pixels) != after.crc32):
                raise VideoError("the video is not the one whose conversion was interrupted")
    yield from frames


def crc32(pixels: np.ndarray) -> int:
    """Return the CRC-32 of an array's bytes."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _sought(path: Path, info: VideoInfo, channels: int, after: Position) -> Iterator[DecodedFrame] | None:
    """Return the frames after one that was found by seeking; None if it was not found."""
    assert after.pts is not None
    frames = _decoded(path, info, channels, after.pts)
    try:
        for frame in frames:
            if frame.pts is None or frame.pts > after.pts:
                return None
            if frame.pts == after.pts:
                return frames if crc32(frame.pixels) == after.crc32 else None
    except VideoError:  # right after a seek, of a file that cannot be decoded from there
        return None
    return None


def _decoded(path: Path, info: VideoInfo, channels: int, start: int | None) -> Iterator[DecodedFrame]:
    """Yield frames from the start, or from the last key frame before a timestamp."""
    av = import_av()
    number = 0
    try:
        with open_video(path) as container:
            stream = main_stream(container)
            stream.thread_type = "AUTO"
            if start is not None:
                container.seek(start, stream=stream)
            for frame in container.decode(stream):
                yield _converted(frame, info, channels)
                number += 1
    except av.FFmpegError as e:
        raise VideoError(f"damaged after {number} frames: {reason(e)}") from None


def _converted(frame: Any, info: VideoInfo, channels: int) -> DecodedFrame:
    """Convert a frame to an upright array."""
    if (frame.width, frame.height) != (info.width, info.height):
        raise VideoError(
            f"its frames change from {info.width}×{info.height} to {frame.width}×{frame.height}; split it there"
        )
    made = frame.reformat(
        format=FORMATS[channels, info.depth > 8],
        src_colorspace=info.matrix,
        src_color_range=FULL if info.is_full_range else LIMITED,
        dst_color_range=FULL,
        interpolation=SCALER,
    ).to_ndarray()
    pixels = made if made.ndim == 3 else made[:, :, None]
    turns = round(frame.rotation / 90) % 4
    return DecodedFrame(
        np.ascontiguousarray(np.rot90(pixels, turns)), frame.pts, frame.duration or 0, turns, frame.interlaced_frame
    )
