"""Description of a video file, and the check that it is whole, without decoding it."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from translate.videos.containers import VideoError, import_av, open_video

RGB, BT709, UNSPECIFIED, BT601 = 0, 1, 2, 6
"""Matrix coefficients by their numbers in ITU-T H.273."""
LIMITED, FULL = 1, 2
"""Ranges of values by FFmpeg's numbers; 0 is unspecified."""
PQ, HLG = 16, 18
"""Transfer functions of HDR by their numbers in ITU-T H.273."""
HD_HEIGHT = 720
"""Height in pixels from which an untagged video is taken for BT.709, as players do; below it is BT.601."""

MAX_RATE = 1000
"""Frames in a second above which a header is not believed: Matroska has none where the rate varies."""

MISSING_SECONDS = 0.5
"""Seconds by which a video may end before its header says so."""


@dataclass(frozen=True)
class ColourTags:
    """Colour tags of a video, as numbers of ITU-T H.273; range as FFmpeg's."""

    primaries: int
    transfer: int
    matrix: int
    range: int


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a video file."""

    width: int
    height: int
    """Size of the stored frames in pixels, before rotation; so is the width."""
    codec: str
    """Name of FFmpeg's codec, such as h264."""
    depth: int
    """Bits of a value."""
    chroma: str
    """Chroma subsampling: 420, 422 or 444."""
    time_base: Fraction
    """Unit of timestamps in seconds."""
    rate: Fraction
    """Average frames in a second."""
    aspect: Fraction | None
    """Width of a pixel by its height; None if unknown."""
    tags: ColourTags
    matrix: int
    """Matrix coefficients to compute with: the tag, or what players take where it is missing."""
    is_full_range: bool
    packets: int
    """Packets that give a frame each, but for a few codecs."""
    audio_streams: int
    notices: tuple[str, ...]
    """Losses and assumptions of a conversion."""


def read_video_info(path: Path) -> VideoInfo:
    """Read the facts of a video, and check that it is whole. VideoError if it has no video, or is damaged or truncated."""
    av = import_av()
    try:
        with open_video(path) as container:
            stream = main_stream(container)
            packets, seconds = _check_whole(container, stream)
            return _info(container, stream, packets, seconds)
    except av.FFmpegError as e:
        raise VideoError(f"damaged, truncated or no video: {reason(e)}") from None


def main_stream(container: Any) -> Any:
    """Return the first video stream that is no cover picture. VideoError if there is none."""
    av = import_av()
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            return stream
    raise VideoError("has no video stream that can be decoded")


def reason(error: Any) -> str:
    """Return the reason of an error of FFmpeg on one line."""
    return " ".join((error.strerror or str(error)).split())


def _check_whole(container: Any, stream: Any) -> tuple[int, Fraction | None]:
    """Return the number of packets that give frames, and their end in seconds.

    VideoError if the file ends before its header says so.
    """
    packets, end = 0, None
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_corrupt:
            raise VideoError(f"damaged or truncated after {packets} frames")
        packets += not packet.is_discard
        if packet.pts is not None:
            last = (packet.pts + (packet.duration or 0)) * packet.time_base
            end = last if end is None else max(end, last)
    total = stream.frames if container.format.name.startswith("mov") else 0  # an AVI counts frames that were dropped
    if packets == 0:
        raise VideoError("truncated: holds no frame")
    if total > packets and total > packets + _discarded(container, stream):
        raise VideoError(f"truncated: {packets} of {total} frames are there; copy or download the file again")
    stated = _stated_end(stream)
    if stated is not None and end is not None and end < stated - MISSING_SECONDS:
        raise VideoError(
            f"truncated: {float(end):.1f} of {float(stated):.1f} s are there; copy or download the file again"
        )
    return packets, end


def _discarded(container: Any, stream: Any) -> int:
    """Return the number of packets that an edit list leaves out."""
    container.seek(0)
    return sum(1 for packet in container.demux(stream) if packet.size and packet.is_discard)


def _stated_end(stream: Any) -> Fraction | None:
    """Return the end of a stream in seconds by Matroska's tag DURATION; None without one."""
    text = next((value for key, value in stream.metadata.items() if key.upper() == "DURATION"), "")
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    except ValueError:
        return None


def _info(container: Any, stream: Any, packets: int, seconds: Fraction | None) -> VideoInfo:
    context = stream.codec_context
    pixel_format = context.format
    if pixel_format is None or not context.width:
        raise VideoError("damaged: the size of its frames is unknown")
    depth = max(component.bits for component in pixel_format.components)
    tags = ColourTags(context.color_primaries, context.color_trc, context.colorspace, context.color_range)
    is_rgb = pixel_format.is_rgb
    chroma = "444" if is_rgb else _chroma(pixel_format)
    full = tags.range == FULL or is_rgb or pixel_format.name.startswith(("yuvj", "gray"))
    matrix = tags.matrix if tags.matrix not in (UNSPECIFIED, RGB) else BT709 if context.height >= HD_HEIGHT else BT601
    return VideoInfo(
        context.width, context.height, context.codec.canonical_name, depth, chroma, stream.time_base,
        _rate(stream, packets, seconds), stream.sample_aspect_ratio or None, tags, matrix, full,
        packets, len(container.streams.audio), (*_notices(container, pixel_format, tags),),
    )  # fmt: skip


def _rate(stream: Any, packets: int, seconds: Fraction | None) -> Fraction:
    """Return the average frames in a second: by the header where that is plausible, else by their number."""
    if stream.average_rate and stream.average_rate <= MAX_RATE:
        return stream.average_rate
    return (packets / seconds).limit_denominator(1000) if seconds else Fraction(25)


def _chroma(pixel_format: Any) -> str:
    if len(pixel_format.components) < 3:
        return "420"
    across, down = pixel_format.chroma_width(64) == 64, pixel_format.chroma_height(64) == 64
    return "444" if across and down else "422" if down else "420"


def _notices(container: Any, pixel_format: Any, tags: ColourTags) -> list[str]:
    found = []
    if not container.streams.audio:
        found.append("the video has no audio")
    if len(container.streams.video) > 1:
        found.append("only the first of several video streams is converted; the others are left out")
    if pixel_format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap")):
        found.append("transparency of videos is left out")
    if tags.transfer in (PQ, HLG):
        found.append("HDR: the model sees the coded values; HDR metadata beyond the colour tags is left out")
    return found
