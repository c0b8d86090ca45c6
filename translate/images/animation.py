"""Animations (GIF, WebP, PNG, AVIF), one frame at a time: memory holds one frame and the encoded ones.

Sources: GIF89a; WebP Container Specification; PNG Specification, third edition, section 11.3.6.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from translate.errors import TranslateError
from translate.images.animation_encoders import Frame, FrameSequence
from translate.images.formats import MAX_PIXELS, ImageError
from translate.images.metadata.photo_metadata import Metadata, to_srgb
from translate.images.orientation import apply_orientation
from translate.images.picture import from_pil_image
from translate.images.reading import PILLOW_FORMATS, Reading, check_size
from translate.images.writing import ANIMATED, WRITERS, encode, supported_by
from translate.text import one_line

MAX_FRAMES = 16
"""Largest number of frames of the largest allowed size; smaller frames may be as many more as they are smaller."""


@dataclass
class Animation:
    """Opened animation; iterating yields its frames, once."""

    frame_count: int
    play_count: int
    """Number of times it is played; 0: for ever."""
    metadata: Metadata
    frames: Iterator[Frame]
    notices: list[str] = field(default_factory=list)
    """Parts that could not be kept, one short line each."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames


def is_animated(path: Path) -> bool:
    """Return whether a file is read as an animation: False for pages of a TIFF, and for files that cannot be opened."""
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            return image.format in {WRITERS[fmt].format for fmt in ANIMATED} and getattr(image, "is_animated", False)
    except Exception:  # reading the file will say why
        return False


@contextmanager
def open_animation(path: Path, how: Reading | None = None) -> Iterator[Animation]:
    """Open an animation; its frames are of 8 bits and, if it has a colour profile, in sRGB.

    ImageError if a frame has more pixels than `how.max_pixels`, if all together have more than 16 times as many, or if one
    is damaged.
    """
    how = how or Reading()
    with ExitStack() as stack:
        with _decoding_errors():
            if how.max_pixels > MAX_PIXELS:  # asked for: lift Pillow's own limit too
                Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, how.max_pixels)
            animation = _animation(stack.enter_context(Image.open(path, formats=PILLOW_FORMATS)), how)
        yield animation


def _animation(image: Image.Image, how: Reading) -> Animation:
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
        notices.append("its still image, which is not part of the animation, is left out")
    if image.format == "AVIF" and frame_count > 1:
        notices.append("the file's number of plays is not known; it plays for ever")
    frames = _frames(image, range(first, frame_count), original, how)
    return Animation(frame_count - first, _play_count(image), metadata, frames, notices)


def _play_count(image: Image.Image) -> int:
    """Return the number of plays; 0: for ever. GIF counts repetitions, and none is once; PNG and WebP count plays."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return loop or 0


def _frames(image: Image.Image, numbers: range, metadata: Metadata, how: Reading) -> Iterator[Frame]:
    for number in numbers:
        with _decoding_errors(f"frame {number + 1} of {numbers.stop}: "):
            image.seek(number)
            image.load()
            check_size(image.height, image.width, how.max_pixels)
            upright, _ = to_srgb(apply_orientation(image, metadata.orientation), metadata)
            picture = from_pil_image(upright, how.channels, how.background)
        yield Frame(picture, float(image.info.get("duration", 0)))


@contextmanager
def _decoding_errors(where: str = "") -> Iterator[None]:
    """Raise ImageError instead of the many kinds of errors that decoders raise; `where` begins its message."""
    try:
        yield
    except ImageError:
        raise
    except EOFError:
        raise ImageError(f"damaged image: {where}ends early") from None
    except Image.DecompressionBombError:
        raise ImageError(f"more than {MAX_PIXELS} pixels; raise --max-pixels to allow it") from None
    except MemoryError:
        raise ImageError("too large for memory") from None
    except Exception as e:
        raise ImageError(f"damaged image: {where}{one_line(e)}") from None


def encode_animation(
    frames: Iterable[Frame], fmt: str, play_count: int = 0, quality: int | None = None, metadata: Metadata | None = None
) -> bytes:
    """Return the bytes of an animation of frames of one size, in 8 bits; `fmt` is one of ANIMATED.

    Every frame is kept, equal ones too, and the time at which each begins, to the format's precision (GIF: 10 ms).
    `play_count` is the number of plays; 0: for ever. `quality` is from 1 to 100, None the format's own. ImageError if there
    is no frame, or the format cannot hold them.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ImageError("has no frames")
    writer = WRITERS[fmt]
    if writer.encode_animation is None:
        raise ImageError(f"{fmt} holds no animations; use --first-frame, or --format {' or '.join(ANIMATED)}")
    fitted, _ = supported_by(metadata or Metadata(), fmt, first.picture.pixels.shape[2])
    options = writer.save_options_for(fitted, quality)
    try:
        return writer.encode_animation(
            FrameSequence(first, frames),
            play_count,
            lambda picture, still: encode(picture, still, quality),
            options,
            fitted,
        )
    except (ImageError, TranslateError):  # of the frames, which are made meanwhile
        raise
    except Exception as e:
        raise ImageError(f"cannot be written as {fmt}: {one_line(e)}") from None


def animation_notices(fmt: str, play_count: int) -> list[str]:
    """Return a notice if a format does not hold the number of plays of an animation; 0: for ever."""
    return [f"{fmt} plays for ever"] if WRITERS[fmt].plays_for_ever and play_count else []
