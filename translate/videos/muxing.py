"""New video files from encoded pictures and all other streams of the input, whose packets are copied byte for byte."""

import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate.videos.containers import MUXERS, VideoError, import_av, open_video
from translate.videos.encoding import EncodedPacket, EncodingSettings
from translate.videos.video_info import main_stream, reason

XMP_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
"""Type of the box of an MP4 or QuickTime file that holds an XMP packet (ISO 16684-1 part 3, section 1.1.5)."""

STALE_KEYS = ("duration", "number_of_frames", "number_of_bytes", "bps", "_statistics", "encoder", "vendor_id", "rotate")
"""Beginnings of metadata keys, in lower case, that describe the old file."""
CONTAINER_KEYS = ("major_brand", "minor_version", "compatible_brands", *STALE_KEYS)
PLACE_KEYS = ("location", "gps", "com.apple.quicktime.location", "xyz")
"""The same of those that say where a video was taken."""


@dataclass(frozen=True)
class VideoMarks:
    """Marks of a video that a model made, and what is removed from its metadata."""

    xmp: bytes | None = None
    """XMP packet for MP4 and QuickTime files."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """The same as tags, for other containers."""
    strip_place: bool = False
    """True if the place where the video was taken is left out."""


def mux_video(
    target: Path,
    container: str,
    source: Path,
    settings: EncodingSettings,
    parameters: bytes,
    packets: Iterable[EncodedPacket],
    marks: VideoMarks,
) -> list[str]:
    """Write a video file with new pictures, and the sound, subtitles, chapters and metadata of the input; return notices.

    Args:
        target: New file; its name may have any extension.
        container: Extension of MUXERS.
        source: Input.
        settings: Those that the packets were encoded with.
        parameters: Parameter sets of `SegmentEncoder.finish`.
        packets: All pictures in order; read one by one, so that memory does not grow with them.
        marks: What is written into the metadata.

    Raises VideoError if a sound stream does not fit the container, OSError if the file cannot be written.
    """
    av, muxer = import_av(), MUXERS[container]
    is_mp4 = muxer in ("mp4", "mov")
    options = {"movflags": "+faststart+use_metadata_tags"} if is_mp4 else {}
    try:
        with open_video(source) as given, av.open(f"file:{target}", "w", format=muxer, options=options) as made:
            main = main_stream(given)
            stream = made.add_stream(settings.encoder)
            settings.configure(stream.codec_context)
            stream.time_base = settings.time_base
            _copy_metadata(main, stream, marks)
            copies, notices = _copy_streams(given, made, container, marks)
            made.metadata.update(_kept(given.metadata, CONTAINER_KEYS, marks))
            made.metadata.update({} if is_mp4 else marks.tags)
            made.set_chapters(given.chapters())
            made.start_encoding()
            if (stream.codec_context.extradata or b"") != parameters:
                raise VideoError(f"{settings.encoder} gives other parameters than before; run the same command again")
            for packet in _merged(_new_packets(packets, stream, settings), _copied_packets(given, copies)):
                made.mux_one(packet)
    except av.FFmpegError as e:
        if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise OSError(e.errno, os.strerror(e.errno)) from None
        raise VideoError(f"cannot be written as {container}: {reason(e)}") from None
    if is_mp4 and marks.xmp is not None:
        with open(target, "ab") as file:
            file.write(struct.pack(">I4s", 24 + len(marks.xmp), b"uuid") + XMP_UUID + marks.xmp)
    return notices


def _copy_streams(given: Any, made: Any, container: str, marks: VideoMarks) -> tuple[dict[int, Any], list[str]]:
    """Add the streams beside the picture to the new file; return them by their index in the input, and notices."""
    copies: dict[int, Any] = {}
    notices = []
    for stream in given.streams:
        if stream.type == "video":
            continue
        if stream.type == "attachment":
            made.add_attachment(stream.metadata.get("filename", "attachment"), stream.mimetype or "", stream.data)
            continue
        name = stream.type if stream.codec_context is None else stream.codec_context.codec.canonical_name
        if stream.type in ("audio", "subtitle") and name in made.supported_codecs:
            copy = made.add_stream_from_template(stream)
            copy.time_base = stream.time_base
            _copy_metadata(stream, copy, marks)
            copies[stream.index] = copy
        elif stream.type == "audio":
            raise VideoError(f"its {name} sound cannot be put into {container} without encoding it again; use .mkv")
        else:
            notices.append(f"{container} does not hold {name} {stream.type} streams; they are left out")
    return copies, notices


def _copy_metadata(given: Any, made: Any, marks: VideoMarks) -> None:
    made.metadata.update(_kept(given.metadata, STALE_KEYS, marks))
    made.disposition = given.disposition


def _kept(metadata: Mapping[str, str], stale: tuple[str, ...], marks: VideoMarks) -> dict[str, str]:
    dropped = stale + (PLACE_KEYS if marks.strip_place else ())
    return {key: value for key, value in metadata.items() if not key.lower().startswith(dropped)}


def _new_packets(packets: Iterable[EncodedPacket], stream: Any, settings: EncodingSettings) -> Iterator[Any]:
    """Yield the packets of the pictures for the muxer."""
    av = import_av()
    for packet in packets:
        made = av.Packet(packet.data)
        made.stream, made.time_base, made.is_keyframe = stream, settings.time_base, packet.is_key
        made.pts = made.dts = packet.pts
        made.duration = packet.duration
        yield made


def _copied_packets(given: Any, copies: Mapping[int, Any]) -> Iterator[Any]:
    """Yield the packets of the other streams in the order of the input, without decoding them."""
    if not copies:
        return
    wanted = [stream for stream in given.streams if stream.index in copies]
    for packet in given.demux(wanted):
        if packet.dts is not None:  # else it only ends a stream
            packet.stream = copies[packet.stream_index]
            yield packet


def _merged(pictures: Iterator[Any], others: Iterator[Any]) -> Iterator[Any]:
    """Yield packets of both by time, so that the muxer need not hold many back."""
    waiting = next(pictures, None)
    for other in others:
        time = other.dts * other.time_base
        while waiting is not None and waiting.dts * waiting.time_base <= time:
            yield waiting
            waiting = next(pictures, None)
        yield other
    while waiting is not None:
        yield waiting
        waiting = next(pictures, None)
