"""Encoders of videos: which one is used, with which settings, and the encoding of one segment.

A segment is encoded by itself and without frames that are stored out of order. So each packet's decoding time is its timestamp,
whatever the frame rate, and segments can be joined without encoding them again.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from translate.videos.containers import VideoError, import_av
from translate.videos.frame_reader import SCALER
from translate.videos.video_info import BT709, FULL, LIMITED, RGB, ColourTags, VideoInfo

DEFAULT_QUALITY = 64
"""Quality without --quality: CRF 18 of H.264."""

THREADS = 4
"""Threads of an encoder: their number decides bits of the result, so it does not depend on the machine."""

_GLOBAL_HEADER = 1 << 22
"""FFmpeg's flag that puts parameter sets into the header of the file, as all muxers here want them."""


@dataclass(frozen=True)
class _Encoder:
    """Row of the table of encoders."""

    name: str
    containers: tuple[str, ...]
    highest_crf: int | None
    """CRF of quality 0; None if the encoder has none."""
    options: dict[str, str]
    takes_odd_sizes: bool = False


ENCODERS = {
    "h264": _Encoder("libx264", ("mp4", "mov", "mkv"), 51, {"bf": "0"}),
    "hevc": _Encoder(
        "libx265",
        ("mp4", "mov", "mkv"),
        51,
        {"x265-params": f"bframes=0:log-level=none:pools={THREADS}:frame-threads=2"},
    ),
    "vp9": _Encoder(
        "libvpx-vp9",
        ("mp4", "mkv", "webm"),
        63,
        {"lag-in-frames": "0", "b": "0", "cpu-used": "4", "row-mt": "1"},
        takes_odd_sizes=True,
    ),
    "av1": _Encoder("libsvtav1", ("mp4", "mkv", "webm"), 63, {"preset": "8"}),
    "prores": _Encoder("prores_ks", ("mov", "mkv"), None, {}),
    "ffv1": _Encoder("ffv1", ("mkv",), None, {"level": "3"}, takes_odd_sizes=True),
}
"""Codec → its encoder."""


@dataclass(frozen=True)
class EncodingSettings:
    """Settings of the encoder of a video."""

    codec: str
    pixel_format: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None
    tags: ColourTags
    matrix: int
    is_full_range: bool
    options: dict[str, str]

    @property
    def encoder(self) -> str:
        """Name of FFmpeg's encoder."""
        return ENCODERS[self.codec].name

    def configure(self, context: Any) -> None:
        """Apply the settings to a codec context of the encoder that is not open yet."""
        context.width, context.height, context.pix_fmt = self.width, self.height, self.pixel_format
        context.time_base, context.framerate = self.time_base, self.rate
        if self.aspect is not None:
            context.sample_aspect_ratio = self.aspect
        context.color_primaries, context.color_trc = self.tags.primaries, self.tags.transfer
        context.colorspace, context.color_range = self.tags.matrix, self.tags.range
        context.options = dict(self.options)
        context.thread_count = THREADS
        context.flags |= _GLOBAL_HEADER


def choose_encoding(
    info: VideoInfo, container: str, size: tuple[int, int], quality: int | None, *, is_turned: bool
) -> tuple[EncodingSettings, list[str]]:
    """Choose the encoder of a video, and return it with notices of what differs from the input.

    Codec, bit depth (8 or 10) and chroma subsampling are those of the input where the container and an encoder allow it.

    Args:
        info: The input.
        container: Extension of the output.
        size: (height, width) of the frames that will be encoded.
        quality: From 1 to 100; None: DEFAULT_QUALITY.
        is_turned: True if frames were turned by a quarter, so that the aspect of pixels is turned, too.
    """
    container = "mp4" if container == "m4v" else container
    suffix = "10le" if info.depth > 8 else ""
    preferred = [info.codec, *(("hevc", "av1") if suffix else ("h264", "vp9"))]
    codecs = [name for name in dict.fromkeys((*preferred, *ENCODERS)) if name in ENCODERS]
    codecs = [name for name in codecs if container in ENCODERS[name].containers]
    for chroma in dict.fromkeys((info.chroma, "444")):
        for codec in codecs:
            row, wanted = ENCODERS[codec], f"yuv{chroma}p{suffix}"
            if wanted in _pixel_formats(row.name) and (row.takes_odd_sizes or _fits(size, chroma)):
                notices = []
                if codec != info.codec:
                    notices.append(f"{info.codec} video becomes {codec}")
                if chroma != info.chroma:
                    notices.append(f"{info.chroma} chroma becomes {chroma}")
                if info.depth not in (8, 10):
                    notices.append(f"{info.depth} bits become {10 if suffix else 8}")
                return _settings(info, codec, wanted, size, quality, is_turned), notices
    raise VideoError(f"{info.depth} bits and {size[1]}×{size[0]} cannot be encoded for {container}; use .mkv")


