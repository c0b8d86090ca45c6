"""Conversion of videos: frames through the model, in segments that are kept, then one file with all streams."""

import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from translate import atomic, images, videos
from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.manifest import Fingerprint, fingerprint
from translate.conversion.output_paths import Item
from translate.conversion.video.segments import SegmentStore
from translate.conversion.video.temporal import Flicker, TemporalBlend
from translate.errors import StorageError
from translate.images import ImageError, Metadata
from translate.runtime import signals
from translate.text import rate
from translate.videos import DecodedFrame, EncodingSettings, Position, SegmentEncoder, VideoError, VideoInfo, VideoMarks

SEGMENT_FRAMES = 250
"""Frames of a segment: so many an interruption costs at most; also the distance of key frames."""
SAY_SECONDS = 30.0
"""Seconds between two lines on the progress of a video."""


def work_folder(converter: ItemConverter) -> Path:
    """Return the folder in the output folder that holds the segments of unfinished videos."""
    return converter.output / f".videos-{converter.tag}".rstrip("-")


def convert_videos(
    converter: ItemConverter,
    check: Callable[[Item], None],
    items: Sequence[Item],
    commit: Callable[[StagedOutput], None],
    stop: signals.StopRequest,
    say: Callable[[str], None],
) -> None:
    """Convert videos one after another; once `stop` is set, the one at work is kept as far as it is, to be resumed.

    `check` raises ImageError for an item whose output must not be written; `commit` takes outputs and failures.
    """
    work = work_folder(converter)
    for item in items:
        if stop:
            return
        try:
            check(item)
        except ImageError as e:
            commit(converter.failed(item, e, time.monotonic()))
            continue
        staged = VideoConverter(converter, work, stop, say).convert(item)
        if staged is None:
            return
        commit(staged)
    if not stop:
        shutil.rmtree(work, ignore_errors=True)  # what is there is of videos that are done, or gone


@dataclass(frozen=True)
class _Job:
    """One video on its way."""

    item: Item
    path: Path
    info: VideoInfo
    made_from: Fingerprint
    encoding: EncodingSettings
    notices: tuple[str, ...]


