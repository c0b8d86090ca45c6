"""A folder of images to a folder of images, as a job that can be stopped at any moment and started again.

The journal `manifest.jsonl` in the output folder is the truth: an image is done when the journal says from which input, by
which model and with which settings it was made, and the output is there as the journal describes it. The line is written
before the finished output is renamed into place, so there is no moment at which an output is not accounted for.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from translate import atomic, images
from translate.conversion import tiling
from translate.conversion.guard import Guard
from translate.conversion.journal import Journal, manifests, merge
from translate.conversion.listing import Listing, Shard, list_inputs, shard
from translate.conversion.maker import Maker, reason
from translate.conversion.names import Item, check_distinct
from translate.conversion.options import DEFAULTS, Options, Progress, Result
from translate.conversion.pipeline import Commits, Pipeline
from translate.conversion.translator import Translator
from translate.errors import Interrupted, UsageError
from translate.runtime import signals

__all__ = ["Options", "Progress", "Result", "convert"]


def convert(
    translator: Translator,
    source: str | Path,
    output: str | Path,
    options: Options = DEFAULTS,
    progress: Progress = lambda finished, failed, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """Converts an image, a folder (recursively) or a glob. Inputs are never changed.

    Raises UsageError, DataError (nothing to convert), StorageError, BusyError, and Interrupted after a clean stop; images
    that cannot be converted are in the result's `failures`.
    """
    translator.check_target(options.to)
    target = Path(output)
    if Path(source).is_file() and images.extension(target) in images.KNOWN and not target.is_dir():
        return _convert_one(translator, Path(source), target, options)
    if options.merge:
        return _merge(target)
    listing = list_inputs(source, target)
    part, by = shard(options.shard)
    if part.name and by != "--shard":
        say(f"converting part {part.index} of {part.count}, as {by} says")
    maker = Maker(translator, listing.root, target, options, tag=f"{part.name}-" if part.name else "")
    result = Result(target, others=listing.others, failures=dict(listing.unreadable))
    if options.dry_run:
        result.planned = _plan(maker, listing, part, result)[1]
        return result
    atomic.check_writable(target)
    with atomic.lock_folder(target, "wait for it or use another output folder", part.name):
        atomic.remove_temporaries(target, maker.tag)
        journal, todo = _plan(maker, listing, part, result, atomic.name_folding(target))
        _check_scratch(maker, todo, say)
        started = time.monotonic()
        inputs = {os.path.realpath(listing.root / name) for name in listing.inputs}
        guard = Guard(target, inputs, journal.outputs, options.overwrite)
        try:
            _make(maker, guard, todo, Commits(maker, journal, result, progress, len(todo)), say)
        except BaseException:
            atomic.remove_temporaries(target, maker.tag)
            raise
        result.seconds = time.monotonic() - started
        if options.report:
            from translate.conversion import gallery  # few conversions have a page, or a cluster

            result.report = gallery.write(maker, listing, part, result)
    return result


def _plan(
    maker: Maker, listing: Listing, part: Shard, result: Result, fold: Callable[[str], str] = str
) -> tuple[Journal, list[Item]]:
    """The journal, and what is still to be made; how much is done already goes into the result."""
    journal = Journal(maker.output, maker.translator.sha256, maker.settings, part.manifest)
    items = journal.plan(listing.inputs, maker.options.format)
    check_distinct(items, fold)
    mine = [item for item in items if part.holds(item.input)]
    todo = [item for item in mine if maker.options.overwrite or not journal.is_done(item, listing.root)]
    result.skipped = len(mine) - len(todo)
    return journal, todo[: maker.options.limit]


def _check_scratch(maker: Maker, todo: list[Item], say: Callable[[str], None]) -> None:
    """Says what the largest image needs of the scratch folder and what is free; StorageError where it does not fit."""
    if maker.scratch is None or not todo:
        return
    path, (height, width) = max(
        ((item.input, images.size_of(maker.root / item.input)) for item in todo), key=lambda found: math.prod(found[1])
    )
    if height == 0:
        return
    with suppress(tiling.DoesNotFitError):  # of that image alone
        need = tiling.scratch_need(maker.translator, maker.options.to, height, width, maker.options.tile, maker.scratch)
        free = shutil.disk_usage(maker.scratch).free
        say(f"{path!r}, the largest: {width}×{height}, {need / 1e9:.1f} GB of scratch; {free / 1e9:.1f} GB are free")


def _make(maker: Maker, guard: Guard, todo: list[Item], commits: Commits, say: Callable[[str], None]) -> None:
    """All that is to be made, here or on a cluster; Interrupted after a clean stop."""
    with signals.stop_on_signal() as stop:
        commits.show()
        if maker.options.cluster is None:
            Pipeline(maker, guard.check, todo, commits).run(stop)
        else:
            from translate.conversion import cluster

            cluster.run(maker.options.cluster, maker, guard.check, todo, commits, stop, say)
    if stop:
        left = len(todo) - commits.result.done - commits.failed
        raise Interrupted(f"stopped with {left} images to go; the same command goes on from there", stop.signal)


def _merge(output: Path) -> Result:
    """Joins the journals of shards; converts nothing."""
    if not manifests(output):
        raise UsageError(f"{output}: no journals to merge; give the output folder of the shards")
    with atomic.lock_folder(output, "wait until all shards have ended"), atomic.storage_errors(output):
        done, failures = merge(output)
    return Result(output, skipped=done, failures=failures)


def _convert_one(translator: Translator, source: Path, target: Path, options: Options) -> Result:
    """One image into a file of the given name; no journal."""
    if options.cluster is not None:
        raise UsageError(f"--cluster: converts folders, but {target} is a file; leave it out for one image")
    if options.report:
        raise UsageError(f"--report: its page needs a folder, but {target} is a file; give a folder for the output")
    fmt = images.writer_for(images.extension(target))
    if fmt is None:
        raise UsageError(f"{target}: cannot write this format; possible: {', '.join(images.WRITERS)}, or a folder")
    if os.path.realpath(target) == os.path.realpath(source):
        raise UsageError(f"{target}: the output is the input; give another name")
    item = Item(source.name, target.name)
    result = Result(target, planned=[item] if options.dry_run else [])
    if options.dry_run:
        return result
    started, maker = time.monotonic(), Maker(translator, source.parent, target.parent, options, fmt)
    try:
        if target.exists() and not options.overwrite:
            raise images.ImageError(f"exists: {target.name}; --overwrite replaces it")
        work = maker.read(item)
        (translated,) = maker.translate([work])
        data = maker.encode(work, translated)
    except (images.ImageError, OSError, RuntimeError, MemoryError) as e:
        result.failures[source.name] = reason(e)
    else:
        with atomic.storage_errors(target.parent):
            atomic.write(target, data)
        result.done = 1
        result.notices.update(translated.notices)
    result.seconds = time.monotonic() - started
    return result
