"""Encoders: which is taken, and that segments can be joined."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from translate import videos
from translate.videos import SegmentEncoder, VideoError, VideoInfo
from translate.videos.video_info import ColourTags

from .video_files import picture

pytest.importorskip("av")

INFO = VideoInfo(
    64, 48, "h264", 8, "420", Fraction(1, 90000), Fraction(25), None, ColourTags(1, 1, 1, 1), 1, False, 10, 1, ()
)


def chosen(info: VideoInfo, container: str, size: tuple[int, int] = (48, 64)) -> tuple[str, str, list[str]]:
    settings, notices = videos.choose_encoding(info, container, size, None, is_turned=False)
    return settings.codec, settings.pixel_format, notices


@pytest.mark.parametrize(
    ("changes", "container", "expected"),
    [
        ({}, "mp4", ("h264", "yuv420p", [])),
        ({"depth": 10}, "mov", ("h264", "yuv420p10le", [])),
        ({"codec": "hevc", "depth": 10}, "mp4", ("hevc", "yuv420p10le", [])),
        ({"codec": "vp9"}, "webm", ("vp9", "yuv420p", [])),
        ({"codec": "vp9", "depth": 10}, "webm", ("av1", "yuv420p10le", ["vp9 video becomes av1"])),
        ({"codec": "prores", "depth": 10, "chroma": "422"}, "mov", ("prores", "yuv422p10le", [])),
        ({"codec": "ffv1", "chroma": "444"}, "mkv", ("ffv1", "yuv444p", [])),
        ({"codec": "mpeg2video", "chroma": "422"}, "mkv", ("h264", "yuv422p", ["mpeg2video video becomes h264"])),
        ({"codec": "wmv3"}, "m4v", ("h264", "yuv420p", ["wmv3 video becomes h264"])),
        ({"codec": "hevc", "depth": 12}, "mp4", ("hevc", "yuv420p10le", ["12 bits become 10"])),
    ],
)
def test_codec_depth_and_chroma_are_kept_where_they_can(
    changes: dict[str, object], container: str, expected: tuple[str, str, list[str]]
) -> None:
    assert chosen(replace(INFO, **changes), container) == expected  # type: ignore[arg-type]


def test_an_odd_size_is_kept_by_other_chroma() -> None:
    assert chosen(INFO, "mkv", (47, 63)) == ("vp9", "yuv420p", ["h264 video becomes vp9"])
    assert chosen(replace(INFO, depth=10), "mov", (47, 63)) == ("h264", "yuv444p10le", ["420 chroma becomes 444"])


def test_what_no_encoder_takes_is_refused() -> None:
    with pytest.raises(VideoError, match=r"use \.mkv"):
        chosen(replace(INFO, depth=10, chroma="422"), "webm", (47, 63))


@pytest.mark.parametrize(("quality", "crf"), [(None, "18"), (100, "0"), (1, "50")])
def test_quality_sets_the_rate_factor(quality: int | None, crf: str) -> None:
    """(1 − quality/100) of the encoder's worst factor, 51 for H.264."""
    assert videos.choose_encoding(INFO, "mp4", (48, 64), quality, is_turned=False)[0].options["crf"] == crf


def test_pixels_of_a_turned_video_are_turned() -> None:
    info = replace(INFO, aspect=Fraction(4, 3))
    assert videos.choose_encoding(info, "mp4", (64, 48), None, is_turned=True)[0].aspect == Fraction(3, 4)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "ffv1", "prores"])
def test_a_segment_has_each_frame_once_and_begins_with_a_key_frame(codec: str, tmp_path: Path) -> None:
    """Timestamps of a variable rate come back unchanged, in order, and the parameters of two segments are equal."""
    info = replace(INFO, codec=codec, **({"depth": 10, "chroma": "422"} if codec == "prores" else {}))
    settings, _ = videos.choose_encoding(info, "mov" if codec == "prores" else "mkv", (64, 64), None, is_turned=False)
    times = [0, 3000, 3600, 9000, 20000]
    parameters = []
    for start in (0, 30000):
        encoder = SegmentEncoder(settings)
        for number, time in enumerate(times):
            pixels = picture(number, 64, 64)
            encoder.add(pixels.astype(np.uint16) * 257 if info.depth > 8 else pixels, start + time, 100 + number)
        parameters.append(encoder.finish())
        assert [packet.pts for packet in encoder.packets] == [start + time for time in times]
        assert [packet.duration for packet in encoder.packets] == [100, 101, 102, 103, 104]
        assert encoder.packets[0].is_key
    assert parameters[0] == parameters[1]