class VideoConverter:
    """Converter of single videos by the model and options of an `ItemConverter`.

    Args:
        converter: Converter of frames.
        work: Folder for segments.
        stop: Request to stop, looked at after each batch of frames.
        say: Takes lines on the progress.
    """

    def __init__(
        self, converter: ItemConverter, work: Path, stop: signals.StopRequest, say: Callable[[str], None]
    ) -> None:
        self.converter, self.work, self.stop, self.say = converter, work, stop, say
        self.options, translator = converter.options, converter.translator
        self.batch_size = self.options.batch_size if translator.device.type != "cpu" else 1
        self.channels = translator.domain_info(translator.source_domain(self.options.to))["channels"]
        self._said = time.monotonic(), 0
        """Time of the last line on the progress, and the frames that were done then."""

    def convert(self, item: Item) -> StagedOutput | None:
        """Convert a video and write it under a temporary name; None if it was stopped, to be resumed.

        StorageError if the disk is full or not writable.
        """
        started = time.monotonic()
        folder = self.work / hashlib.sha256(f"{item.sample}/{item.input}".encode()).hexdigest()[:16]
        try:
            job = self._read(item)
        except (VideoError, ImageError, OSError) as e:
            return self.converter.failed(item, e, started)
        try:
            store = SegmentStore(folder, self._key(job))
            if not self._fill(job, store):
                return None
            return self._join(job, store, started)
        except (VideoError, ImageError, RuntimeError, MemoryError) as e:
            shutil.rmtree(folder, ignore_errors=True)
            return self.converter.failed(item, e, started)
        except OSError as e:
            if atomic.is_storage_failure(e):
                raise StorageError(
                    f"{self.converter.output}: cannot be written: {e.strerror}; run the same command again to resume"
                ) from e
            return self.converter.failed(item, e, started)

    def _read(self, item: Item) -> _Job:
        """Read what is known before the work. VideoError, ImageError or OSError if the video cannot be converted."""
        if self.converter.read_options.labels is not None or self.channels not in (1, 3):
            raise ImageError("the model takes no photos, so it converts no videos")
        if self.converter.signer is not None or self.options.watermark:
            raise ImageError("a video holds neither signature nor watermark; leave --c2pa-key and --watermark out")
        path, scale = self.converter.root / item.input, self.converter.scale
        stat = os.stat(path)
        info = videos.read_video_info(path)
        if math.prod((info.height, info.width, scale, scale)) > self.options.max_pixels:
            raise ImageError(
                f"frames of {scale * info.width}×{scale * info.height} are more than {self.options.max_pixels} pixels; raise "
                f"--max-pixels to allow it"
            )
        first = next(videos.read_frames(path, info, self.channels), None)
        if first is None:
            raise VideoError("damaged: no frame can be decoded")
        height, width = first.pixels.shape[:2]
        encoding, notices = videos.choose_encoding(
            info, images.extension(item.output), (scale * height, scale * width), self.options.quality,
            is_turned=first.quarter_turns % 2 == 1,
        )  # fmt: skip
        if first.is_interlaced:
            notices.append("interlaced video becomes progressive: both fields of a frame are converted as one picture")
        made_from = fingerprint(path, stat)
        return _Job(item, path, info, made_from, encoding, (*info.notices, *notices))

    def _key(self, job: _Job) -> dict[str, Any]:
        """Return all that decides the packets of a video."""
        return {
            "input": job.made_from[2], "model": self.converter.translator.sha256, "settings": self.converter.settings,
            "sample": job.item.sample, "encoding": repr(job.encoding), "segment": SEGMENT_FRAMES,
            "ffmpeg": repr(videos.import_av().library_versions),
        }  # fmt: skip

    def _fill(self, job: _Job, store: SegmentStore) -> bool:
        """Convert the frames that are in no segment yet; False if it was stopped."""
        facts: dict[str, Any] = (
            dict(store.segments[-1].facts) if store.segments else {"flicker": [0.0, 0], "repaired": 0}
        )
        after = store.segments[-1].position if store.segments else None
        last_pts = store.segments[-1].packets[-1][0] if store.segments else None
        blend, state = TemporalBlend(self.options.temporal), store.state()
        if state:
            blend.source, blend.blended = state
        frames = videos.read_frames(job.path, job.info, self.channels, after)
        self._said = time.monotonic(), store.frames
        while True:
            segment = _SegmentWork(job, SegmentEncoder(job.encoding), Flicker(*facts["flicker"]), blend, last_pts)
            for batch in _batches(islice(frames, SEGMENT_FRAMES), self.batch_size):
                if self.stop:
                    return False
                outputs = self.converter.translate_frames(job.item, [frame.pixels for frame in batch])
                for frame, output in zip(batch, outputs, strict=True):
                    segment.add(frame, output)
                self._say_progress(job, store.frames + segment.frames)
            if segment.last is None:
                return True
            parameters, last_pts = segment.encoder.finish(), segment.last_pts
            facts = {
                "flicker": [segment.flicker.total, segment.flicker.pixels],
                "repaired": facts["repaired"] + segment.repaired,
            }
            position = Position(store.frames + segment.frames - 1, segment.last.pts, videos.crc32(segment.last.pixels))
            kept = [] if blend.source is None or blend.blended is None else [blend.source, blend.blended]
            store.add(segment.encoder.packets, parameters, position, facts, kept)

    def _say_progress(self, job: _Job, frames: int) -> None:
        """Report the progress from time to time: a video may take hours."""
        now = time.monotonic()
        if now - self._said[0] >= SAY_SECONDS:
            speed = rate(frames - self._said[1], now - self._said[0])
            self.say(f"{job.item.input!r}: {frames:,} of {job.info.packets:,} frames, {speed}")
            self._said = now, frames

    def _join(self, job: _Job, store: SegmentStore, started: float) -> StagedOutput:
        """Write all segments and the other streams into one file."""
        converter, item = self.converter, job.item
        if not store.segments:
            raise VideoError("damaged: no frame can be decoded")
        target = converter.output / item.output
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = atomic.temporary_path(target, converter.tag)
        try:
            notices = videos.mux_video(
                temporary, images.extension(target), job.path, job.encoding, store.parameters(), store.packets(), self._marks()
            )  # fmt: skip
            written = videos.read_video_info(temporary).packets
            if written != store.frames:
                raise VideoError(f"{written} of {store.frames} frames could be written; is the disk full?")
            with open(temporary, "rb+") as file:
                atomic.sync(file)
            facts = store.segments[-1].facts
            notices = [*job.notices, *notices, *_count_notices(job, store.frames, facts["repaired"])]
            line = converter.done_line(
                item, started, atomic.file_sha256(temporary), temporary.stat().st_size, job.made_from, notices
            )
            extra = {"frames": store.frames, "flicker": Flicker(*facts["flicker"]).value}
            return StagedOutput(item, {**line, **extra, "written": temporary.stat().st_mtime_ns}, temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _marks(self) -> VideoMarks:
        mark = self.converter.mark
        tags = {
            "DigitalSourceType": mark.source_type,
            "AISystemUsed": mark.system,
            "AISystemVersionUsed": mark.version,
            "CreatorTool": mark.tool,
        }
        if not self.options.mark:
            return VideoMarks(strip_place=self.options.strip_gps)
        return VideoMarks(Metadata().with_mark(mark).xmp, tags, self.options.strip_gps)


@dataclass
class _SegmentWork:
    """Segment at work."""

    job: _Job
    encoder: SegmentEncoder
    flicker: Flicker
    blend: TemporalBlend
    last_pts: int | None
    frames: int = 0
    repaired: int = 0
    """Frames whose timestamp was missing, or not after that of the frame before."""
    last: DecodedFrame | None = None

    def add(self, frame: DecodedFrame, output: Any) -> None:
        """Blend and encode the translation of a frame."""
        if self.blend.strength:
            output = self.blend(frame.pixels, output)
        self.flicker.add(frame.pixels, output)
        usual = max(1, round(1 / (self.job.info.rate * self.job.info.time_base)))
        pts = frame.pts
        if pts is None or (self.last_pts is not None and pts <= self.last_pts):
            pts = 0 if self.last_pts is None else self.last_pts + usual
            self.repaired += 1
        self.encoder.add(output, pts, frame.duration or usual)
        self.last_pts, self.last, self.frames = pts, frame, self.frames + 1


def _batches(frames: Iterator[DecodedFrame], size: int) -> Iterator[list[DecodedFrame]]:
    while batch := list(islice(frames, size)):
        yield batch


def _count_notices(job: _Job, frames: int, repaired: int) -> Iterator[str]:
    if frames < job.info.packets:
        yield f"{job.info.packets - frames} of {job.info.packets} packets of the video give no frame"
    if repaired:
        yield f"{repaired} frames had no timestamp, or one that is not after that of the frame before; they follow it"
