"""Encoders of animations (GIF, WebP, PNG, AVIF), one frame at a time: memory holds one frame and the encoded ones.

Sources: GIF89a; WebP Container Specification; PNG Specification, third edition, section 11.3.6.
"""

import io
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image

from translate.images.formats import ImageError
from translate.images.metadata import gif_blocks, png_chunks
from translate.images.metadata.embedding import embed_in_gif, embed_in_png
from translate.images.metadata.photo_metadata import Metadata
from translate.images.metadata.png_chunks import COMMENT_KEYWORD
from translate.images.picture import Picture, to_uint8

StillEncoder = Callable[[Picture, str], bytes]
"""Encoder of a picture as a still image of the format named: `images.writing.encode` at the quality of the animation."""


@dataclass
class Frame:
    """Frame of an animation, composed of all that is visible at its time."""

    picture: Picture
    duration: float
    """Duration in milliseconds; 0 where the file leaves it to the viewer."""


class FrameSequence:
    """Frames as pictures of 8 bits; iterating raises ImageError if they differ in size or channels."""

    def __init__(self, first: Frame, others: Iterator[Frame]) -> None:
        self.first, self.others = first, others
        self.height, self.width = first.picture.height, first.picture.width

    def __iter__(self) -> Iterator[tuple[Picture, float]]:
        for frame in chain([self.first], self.others):
            if frame.picture.pixels.shape != self.first.picture.pixels.shape:
                raise ImageError("its frames differ in size or channels")
            yield self._reduce_depth(frame.picture), frame.duration

    @staticmethod
    def _reduce_depth(picture: Picture) -> Picture:
        alpha = None if picture.alpha is None else to_uint8(picture.alpha)
        return Picture(to_uint8(picture.pixels), alpha)

    def ticks(self, unit: float, max_ticks: int, fmt: str) -> Iterator[tuple[Picture, int]]:
        """Yield pictures with durations in whole units of `unit` milliseconds.

        The times at which frames begin are rounded, so that errors do not add up. ImageError for a frame of more than
        `max_ticks`.
        """
        time, before = 0.0, 0
        for picture, duration in self:
            time += duration
            now = round(time / unit)
            if now - before > max_ticks:
                raise ImageError(f"{fmt} holds frames of at most {max_ticks * unit / 1000:.0f} s, and one is longer")
            yield picture, now - before
            before = now


def encode_gif_animation(
    frames: FrameSequence, play_count: int, still: StillEncoder, options: Mapping[str, Any], metadata: Metadata
) -> bytes:
    """Encode a GIF in which each frame has a palette of its own and replaces the one before it."""
    parts = [b"GIF89a" + struct.pack("<HH", frames.width, frames.height) + bytes(3)]
    if comment := metadata.text.get(COMMENT_KEYWORD):
        parts.append(gif_blocks.comment_block(comment.encode()))
    if play_count != 1:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", play_count - 1 if play_count else 0, 0))
    for picture, duration in frames.ticks(10, 65_535, "gif"):
        parts.append(
            b"\x21\xf9\x04\x04"
            + struct.pack("<HBB", duration, 0, 0)
            + gif_blocks.with_local_palette(still(picture, "gif"))
        )
    return embed_in_gif(b"".join(parts) + b";", metadata)


