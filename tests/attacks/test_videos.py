"""Hostile videos: files that name other files or servers, names that FFmpeg would take for addresses, sizes that are lies."""

from pathlib import Path

import pytest

pytest.importorskip("av", reason="needs the extra video")

from translate import videos
from translate.conversion import job
from translate.conversion.options import ConversionOptions
from translate.trained.translator import Translator
from translate.videos import VideoError

from ..videos.video_files import picture, write_video
from .conftest import Server

REFERENCES = {
    "a list of files": "ffconcat version 1.0\nfile secret.mp4\n",
    "a list of servers": "ffconcat version 1.0\nfile {url}\n",
    "a playlist of files": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "a playlist of servers": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "a session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n",
}
"""Texts that FFmpeg reads as videos, by what they begin with."""


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("ext", ["mp4", "mkv"])
def test_a_text_that_names_other_files_is_no_video(server: Server, tmp_path: Path, kind: str, ext: str) -> None:
    write_video(tmp_path / "secret.mp4", [picture(0)], audio=None)
    path = tmp_path / f"a.{ext}"
    path.write_text(REFERENCES[kind].format(url=server.url("/a.mp4")))
    with pytest.raises(VideoError, match="damaged, truncated or no video: ") as caught:
        videos.read_video_info(path)
    assert "\n" not in str(caught.value)
    assert server.asked == []


@pytest.mark.parametrize("name", ["concat:secret.mp4", "12:30.mp4", "http:a.mp4", "-i.mp4", "%d.mp4", "a|b.mp4"])
def test_a_name_is_that_of_a_file(
    cyclegan: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of the current folder, whose files have no folder in front of their names."""
    monkeypatch.chdir(tmp_path)
    whole = write_video(Path("whole.mp4"), [picture(n) for n in range(3)], audio=None)
    write_video(Path("secret.mp4"), [picture(0)] * 2, audio=None)
    Path(name).write_bytes(whole.read_bytes())
    result = job.convert(cyclegan, Path(name), Path("out"), ConversionOptions())
    assert result.failures == {}
    assert videos.read_video_info(Path("out", name)).packets == 3
    target = f"b:{name}"
    assert job.convert(cyclegan, Path(name), Path(target), ConversionOptions()).failures == {}
    assert videos.read_video_info(Path(target)).packets == 3


def test_a_size_that_is_a_lie_is_refused_before_a_frame_is_decoded(cyclegan: Translator, tmp_path: Path) -> None:
    """The header of a 48×32 video is changed to say 255×255."""
    source = write_video(
        tmp_path / "in" / "a.mkv", [picture(0)] * 2, encoder="ffv1", pixel_format="yuv420p", audio=None
    )
    content = source.read_bytes()
    for tag, old in ((b"\xb0", 48), (b"\xba", 32)):  # Matroska's PixelWidth and PixelHeight, of one byte each
        assert content.count(tag + b"\x81" + bytes([old])) == 1
        content = content.replace(tag + b"\x81" + bytes([old]), tag + b"\x81\xff")
    source.write_bytes(content)
    result = job.convert(cyclegan, tmp_path / "in", tmp_path / "out", ConversionOptions(max_pixels=10_000))
    assert result.failures["a.mkv"].startswith("frames of 255×255 are more than 10000 pixels")
