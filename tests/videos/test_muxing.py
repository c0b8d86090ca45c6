"""New files from new pictures and the other streams of the input."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from translate import videos
from translate.videos import SegmentEncoder, VideoError, VideoMarks

from .video_files import SUBTITLES, number_of, packets, picture, pictures, times, write_video

av = pytest.importorskip("av")

UNEVEN = [0, 3000, 3600, 9000, 20000, 20100, 45000]


def remade(source: Path, target: Path, marks: VideoMarks = VideoMarks(), parts: Sequence[int] = (4, 3)) -> list[str]:  # noqa: B008
    """Encode the frames of a video anew, in segments of so many frames, and join them."""
    info = videos.read_video_info(source)
    frames = list(videos.read_frames(source, info, 3))
    settings, _ = videos.choose_encoding(info, target.suffix[1:], frames[0].pixels.shape[:2], None, is_turned=False)
    made, parameters = [], b""
    for start, count in zip((0, parts[0]), parts, strict=True):
        encoder = SegmentEncoder(settings)
        for frame in frames[start : start + count]:
            assert frame.pts is not None
            encoder.add(frame.pixels, frame.pts, frame.duration)
        parameters = encoder.finish()
        made += encoder.packets
    return videos.mux_video(target, target.suffix[1:], source, settings, parameters, iter(made), marks)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_pictures_sound_and_times_are_kept(tmp_path: Path, name: str) -> None:
    """Matroska counts in milliseconds, so its input has done so already."""
    settings: dict[str, Any] = {"encoder": "libvpx-vp9", "audio": "libopus"} if name == "a.webm" else {}
    rounded = [round(time / 90) * 90 for time in UNEVEN] if name in ("a.mkv", "a.webm") else UNEVEN
    source = write_video(tmp_path / "in" / name, map(picture, range(7)), rounded, seconds=1.0, **settings)
    assert remade(source, tmp_path / name) == []
    assert [number_of(pixels) for pixels in pictures(tmp_path / name)] == list(range(7))
    assert times(tmp_path / name) == times(source) == [Fraction(time, 90000) for time in rounded]
    assert packets(tmp_path / name, "audio") == packets(source, "audio")
    before, after = videos.read_video_info(source), videos.read_video_info(tmp_path / name)
    assert after.tags == before.tags


def test_the_last_frame_is_shown_as_long_as_in_the_input(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", map(picture, range(7)), UNEVEN, audio=None)
    remade(source, tmp_path / "out.mp4")
    lengths = []
    for path in (source, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            lengths.append(stream.duration * stream.time_base)
    assert lengths[0] == lengths[1]


def test_subtitles_chapters_and_metadata_are_kept(tmp_path: Path) -> None:
    metadata = {"title": "a title", "location": "+52.5+013.4/"}
    source = write_video(
        tmp_path / "in.mkv", map(picture, range(7)), audio=None, subtitles=SUBTITLES, metadata=metadata
    )
    remade(source, tmp_path / "out.mkv")
    assert packets(tmp_path / "out.mkv", "subtitle") == packets(source, "subtitle")
    with av.open(str(tmp_path / "out.mkv")) as made:
        found = {key.lower(): value for key, value in made.metadata.items()}
    assert (found["title"], found["location"]) == ("a title", "+52.5+013.4/")
    remade(source, tmp_path / "out.mp4")  # which does not hold them as they are
    notices = remade(source, tmp_path / "again.mp4", VideoMarks(strip_place=True))
    assert notices == ["mp4 does not hold subrip subtitle streams; they are left out"]
    with av.open(str(tmp_path / "again.mp4")) as made:
        assert "location" not in made.metadata
        assert made.metadata["title"] == "a title"


def test_an_mp4_ends_with_the_mark(tmp_path: Path) -> None:
    """The box of an XMP packet: size, "uuid", its type, the packet."""
    source = write_video(tmp_path / "in.mp4", map(picture, range(7)), audio=None)
    remade(source, tmp_path / "out.mp4", VideoMarks(b"<xmp/>", {"AISystemUsed": "x"}))
    data = (tmp_path / "out.mp4").read_bytes()
    assert data[-30:] == struct.pack(">I", 30) + b"uuid" + bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC") + b"<xmp/>"
    assert len(pictures(tmp_path / "out.mp4")) == 7


def test_other_containers_have_the_mark_as_tags(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", map(picture, range(7)), audio=None)
    remade(source, tmp_path / "out.mkv", VideoMarks(b"<xmp/>", {"AISystemUsed": "x"}))
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert made.metadata["AISYSTEMUSED"] == "x"


def test_sound_that_a_container_does_not_hold_is_told(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", map(picture, range(7)))
    with pytest.raises(VideoError, match=r"its aac sound cannot be put into webm .* use \.mkv"):
        remade(source, tmp_path / "out.webm")