def _pixel_formats(encoder: str) -> set[str]:
    av = import_av()
    try:
        return {found.name for found in av.Codec(encoder, "w").video_formats or ()}
    except av.codec.codec.UnknownCodecError:  # a build of FFmpeg without it
        return set()


def _fits(size: tuple[int, int], chroma: str) -> bool:
    """Return True if frames have whole chroma pixels."""
    height, width = size
    return (chroma == "444" or width % 2 == 0) and (chroma != "420" or height % 2 == 0)


def _settings(
    info: VideoInfo, codec: str, pixel_format: str, size: tuple[int, int], quality: int | None, is_turned: bool
) -> EncodingSettings:
    row = ENCODERS[codec]
    options = dict(row.options)
    if row.highest_crf is not None:
        level = DEFAULT_QUALITY if quality is None else quality
        options["crf"] = str(round(row.highest_crf * (100 - level) / 100))
    tags = info.tags
    if tags.matrix == RGB:  # of an RGB video, which becomes YUV
        tags = ColourTags(tags.primaries, tags.transfer, BT709, LIMITED)
    is_full_range = tags.range == FULL or (info.is_full_range and tags.range == 0 and info.chroma != "444")
    if is_full_range:
        tags = ColourTags(tags.primaries, tags.transfer, tags.matrix, FULL)
    aspect = 1 / info.aspect if info.aspect and is_turned else info.aspect
    return EncodingSettings(
        codec, pixel_format, size[1], size[0], info.time_base, info.rate, aspect, tags,
        BT709 if info.tags.matrix == RGB else info.matrix, is_full_range, options,
    )  # fmt: skip


@dataclass(frozen=True)
class EncodedPacket:
    """Packet of encoded video."""

    data: bytes
    pts: int
    duration: int
    is_key: bool


class SegmentEncoder:
    """Encoder of one segment, which begins with a key frame."""

    def __init__(self, settings: EncodingSettings) -> None:
        self._av = import_av()
        self.settings = settings
        self._context = self._av.CodecContext.create(settings.encoder, "w")
        settings.configure(self._context)
        self._durations: dict[int, int] = {}
        self.packets: list[EncodedPacket] = []
        """Packets so far."""

    def add(self, pixels: np.ndarray, pts: int, duration: int) -> None:
        """Encode a frame (H, W, 1 or 3), uint8 or uint16. VideoError if the encoder fails."""
        settings, deep = self.settings, pixels.dtype == np.uint16
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        frame = self._av.VideoFrame.from_ndarray(
            np.ascontiguousarray(pixels), format="rgb48le" if deep else "rgb24"
        ).reformat(
            format=settings.pixel_format, dst_colorspace=settings.matrix, src_color_range=FULL,
            dst_color_range=FULL if settings.is_full_range else LIMITED, interpolation=SCALER,
        )  # fmt: skip
        frame.pts, frame.time_base = pts, settings.time_base
        frame.color_primaries, frame.color_trc = settings.tags.primaries, settings.tags.transfer
        frame.colorspace, frame.color_range = settings.tags.matrix, settings.tags.range
        self._durations[pts] = duration
        self._encode(frame)

    def finish(self) -> bytes:
        """Encode what is left; return the parameter sets, which are the same for all segments of a video."""
        self._encode(None)
        return self._context.extradata or b""

    def _encode(self, frame: Any) -> None:
        try:
            packets = self._context.encode(frame)
        except self._av.FFmpegError as e:
            raise VideoError(f"{self.settings.encoder} cannot encode it: {e.strerror}") from None
        for packet in packets:
            self.packets.append(
                EncodedPacket(bytes(packet), packet.pts, self._durations.pop(packet.pts), packet.is_keyframe)
            )
