"""Video files: what is in them, their frames as arrays, and new files that keep all streams but the picture.

FFmpeg reads and writes them, by PyAV of the extra `video`, which is imported where it is used.
"""

from translate.videos.containers import (
    INSTALL,
    MUXERS,
    VIDEO_FORMATS,
    NoVideoPackageError,
    VideoError,
    can_read_videos,
    import_av,
    is_video,
)
from translate.videos.encoding import EncodedPacket, EncodingSettings, SegmentEncoder, choose_encoding
from translate.videos.frame_reader import DecodedFrame, Position, crc32, read_frames
from translate.videos.muxing import VideoMarks, mux_video
from translate.videos.video_info import VideoInfo, read_video_info

__all__ = [
    "INSTALL",
    "MUXERS",
    "VIDEO_FORMATS",
    "DecodedFrame",
    "EncodedPacket",
    "EncodingSettings",
    "NoVideoPackageError",
    "Position",
    "SegmentEncoder",
    "VideoError",
    "VideoInfo",
    "VideoMarks",
    "can_read_videos",
    "choose_encoding",
    "crc32",
    "import_av",
    "is_video",
    "mux_video",
    "read_frames",
    "read_video_info",
]
