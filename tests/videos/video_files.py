"""Videos that tests write by themselves: pictures that tell their number, sound, subtitles."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT = 48, 32
LOSSLESS = {"libx264": {"qp": "0", "bf": "2"}, "ffv1": {}, "libx265": {"x265-params": "lossless=1:log-level=none"}}
"""Encoder → options with which it loses nothing but what the pixel format does not hold."""

RATE = 48000
SUBTITLES = b"1\n00:00:00,000 --> 00:00:00,200\nfirst line\n\n2\n00:00:00,200 --> 00:00:00,300\nsecond line\n"


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame (H, W, 3) whose left half shows the bits of its number as black and white bars; the right half is grey."""
    bars = np.array([40 + 160 * (number >> bit & 1) for bit in range(15)] + [128] * 15, np.uint8)
    row = bars[np.arange(width) * len(bars) // width]
    return np.repeat(np.tile(row, (height, 1))[:, :, None], 3, axis=2)


def number_of(pixels: np.ndarray, *, inverted: bool = False) -> int:
    """The number that a picture shows."""
    width = pixels.shape[1]
    middles = [round((bit + 0.5) * width / 30 - 0.5) for bit in range(15)]
    values = pixels[:, middles].mean(axis=(0, 2)) / (257 if pixels.dtype == np.uint16 else 1)
    return sum(1 << bit for bit, value in enumerate(values) if (value < 127) == inverted)


def write_video(
    path: Path,
    frames: Sequence[np.ndarray] | Iterator[np.ndarray],
    times: Sequence[int] | None = None,
    *,
    time_base: Fraction = Fraction(1, 90000),
    encoder: str = "libx264",
    pixel_format: str = "yuv420p",
    audio: str | None = "aac",
    subtitles: bytes | None = None,
    metadata: dict[str, str] | None = None,
    matrix: int = 1,
    is_full_range: bool = False,
    seconds: float = 0.5,
    **context: Any,
) -> Path:
    """Write a video. `times`: timestamps of the frames, 25 in a second without; `seconds`: length of the sound."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as made:
        made.metadata.update(metadata or {})
        video: Any = made.add_stream(encoder, rate=25, options=LOSSLESS.get(encoder, {}))
        sound: Any = made.add_stream(audio, rate=RATE, layout="stereo") if audio else None
        words = _subtitles(subtitles, path) if subtitles else None
        copied = made.add_stream_from_template(words.streams[0]) if words else None
        for number, pixels in enumerate(frames):
            if number == 0:
                video.height, video.width = pixels.shape[:2]
                video.pix_fmt, video.codec_context.time_base = pixel_format, time_base
                for name, value in {"colorspace": matrix, "color_range": 2 if is_full_range else 1, **context}.items():
                    setattr(video.codec_context, name, value)
            deep = pixels.dtype == np.uint16
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if deep else "rgb24").reformat(
                format=pixel_format, dst_colorspace=matrix if matrix != 2 else 6, src_color_range=2,
                dst_color_range=2 if is_full_range else 1, interpolation=4 | 0x2000 | 0x40000,
            )  # fmt: skip
            frame.time_base = time_base
            frame.pts = round(number / 25 / time_base) if times is None else times[number]
            made.mux(video.encode(frame))
        made.mux(video.encode(None))
        if sound is not None:
            _add_sound(made, sound, seconds)
        if words is not None:
            for packet in words.demux():
                if packet.dts is not None:
                    packet.stream = copied
                    made.mux(packet)
            words.close()
    return path


def _subtitles(text: bytes, path: Path) -> Any:
    import av

    file = path.with_suffix(".srt")
    file.write_bytes(text)
    return av.open(str(file))


def _add_sound(made: Any, sound: Any, seconds: float) -> None:
    """Noise, so that no two packets are alike."""
    import av

    rng = np.random.default_rng(0)
    layout = sound.codec_context.format.name
    for start in range(0, round(seconds * RATE), 1024):
        values = rng.uniform(-0.5, 0.5, (2, 1024)).astype(np.float32)
        if layout == "s16":
            values = np.ascontiguousarray((values * 30000).astype(np.int16).T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(values, format=layout, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        made.mux(sound.encode(frame))
    made.mux(sound.encode(None))


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """(time in seconds, bytes) of the packets of the first stream of a kind."""
    import av

    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]


def times(path: Path) -> list[Fraction]:
    """Times in seconds at which the pictures are shown, in order."""
    return sorted(time for time, _ in packets(path, "video"))


def pictures(path: Path) -> list[np.ndarray]:
    """The pictures as they are shown, as a player without our code decodes them: uint8, (H, W, 3)."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def turn(path: Path, degrees: int) -> None:
    """Let players turn the picture of an MP4 file clockwise, by the matrix of its track header (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # version 0: flags, times, track, duration, layer, volume
    one = 0x10000
    turned = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    a, b, c, d = (value.to_bytes(4, "big", signed=True) for value in turned)
    zero, unit = bytes(4), (0x40000000).to_bytes(4, "big")
    data[start : start + 36] = a + b + zero + c + d + zero + zero + zero + unit
    path.write_bytes(data)
