"""Animations (GIF, WebP, PNG, AVIF), one frame at a time: memory holds one frame and what is compressed already.

Sources: GIF89a; WebP Container Specification; PNG Specification, third edition, section 11.3.6.
"""

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translate.images.formats import MAX_PIXELS, ImageError
from translate.images.metadata import gif_blocks, png_chunks
from translate.images.metadata.embedding import embed, pillow_save_options, supported_by
from translate.images.metadata.photo_metadata import Metadata, apply_orientation, to_srgb
from translate.images.metadata.png_chunks import COMMENT_KEYWORD
from translate.images.picture import Picture, from_pil_image, to_uint8
from translate.images.reading import PILLOW_FORMATS, Reading, check_size
from translate.images.writing import WRITERS, encode
from translate.text import one_line

MAX_FRAMES = 16
"""How many frames of the largest allowed size, or as many more as they are smaller, an animation may have."""


@dataclass
class Frame:
    """A whole picture, composed of all that is seen at its time."""

    picture: Picture
    duration: float
    """Milliseconds; 0 where the file leaves it to the viewer."""


@dataclass
class Animation:
    """An opened animation; iterating gives its frames, once."""

    frame_count: int
    play_count: int
    """How often it is played; 0: for ever."""
    metadata: Metadata
    frames: Iterator[Frame]
    notices: list[str] = field(default_factory=list)
    """What could not be kept, one short line each."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames


def is_animated(path: Path) -> bool:
    """Whether a file is read as an animation. Pages of TIFF files are no frames. False for what cannot be opened."""
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            return image.format in ("GIF", "WEBP", "PNG", "AVIF") and getattr(image, "is_animated", False)
    except Exception:  # reading it will say why
        return False


@contextmanager
def open_animation(path: Path, how: Reading | None = None) -> Iterator[Animation]:
    """Opens an animation, whose frames come in 8 bits and, if it has a colour profile, in sRGB.

    ImageError if a frame has more pixels than `how.max_pixels`, all together more than 16 times that, or one is damaged.
    """
    how = how or Reading()
    with ExitStack() as stack:
        with _told():
            if how.max_pixels > MAX_PIXELS:  # asked for: lift Pillow's own limit too
                Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, how.max_pixels)
            animation = _opened(stack.enter_context(Image.open(path, formats=PILLOW_FORMATS)), how)
        yield animation


def _opened(image: Image.Image, how: Reading) -> Animation:
    check_size(image.height, image.width, how.max_pixels)
    original = metadata = Metadata.from_image(image)
    frame_count = getattr(image, "n_frames", 1)
    if frame_count * image.width * image.height > MAX_FRAMES * how.max_pixels:
        raise ImageError(
            f"{frame_count} frames of {image.width}×{image.height} are more than {MAX_FRAMES} × {how.max_pixels} pixels; "
            "raise --max-pixels to allow it"
        )
    first = 1 if getattr(image, "default_image", False) else 0
    if metadata.icc is not None:
        _, metadata = to_srgb(image, metadata)  # as for all frames
    notices = list(metadata.notices)
    if first:
        notices.append("the picture that stands in for the animation is left out")
    if image.format == "AVIF" and frame_count > 1:
        notices.append("how often it is played is not known: for ever")
    frames = _frames(image, range(first, frame_count), original, how)
    return Animation(frame_count - first, _plays(image), metadata, frames, notices)


def _plays(image: Image.Image) -> int:
    """How often: GIF counts the repetitions, and none is once; PNG and WebP count the times; 0 is for ever."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return loop or 0


def _frames(image: Image.Image, numbers: range, metadata: Metadata, how: Reading) -> Iterator[Frame]:
    for number in numbers:
        with _told(f"frame {number + 1} of {numbers.stop}: "):
            image.seek(number)
            image.load()
            check_size(image.height, image.width, how.max_pixels)
            seen, _ = to_srgb(apply_orientation(image, metadata.orientation), metadata)
            picture = from_pil_image(seen, how.channels, how.background)
        yield Frame(picture, float(image.info.get("duration", 0)))


