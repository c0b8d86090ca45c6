"""Conversion of a folder of images as a job that can be stopped at any moment and resumed.

The manifest, `manifest.jsonl` in the output folder, is the truth: an image is done when the manifest says from which input, by
which model and with which settings it was made, and the output is there as the manifest describes it. The line is written
before the finished output is renamed into place, so that every output has a line at every moment.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from translate import atomic, images, locks, videos
from translate.callbacks import ProgressCallback
from translate.conversion import tiling
from translate.conversion.committer import Committer
from translate.conversion.inputs import Listing, Shard, list_inputs, resolve_shard
from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.manifest import Manifest, list_manifests, merge_manifests
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.conversion.output_checks import check_marks
from translate.conversion.output_paths import Item, check_distinct
from translate.conversion.overwrite_guard import InputFiles, OverwriteGuard
from translate.conversion.pipeline import Pipeline
from translate.conversion.single import convert_one
from translate.conversion.video.video_item import convert_videos
from translate.conversion.watch.watching import FolderWatcher
from translate.convolution_choice import torch_threads
from translate.errors import Interrupted, UsageError
from translate.runtime import signals
from translate.text import file_size, join_names
from translate.trained.translator import Translator

__all__ = ["ConversionOptions", "ConversionResult", "convert", "convert_items"]


def convert(
    translator: Translator,
    source: str | Path,
    output: str | Path,
    options: ConversionOptions | None = None,
    progress: ProgressCallback = lambda finished, failed, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> ConversionResult:
    """Convert an image, a folder (recursively) or a glob. Inputs are never changed.

    Raises UsageError, DataError (nothing to convert), StorageError, BusyError, and Interrupted after a clean stop; images
    that cannot be converted are in the result's `failures`.
    """
    options = options or ConversionOptions()
    translator.check_target(options.to)
    target = Path(output)
    is_file = images.extension(target) in images.IMAGE_EXTENSIONS or videos.is_video(target)
    if Path(source).is_file() and is_file and not target.is_dir():
        return convert_one(translator, Path(source), target, options, say)
    if options.merge:
        return _merge(target)
    if options.watch and not Path(source).is_dir():
        raise UsageError(f"--watch {source}: is no folder; give the folder in which files arrive")
    listing = list_inputs(source, target, may_be_empty=options.watch)
    for line in listing.notices:
        say(line)
    shard, origin = resolve_shard(options.shard)
    if shard.name and origin != "--shard":
        say(f"converting part {shard.index} of {shard.count}, from {origin}")
    converter = ItemConverter(translator, listing.root, target, options, tag=f"{shard.name}-" if shard.name else "")
    check_marks(converter, listing.inputs)
    result = ConversionResult(target, others=listing.others, failures=dict(listing.unreadable))
    if options.dry_run:
        result.planned = _plan(converter, listing, shard, result)[1]
        return result
    atomic.check_writable(target)
    with locks.lock_folder(target, "wait for it or use another output folder", shard.name):
        atomic.remove_temporaries(target, converter.tag)
        if options.watch:
            _watch(converter, listing, shard, result, progress, say)
        manifest, todo = _plan(converter, listing, shard, result, atomic.name_folding(target))
        convert_items(converter, manifest, listing.inputs, todo, result, progress, say)
        if options.report:
            _write_report(converter, listing, shard, result)
    return result


def convert_items(
    converter: ItemConverter,
    manifest: Manifest,
    inputs: Sequence[str],
    todo: list[Item],
    result: ConversionResult,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> None:
    """Convert items into the output folder, which is locked, and count them in the result.

    `inputs`: all files that no output may replace. StorageError, and Interrupted after a clean stop.
    """
    _check_scratch(converter, todo, say)
    _report_too_large(converter, todo, say)
    started = time.monotonic()
    protected = InputFiles(converter.root, inputs, converter.output)
    guard = OverwriteGuard(converter.output, protected, manifest.was_written, converter.options.overwrite)
    try:
        _convert_items(converter, guard, todo, Committer(converter, manifest, result, progress, len(todo)), say)
    except BaseException:
        atomic.remove_temporaries(converter.output, converter.tag)
        raise
    result.seconds = time.monotonic() - started


def _write_report(converter: ItemConverter, listing: Listing, shard: Shard, result: ConversionResult) -> None:
    from translate.conversion.report import conversion_page  # imported where it is used: few conversions have a page

    result.report = conversion_page.write_conversion_page(converter, listing, shard, result)


def _watch(
    converter: ItemConverter,
    listing: Listing,
    shard: Shard,
    result: ConversionResult,
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> NoReturn:
    """Convert what arrives in the folder of the listing. Interrupted after a clean stop, which alone ends it."""
    manifest = Manifest(converter.output, converter.translator.sha256, converter.settings, shard.manifest)
    committer = Committer(converter, manifest, result, progress, 0)
    with signals.stop_on_signal() as stop:
        watcher = FolderWatcher(
            converter,
            committer,
            shard,
            atomic.name_folding(converter.output),
            prepare=lambda todo: _chosen_convolutions(converter, manifest, todo, say),
            run=lambda todo, check, commit: _convert_here(converter, check, todo, commit, stop, say),
            say=say,
        )
        say(f"watching {listing.root}; Ctrl-C ends it")
        try:
            watcher.watch(stop)
        except BaseException:
            atomic.remove_temporaries(converter.output, converter.tag)
            raise
    if converter.options.report:
        _write_report(converter, replace(listing, inputs=tuple(sorted(watcher.inputs))), shard, result)
    counts = f"{result.done} converted, {result.skipped} done before, {len(result.failures)} failed"
    raise Interrupted(f"stopped watching: {counts}; the same command resumes", stop.signal)


def _plan(
    converter: ItemConverter, listing: Listing, shard: Shard, result: ConversionResult, fold: Callable[[str], str] = str
) -> tuple[Manifest, list[Item]]:
    """Return the manifest and the items that are still to be converted; count in the result those that are done."""
    manifest = Manifest(
        converter.output, converter.translator.sha256, converter.settings, shard.manifest, sorted(listing.inputs)
    )
    items = manifest.plan(listing.inputs, converter.options.format, converter.options.samples)
    check_distinct(items, fold)
    mine = [item for item in items if shard.contains(item.input)] if shard.name else items
    todo = mine
    if not converter.options.overwrite:
        todo = manifest.select_undone(mine, listing.root, converter.instance_map)
    result.skipped = len(mine) - len(todo)
    return manifest, _first_inputs(todo, converter.options.limit)


def _first_inputs(items: list[Item], limit: int | None) -> list[Item]:
    """Return the items of the first `limit` inputs, of all without a limit."""
    if limit is None:
        return items
    inputs = set(list(dict.fromkeys(item.input for item in items))[:limit])
    return [item for item in items if item.input in inputs]


def _check_scratch(converter: ItemConverter, todo: list[Item], say: Callable[[str], None]) -> None:
    """Report the scratch space that the largest image needs and the space that is free. StorageError if it does not fit."""
    if converter.scratch is None or not todo:
        return
    path, (height, width) = max(
        ((item.input, images.read_size(converter.root / item.input)) for item in todo),
        key=lambda found: math.prod(found[1]),
    )
    if height == 0:
        return
    with suppress(tiling.DoesNotFitError):  # an error of that image alone
        need = converter.planner.estimate_scratch(height, width, converter.options.tile, converter.scratch)
        free = shutil.disk_usage(converter.scratch).free
        say(f"{path!r}, the largest: {width}×{height}, {file_size(need)} of scratch; {file_size(free)} are free")


def _report_too_large(converter: ItemConverter, todo: list[Item], say: Callable[[str], None]) -> None:
    """Report before the work how many images would become too large, where outputs are larger than inputs."""
    if converter.scale == 1:
        return
    names = []
    for item in todo:
        try:
            converter.check_output_size(converter.root / item.input)
        except images.ImageError:
            names.append(item.input)
    if names:
        say(
            f"{len(names)} of {len(todo)} images would have more than --max-pixels {converter.options.max_pixels} when they "
            f"are enlarged ×{converter.scale}, and will be listed as failed: {join_names(names)}"
        )


def _convert_items(
    converter: ItemConverter, guard: OverwriteGuard, todo: list[Item], committer: Committer, say: Callable[[str], None]
) -> None:
    """Convert all items, in this process or on a cluster. Interrupted after a clean stop."""
    with signals.stop_on_signal() as stop, _chosen_convolutions(converter, committer.manifest, todo, say):
        committer.report_progress()
        if converter.options.cluster is None:
            _convert_here(converter, guard.check, todo, committer, stop, say)
        else:
            from translate.conversion.cluster import driver

            stills, clips = _stills_and_videos(todo)
            driver.run_on_cluster(converter, guard.check, stills, committer, stop, say)
            convert_videos(converter, guard.check, clips, committer, stop, say)
    if stop:
        left = len(todo) - committer.result.done - committer.failed
        raise Interrupted(f"stopped with {left} images left; run the same command again to resume", stop.signal)


def _convert_here(
    converter: ItemConverter,
    check: Callable[[Item], None],
    items: Sequence[Item],
    commit: Callable[[StagedOutput], None],
    stop: signals.StopRequest,
    say: Callable[[str], None],
) -> None:
    """Convert items in this process: images, then videos; once `stop` is set, no further ones."""
    stills, clips = _stills_and_videos(items)
    Pipeline(converter, check, stills, commit).run(stop)
    convert_videos(converter, check, clips, commit, stop, say)


def _stills_and_videos(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    clips = [item for item in items if videos.is_video(item.input)]
    return [item for item in items if not videos.is_video(item.input)], clips


@contextmanager
def _chosen_convolutions(
    converter: ItemConverter, manifest: Manifest, todo: Sequence[Item], say: Callable[[str], None]
) -> Iterator[None]:
    """Choose for the block how convolutions are computed: as the manifest says, else as is faster, which it then records.

    For a cluster, by the time that one thread takes, as its workers have one.
    """
    options = converter.options
    if not todo or options.pixels == "reference":
        yield
        return
    recorded = {} if options.overwrite else manifest.convolutions
    with (
        torch_threads(None if options.cluster is None else 1),
        converter.translator.convolutions_of(recorded, say) as record,
    ):
        manifest.record_convolutions(record)
        yield


def _merge(output: Path) -> ConversionResult:
    """Join the manifests of shards, without converting anything."""
    if not list_manifests(output):
        raise UsageError(f"{output}: no manifests to merge; give the output folder of the shards")
    with locks.lock_folder(output, "wait until all shards have ended"), atomic.storage_errors(output):
        done, failures = merge_manifests(output)
    return ConversionResult(output, skipped=done, failures=failures)
