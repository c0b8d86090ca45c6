"""Facts of video files, and files that are not whole."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from translate import videos
from translate.videos import VideoError

from .video_files import HEIGHT, WIDTH, number_of, picture, write_video

pytest.importorskip("av")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames and sound."""
    return write_video(
        tmp_path_factory.mktemp("clip") / "a.mp4", map(picture, range(12)), sample_aspect_ratio=Fraction(4, 3)
    )


def test_facts(clip: Path) -> None:
    info = videos.read_video_info(clip)
    assert (info.width, info.height, info.codec, info.depth, info.chroma) == (WIDTH, HEIGHT, "h264", 8, "420")
    assert (info.rate, info.aspect, info.packets, info.audio_streams, info.notices) == (25, Fraction(4, 3), 12, 1, ())
    assert (info.tags.matrix, info.matrix, info.is_full_range) == (1, 1, False)


@pytest.mark.parametrize(("height", "matrix"), [(480, 6), (720, 1)])
def test_an_untagged_video_has_the_matrix_that_players_take(tmp_path: Path, height: int, matrix: int) -> None:
    path = write_video(tmp_path / "a.mp4", [picture(0, 16, height)], matrix=2, audio=None)
    info = videos.read_video_info(path)
    assert (info.tags.matrix, info.matrix) == (2, matrix)


def test_a_video_without_sound_is_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [picture(0)], audio=None)
    assert videos.read_video_info(path).notices == ("the video has no audio",)


def cut(path: Path, target: Path, share: float) -> Path:
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def fast_start(path: Path, target: Path) -> Path:
    """Copy a video with its header in front, as videos for the web are."""
    import av

    with av.open(str(path)) as given, av.open(str(target), "w", options={"movflags": "+faststart"}) as made:
        copies = {stream.index: made.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                made.mux(packet)
    return target


AVI: dict[str, Any] = {"encoder": "ffv1", "time_base": Fraction(1, 25)}


def test_an_avi_with_dropped_frames_is_whole(tmp_path: Path) -> None:
    """Its header counts the empty chunks of times without a new frame."""
    times = [0, 1, 5, 6, 12]
    path = write_video(tmp_path / "a.avi", map(picture, range(5)), times, audio=None, **AVI)
    info = videos.read_video_info(path)
    assert info.packets == 5
    assert [number_of(frame.pixels) for frame in videos.read_frames(path, info, 3)] == list(range(5))


BROKEN: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "header at the end": (lambda clip, folder: cut(clip, folder / "a.mp4", 0.6), "damaged, truncated or no video"),
    "header in front": (
        lambda clip, folder: cut(fast_start(clip, folder / "whole.mp4"), folder / "a.mp4", 0.7),
        r"(truncated: \d+ of 12 frames are there|damaged or truncated after \d+ frames)",
    ),
    "matroska": (
        lambda clip, folder: cut(
            write_video(folder / "whole.mkv", map(picture, range(40)), audio=None), folder / "a.mkv", 0.5
        ),
        r"(truncated: \d\.\d of 1\.6 s are there|damaged or truncated after \d+ frames)",
    ),
    "avi": (
        lambda clip, folder: cut(
            write_video(folder / "whole.avi", map(picture, range(40)), audio=None, **AVI), folder / "a.avi", 0.5
        ),
        r"(truncated: \d\.\d of 1\.6 s are there|damaged or truncated after \d+ frames)",
    ),
    "text": (lambda clip, folder: Path(__file__), "damaged, truncated or no video"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_not_whole_is_refused(clip: Path, tmp_path: Path, kind: str) -> None:
    break_it, reason = BROKEN[kind]
    with pytest.raises(VideoError, match=reason) as caught:
        videos.read_video_info(break_it(clip, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_file_without_pictures_is_refused(clip: Path, tmp_path: Path) -> None:
    import av

    with av.open(str(clip)) as given, av.open(str(tmp_path / "a.mp4"), "w") as made:
        (sound,) = given.streams.audio
        copy = made.add_stream_from_template(sound)
        for packet in given.demux(sound):
            if packet.dts is not None:
                packet.stream = copy
                made.mux(packet)
    with pytest.raises(VideoError, match="no video stream"):
        videos.read_video_info(tmp_path / "a.mp4")
