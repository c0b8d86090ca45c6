"""Frames of videos: their colours, orientation, and reading from the middle."""

from pathlib import Path

import numpy as np
import pytest

from translate import videos
from translate.videos import Position, VideoError, frame_reader

from .video_files import number_of, picture, turn, write_video

av = pytest.importorskip("av")

KR_KB = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Matrix coefficients → weights of red and blue in the luma: BT.709, BT.601 and BT.2020."""


def frames(path: Path, channels: int = 3, after: Position | None = None) -> list[videos.DecodedFrame]:
    return list(videos.read_frames(path, videos.read_video_info(path), channels, after))


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("matrix", KR_KB)
def test_colours_are_those_of_the_matrix_and_the_range(tmp_path: Path, matrix: int, is_full_range: bool) -> None:
    """A plane of one Y′CbCr, computed by the formulas of ITU-T H.273, section 8.3; each rounding may cost a level or two."""
    rgb = np.array([200, 60, 30])
    kr, kb = KR_KB[matrix]
    r, g, b = rgb / 255
    y = kr * r + (1 - kr - kb) * g + kb * b
    coded = np.array([y, (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))])
    levels = coded * 255 + [0, 128, 128] if is_full_range else coded * [219, 224, 224] + [16, 128, 128]
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if is_full_range else 1
        frame = av.VideoFrame(32, 16, "yuv444p")
        for plane, level in zip(frame.planes, np.rint(levels), strict=True):
            plane.update(bytes([int(level)]) * plane.buffer_size)
        frame.colorspace, frame.color_range, frame.pts = matrix, 2 if is_full_range else 1, 0
        made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    (made_frame,) = frames(path)
    assert made_frame.pixels.shape == (16, 32, 3)
    assert np.abs(made_frame.pixels.astype(int) - rgb).max() <= 2


def test_ten_bits_are_kept(tmp_path: Path) -> None:
    """Values that are two levels of ten bits apart, half a level of eight bits, stay apart.

    A level of luma and one of chroma, which counts up to 1.9 times, may be lost by rounding.
    """
    ramp = np.repeat(np.tile(np.arange(20000, 20000 + 48 * 128, 128, dtype=np.uint16), (32, 1))[:, :, None], 3, axis=2)
    path = write_video(
        tmp_path / "a.mkv", [ramp], encoder="ffv1", pixel_format="yuv444p10le", audio=None, is_full_range=True
    )
    (frame,) = frames(path)
    assert frame.pixels.dtype == np.uint16
    assert np.all(np.diff(frame.pixels[0, :, 0].astype(int)) > 0)
    assert np.abs(frame.pixels.astype(int) - ramp).max() <= 3 * 65535 / 1023


def test_grey_frames_for_a_model_of_one_channel(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [picture(5)], audio=None)
    (frame,) = frames(path, channels=1)
    assert frame.pixels.shape == (32, 48, 1)
    assert number_of(frame.pixels) == 5


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_are_upright(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "a.mp4", [picture(5)], audio=None)
    (stored,) = frames(path)
    turn(path, degrees)
    (frame,) = frames(path)
    assert np.array_equal(frame.pixels, np.rot90(stored.pixels, -degrees // 90))  # clockwise


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty frames with a key frame every ten, stored out of order."""
    return write_video(tmp_path_factory.mktemp("clip") / "a.mp4", map(picture, range(60)), audio=None, gop_size=10)


def position(path: Path, index: int) -> Position:
    frame = frames(path)[index]
    return Position(index, frame.pts, videos.crc32(frame.pixels))


@pytest.mark.parametrize("index", [0, 9, 10, 37, 58, 59])
def test_reading_goes_on_after_a_frame(clip: Path, index: int) -> None:
    rest = frames(clip, after=position(clip, index))
    assert [number_of(frame.pixels) for frame in rest] == list(range(index + 1, 60))


def test_where_seeking_does_not_lead_there_all_before_is_decoded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = position(clip, 37)
    monkeypatch.setattr(frame_reader, "_sought", lambda *arguments: None)
    assert [number_of(frame.pixels) for frame in frames(clip, after=start)] == list(range(38, 60))
    without_time = start._replace(pts=None)
    monkeypatch.undo()
    assert [number_of(frame.pixels) for frame in frames(clip, after=without_time)] == list(range(38, 60))


def test_another_video_is_known_by_its_pixels(clip: Path) -> None:
    start = position(clip, 37)._replace(crc32=1)
    with pytest.raises(VideoError, match="not the one"):
        frames(clip, after=start)
