"""Conversion of a single image or video into a file of a given name, without a manifest."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from translate import atomic, images, locks, videos
from translate.conversion.item import ItemConverter, failure_reason
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.conversion.output_checks import check_marks
from translate.conversion.output_paths import Item
from translate.conversion.video.video_item import VideoConverter
from translate.errors import Interrupted, UsageError
from translate.runtime import signals
from translate.trained.translator import Translator


def convert_one(
    translator: Translator, source: Path, target: Path, options: ConversionOptions, say: Callable[[str], None]
) -> ConversionResult:
    """Convert one image or video into a file of the given name, without a manifest; failures are in the result.

    UsageError if the file cannot be made from this input; Interrupted if a video was stopped, to be resumed.
    """
    if options.cluster is not None:
        raise UsageError(f"--cluster converts folders, but {target} is a file; leave it out for one image")
    if options.samples is not None:
        raise UsageError(f"--samples writes several files, but {target} is one; give a folder")
    if options.report:
        raise UsageError(f"--report needs an output folder, but {target} is a file; give a folder")
    is_video, fmt = _is_video(source, target), images.writer_for(images.extension(target))
    if fmt is None and images.extension(target) in images.HEIF_EXTENSIONS:
        raise UsageError(f"{target}: {images.HEIF_MISSING}")
    if fmt is None and not is_video:
        raise UsageError(f"{target}: this format cannot be written; possible: {', '.join(images.WRITERS)}, or a folder")
    if os.path.realpath(target) == os.path.realpath(source):
        raise UsageError(f"{target}: the output is the input; give another name")
    item = Item(source.name, target.name)
    result = ConversionResult(target, planned=[item] if options.dry_run else [])
    if options.dry_run:
        return result
    if options.watch:
        raise UsageError(f"--watch {source}: is no folder; give the folder in which files arrive")
    started, converter = time.monotonic(), ItemConverter(translator, source.parent, target.parent, options, fmt)
    check_marks(converter, [item.input])
    if is_video:
        _convert_video(converter, item, target, result, say)
        result.seconds = time.monotonic() - started
        return result
    try:
        if target.exists() and not options.overwrite:
            raise images.ImageError(f"exists: {target.name}; --overwrite replaces it")
        loaded = converter.read(item)
        (translated,) = converter.translate([loaded])
        data = converter.encode(loaded, translated)
    except (images.ImageError, OSError, RuntimeError, MemoryError) as e:
        result.failures[source.name] = failure_reason(e)
    else:
        with atomic.storage_errors(target.parent):
            atomic.write(target, data)
        result.done = 1
        result.notices.update(translated.notices)
    result.seconds = time.monotonic() - started
    return result


def _is_video(source: Path, target: Path) -> bool:
    """Return True if a video becomes a video. UsageError if only one of both is one, or videos cannot be read."""
    if videos.is_video(source) != videos.is_video(target):
        kind = "a video" if videos.is_video(source) else "an image"
        raise UsageError(f"{target}: {kind} cannot become this; give a name with the extension of {kind}, or a folder")
    if not videos.is_video(source):
        return False
    if videos.VIDEO_FORMATS[images.extension(target)] != images.extension(target):
        raise UsageError(f"{target}: this format cannot be written; possible: {', '.join(videos.MUXERS)}")
    if not videos.can_read_videos():
        raise UsageError(f"{source}: videos need PyAV: {videos.INSTALL}")
    return True


def _convert_video(
    converter: ItemConverter, item: Item, target: Path, result: ConversionResult, say: Callable[[str], None]
) -> None:
    """Convert one video; its segments lie beside it until it is whole."""
    if target.exists() and not converter.options.overwrite:
        result.failures[item.input] = f"exists: {target.name}; --overwrite replaces it"
        return
    work = target.with_name(f".{target.name}.segments")
    with atomic.storage_errors(target.parent):
        work.mkdir(parents=True, exist_ok=True)
    with signals.stop_on_signal() as stop, locks.lock_folder(work, "wait for it, or use another output"):
        staged = VideoConverter(converter, work, stop, say).convert(item)
        if staged is None:
            raise Interrupted(f"stopped at {item.input}; run the same command again to resume", stop.signal)
        if staged.temporary is None:
            result.failures[item.input] = staged.line["error"]
        else:
            with atomic.storage_errors(target.parent):
                os.replace(staged.temporary, target)
            result.done = 1
            result.notices.update(staged.line.get("notices", ()))
    shutil.rmtree(work, ignore_errors=True)