def encode_webp_animation(
    frames: FrameSequence, play_count: int, still: StillEncoder, options: Mapping[str, Any], metadata: Metadata
) -> bytes:
    """Encode a WebP in which each frame replaces the one before it."""
    parts, alpha = [], False
    for picture, duration in frames.ticks(1, (1 << 24) - 1, "webp"):
        alpha |= picture.alpha is not None
        size = _u24(frames.width - 1) + _u24(frames.height - 1)
        header = bytes(6) + size + _u24(duration) + b"\x02"  # 2: replace the frame before it, do not blend
        parts.append(_riff_chunk(b"ANMF", header + _webp_image_chunks(still(picture, "webp"))))
    flags = 0x02 | 0x10 * alpha | 0x20 * bool(metadata.icc) | 0x08 * bool(metadata.exif) | 0x04 * bool(metadata.xmp)
    head = _riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + _u24(frames.width - 1) + _u24(frames.height - 1))
    body = b"".join(
        [
            head,
            _riff_chunk(b"ICCP", metadata.icc),
            _riff_chunk(b"ANIM", bytes(4) + struct.pack("<H", play_count)),
            *parts,
            _riff_chunk(b"EXIF", metadata.exif),
            _riff_chunk(b"XMP ", metadata.xmp),
        ]
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _riff_chunk(kind: bytes, data: bytes | None) -> bytes:
    """Return a chunk; empty where there is no data."""
    return b"" if not data else kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _u24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _webp_image_chunks(data: bytes) -> bytes:
    """Return the chunks of a still WebP that hold its colours and its alpha."""
    kept, at = [], 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind in (b"ALPH", b"VP8 ", b"VP8L"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def encode_png_animation(
    frames: FrameSequence, play_count: int, still: StillEncoder, options: Mapping[str, Any], metadata: Metadata
) -> bytes:
    """Encode an animated PNG in which each frame replaces the one before it."""
    stills = [(still(picture, "png"), duration) for picture, duration in frames]
    return embed_in_png(_join_stills(stills, play_count, still), metadata)


def _join_stills(stills: Sequence[tuple[bytes, float]], play_count: int, still: StillEncoder) -> bytes:
    """Join still PNGs of one size into an animated PNG, in which each replaces the one before it."""
    size = stills[0][0][16:24]
    colour_types = {data[25] for data, _ in stills}  # of IHDR: all frames must have the same
    if len(colour_types) > 1:
        stills = [(_with_alpha(data, still), duration) for data, duration in stills]
    parts = [
        stills[0][0][: png_chunks.HEADER_END],
        png_chunks.make_chunk(b"acTL", struct.pack(">II", len(stills), play_count)),
    ]
    number = 0
    for data, duration in stills:
        delay = _delay(duration)
        place = struct.pack(">I", number) + size + bytes(8)
        parts.append(
            png_chunks.make_chunk(b"fcTL", place + struct.pack(">HHBB", delay.numerator, delay.denominator, 0, 0))
        )
        pixels = png_chunks.image_data(data)
        parts.append(
            png_chunks.make_chunk(b"fdAT", struct.pack(">I", number + 1) + pixels)
            if number
            else png_chunks.make_chunk(b"IDAT", pixels)
        )
        number += 2 if number else 1
    return b"".join([*parts, png_chunks.make_chunk(b"IEND", b"")])


def _delay(milliseconds: float) -> Fraction:
    """Return a duration in seconds as PNG holds it: a fraction of two numbers below 65536. ImageError for a longer one."""
    seconds = Fraction(milliseconds) / 1000
    if seconds > 65_535:
        raise ImageError("png holds frames of at most 65535 s, and one is longer")
    return seconds.limit_denominator(65_535 // max(1, -(-seconds.numerator // seconds.denominator)))


def _with_alpha(data: bytes, still: StillEncoder) -> bytes:
    """Return a still PNG with an alpha channel, opaque if it had none."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if image.mode in ("LA", "RGBA"):
            return data
        pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return still(Picture(pixels, np.full(pixels.shape[:2], 255, np.uint8)), "png")


def encode_avif_animation(
    frames: FrameSequence, play_count: int, still: StillEncoder, options: Mapping[str, Any], metadata: Metadata
) -> bytes:
    """Encode an AVIF from an animated PNG, of which Pillow decodes one frame at a time. It plays for ever."""
    stills = [(still(picture, "png"), duration) for picture, duration in frames.ticks(1, (1 << 31) - 1, "avif")]
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(_join_stills(stills, play_count, still)), formats=("PNG",)) as image:
        image.save(buffer, "AVIF", save_all=True, duration=[duration for _, duration in stills], **options)
    return _without_dates(buffer.getvalue())


def _without_dates(data: bytes) -> bytes:
    """Return an AVIF file with its times of creation set to 0, so that equal animations give equal files."""
    undated = bytearray(data)
    inside = [(0, len(data))]
    while inside:
        at, end = inside.pop()
        while at + 8 <= end:
            length, kind = struct.unpack_from(">I4s", data, at)
            if kind in (b"moov", b"trak", b"mdia"):
                inside.append((at + 8, at + length))
            elif kind in (b"mvhd", b"tkhd", b"mdhd"):  # ISO 14496-12, sections 8.2.2, 8.3.2, 8.4.2
                size = 16 if data[at + 8] else 8
                undated[at + 12 : at + 12 + size] = bytes(size)
            if length < 8:  # to the end of the file
                break
            at += length
    return bytes(undated)


AnimationEncoder = Callable[[FrameSequence, int, StillEncoder, Mapping[str, Any], Metadata], bytes]
"""Encoder of an animation, given its frames, number of plays (0: for ever), encoder of stills, Pillow's options and fitted
metadata."""
