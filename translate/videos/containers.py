"""Video files by extension, and the package that reads and writes them (extra `video`)."""

import os
from types import ModuleType
from typing import Any

INSTALL = "pip install 'image-translate[video]'"
"""Command that installs the package."""

VIDEO_FORMATS = {
    "mp4": "mp4", "m4v": "m4v", "mov": "mov", "mkv": "mkv", "webm": "webm", "avi": "mkv", "mts": "mkv", "m2ts": "mkv",
}  # fmt: skip
"""Extension, in lower case, of videos that are read → extension of their outputs."""

MUXERS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}
"""Extension of videos that are written → muxer of FFmpeg."""

DEMUXERS = ("mov", "matroska", "avi", "mpegts", "m4v")
"""Demuxers of FFmpeg that files are read by: those of VIDEO_FORMATS. Playlists and lists of files, which it also takes for
videos whatever their name, are not among them: they would have it read other files, or ask servers."""


class VideoError(Exception):
    """Error of a file that cannot be read or written as a video; its text is one line without the file's name."""


class NoVideoPackageError(VideoError):
    """Absence of PyAV; its text says how to install it."""


def is_video(path: str | os.PathLike[str]) -> bool:
    """Return True if a file is a video by its extension."""
    return os.path.splitext(path)[1][1:].lower() in VIDEO_FORMATS  # noqa: PTH122 (faster than a Path)


def import_av() -> ModuleType:
    """Import PyAV. NoVideoPackageError if it is not installed.

    Its handler of FFmpeg's log stays off: a decoding thread that logs would wait for the interpreter, which waits for that
    thread where a decoder is freed.
    """
    os.environ.setdefault("SVT_LOG", "1")  # its AV1 encoder writes its settings on stderr otherwise
    try:
        import av
    except ImportError:
        raise NoVideoPackageError(f"videos need PyAV: {INSTALL}") from None
    return av


def open_video(path: str | os.PathLike[str]) -> Any:
    """Open a video for reading, and nothing beside this file. av.FFmpegError if it is none of DEMUXERS.

    The prefix has FFmpeg take the name as that of a file: `12:30.mp4` would be an address, `concat:a.mp4|b.mp4` two files.
    """
    only = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file"}
    return import_av().open(f"file:{os.fspath(path)}", options=only)


def can_read_videos() -> bool:
    """Return True if PyAV is installed."""
    try:
        import_av()
    except NoVideoPackageError:
        return False
    return True