@contextmanager
def _told(where: str = "") -> Iterator[None]:
    """ImageError instead of the many kinds that decoders raise."""
    try:
        yield
    except ImageError:
        raise
    except EOFError:
        raise ImageError(f"damaged image: {where}ends early") from None
    except Image.DecompressionBombError:
        raise ImageError(f"more than {MAX_PIXELS} pixels; raise --max-pixels to allow it") from None
    except MemoryError:
        raise ImageError("too large for the memory") from None
    except Exception as e:
        raise ImageError(f"damaged image: {where}{one_line(e)}") from None


def encode_animation(
    frames: Iterable[Frame], fmt: str, play_count: int = 0, quality: int | None = None, metadata: Metadata | None = None
) -> bytes:
    """The bytes of an animation of frames of one size, in 8 bits; `fmt` is a row of ANIMATED.

    Every frame is kept, equal ones too, and the time at which each begins, to the format's precision (GIF: 10 ms). `play_count` is
    how often; 0: for ever. ImageError if there is no frame, or the format cannot hold them.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ImageError("has no frames")
    held, _ = supported_by(metadata or Metadata(), fmt, first.picture.pixels.shape[2])
    try:
        return ANIMATION_ENCODERS[fmt](_Reel(first, frames), play_count, quality, held)
    except ImageError:
        raise
    except Exception as e:
        raise ImageError(f"cannot be written as {fmt}: {one_line(e)}") from None


class _Reel:
    """Frames that must be of one size, as pictures of 8 bits."""

    def __init__(self, first: Frame, others: Iterator[Frame]) -> None:
        self.first, self.others = first, others
        self.height, self.width = first.picture.height, first.picture.width

    def __iter__(self) -> Iterator[tuple[Picture, float]]:
        for frame in chain([self.first], self.others):
            if frame.picture.pixels.shape != self.first.picture.pixels.shape:
                raise ImageError("its frames differ in size or channels")
            yield self._plain(frame.picture), frame.duration

    @staticmethod
    def _plain(picture: Picture) -> Picture:
        alpha = None if picture.alpha is None else to_uint8(picture.alpha)
        return Picture(to_uint8(picture.pixels), alpha)

    def ticks(self, unit: float, most: int, fmt: str) -> Iterator[tuple[Picture, int]]:
        """Durations in whole units: the time at which a frame begins is rounded, so that errors do not add up."""
        time, before = 0.0, 0
        for picture, duration in self:
            time += duration
            now = round(time / unit)
            if now - before > most:
                raise ImageError(f"{fmt} holds frames of at most {most * unit / 1000:.0f} s, and one is longer")
            yield picture, now - before
            before = now


def _encode_gif(frames: _Reel, play_count: int, quality: int | None, metadata: Metadata) -> bytes:
    """Each frame with a palette of its own, in the place of all before it."""
    parts = [b"GIF89a" + struct.pack("<HH", frames.width, frames.height) + bytes(3)]
    if comment := metadata.text.get(COMMENT_KEYWORD):
        parts.append(gif_blocks.comment_block(comment.encode()))
    if play_count != 1:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", play_count - 1 if play_count else 0, 0))
    for picture, duration in frames.ticks(10, 65_535, "gif"):
        parts.append(
            b"\x21\xf9\x04\x04"
            + struct.pack("<HBB", duration, 0, 0)
            + gif_blocks.with_local_palette(encode(picture, "gif"))
        )
    return embed(b"".join(parts) + b";", "gif", metadata)


def _encode_webp(frames: _Reel, play_count: int, quality: int | None, metadata: Metadata) -> bytes:
    parts, alpha = [], False
    for picture, duration in frames.ticks(1, (1 << 24) - 1, "webp"):
        alpha |= picture.alpha is not None
        size = _u24(frames.width - 1) + _u24(frames.height - 1)
        place = bytes(6) + size + _u24(duration) + b"\x02"  # replaces what was there, does not blend with it
        parts.append(_riff(b"ANMF", place + _webp_pixels(encode(picture, "webp", quality))))
    flags = 0x02 | 0x10 * alpha | 0x20 * bool(metadata.icc) | 0x08 * bool(metadata.exif) | 0x04 * bool(metadata.xmp)
    head = _riff(b"VP8X", bytes([flags, 0, 0, 0]) + _u24(frames.width - 1) + _u24(frames.height - 1))
    body = b"".join(
        [
            head, _riff(b"ICCP", metadata.icc), _riff(b"ANIM", bytes(4) + struct.pack("<H", play_count)), *parts,
            _riff(b"EXIF", metadata.exif), _riff(b"XMP ", metadata.xmp),
        ]
    )  # fmt: skip
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _riff(kind: bytes, data: bytes | None) -> bytes:
    """A chunk; nothing where there is no data."""
    return b"" if not data else kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _u24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _webp_pixels(data: bytes) -> bytes:
    """The chunks of a still image that hold its colours and its alpha."""
    kept, at = [], 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind in (b"ALPH", b"VP8 ", b"VP8L"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _encode_png(frames: _Reel, play_count: int, quality: int | None, metadata: Metadata) -> bytes:
    stills = [(encode(picture, "png"), duration) for picture, duration in frames]
    return embed(_apng(stills, play_count), "png", metadata)


def _apng(stills: Sequence[tuple[bytes, float]], play_count: int) -> bytes:
    """Still PNGs of one size, each whole and in the place of the one before it."""
    size = stills[0][0][16:24]
    colours = {still[25] for still, _ in stills}  # of IHDR: all frames must have the same
    if len(colours) > 1:
        stills = [(_with_alpha(still), duration) for still, duration in stills]
    parts = [
        stills[0][0][: png_chunks.HEADER_END],
        png_chunks.make_chunk(b"acTL", struct.pack(">II", len(stills), play_count)),
    ]
    number = 0
    for still, duration in stills:
        delay = _delay(duration)
        place = struct.pack(">I", number) + size + bytes(8)
        parts.append(
            png_chunks.make_chunk(b"fcTL", place + struct.pack(">HHBB", delay.numerator, delay.denominator, 0, 0))
        )
        pixels = png_chunks.image_data(still)
        parts.append(
            png_chunks.make_chunk(b"fdAT", struct.pack(">I", number + 1) + pixels)
            if number
            else png_chunks.make_chunk(b"IDAT", pixels)
        )
        number += 2 if number else 1
    return b"".join([*parts, png_chunks.make_chunk(b"IEND", b"")])


def _delay(milliseconds: float) -> Fraction:
    """Seconds, as PNG has them: a fraction of two numbers below 65536."""
    seconds = Fraction(milliseconds) / 1000
    if seconds > 65_535:
        raise ImageError("png holds frames of at most 65535 s, and one is longer")
    return seconds.limit_denominator(65_535 // max(1, -(-seconds.numerator // seconds.denominator)))


def _with_alpha(still: bytes) -> bytes:
    with Image.open(io.BytesIO(still), formats=("PNG",)) as image:
        if image.mode in ("LA", "RGBA"):
            return still
        pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return encode(Picture(pixels, np.full(pixels.shape[:2], 255, np.uint8)), "png")


def _encode_avif(frames: _Reel, play_count: int, quality: int | None, metadata: Metadata) -> bytes:
    """From an animated PNG, of which Pillow decodes one frame at a time. Its encoder plays for ever."""
    stills = [(encode(picture, "png"), duration) for picture, duration in frames.ticks(1, (1 << 31) - 1, "avif")]
    options: dict[str, Any] = {**WRITERS["avif"].options, **pillow_save_options(metadata, "avif")}
    if quality is not None:
        options["quality"] = quality
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(_apng(stills, play_count)), formats=("PNG",)) as image:
        image.save(buffer, "AVIF", save_all=True, duration=[duration for _, duration in stills], **options)
    return _undated(buffer.getvalue())


def _undated(data: bytes) -> bytes:
    """An AVIF file without the times of its making: equal animations give equal files."""
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


ANIMATION_ENCODERS: dict[str, Callable[[_Reel, int, int | None, Metadata], bytes]] = {
    "gif": _encode_gif,
    "webp": _encode_webp,
    "png": _encode_png,
    "avif": _encode_avif,
}
"""Rows of WRITERS that hold animations."""


def animation_notices(fmt: str, play_count: int) -> list[str]:
    """A line on what a format does not hold of an animation that is played so often."""
    return ["avif plays for ever"] if fmt == "avif" and play_count else []
