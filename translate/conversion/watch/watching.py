"""Conversion of a folder that fills, until a signal ends it: with the journal and the outputs of a folder that is full.

Changes that the system reports bring a file in at once. A listing of the whole folder, from time to time, brings in what was
not reported. Both are only hints: whether a file is converted decides its state on the disk and the manifest.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from translate import images
from translate.conversion.committer import Committer
from translate.conversion.inputs import Shard, is_input, list_folder
from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.manifest import Manifest
from translate.conversion.output_paths import Item, ItemKey
from translate.conversion.overwrite_guard import OverwriteGuard
from translate.conversion.watch.arrivals import SETTLE_SECONDS, Arrivals
from translate.conversion.watch.folder_events import FolderEvents
from translate.errors import DataError
from translate.images import ImageError
from translate.runtime import signals

TICK_SECONDS = 0.1
"""Seconds between two looks at what has arrived."""
LISTING_SECONDS = 30.0
"""Seconds between two listings of the whole folder."""
POLL_SECONDS = 2.0
"""The same where the system reports no changes."""
LISTING_SHARE = 20
"""A listing that takes long is followed by at least so many times its duration without one."""

Run = Callable[[Sequence[Item], Callable[[Item], None], Callable[[StagedOutput], None]], None]
"""Converts items: takes them, the check of an item, and the function that commits outputs and failures."""


@dataclass
class NamePlan:
    """Names of the outputs of all inputs that have arrived. A name that was given stays.

    Inputs of one folder whose names are equal up to the first dot compete for a name, so those alone are planned anew with an
    arrival.
    """

    manifest: Manifest
    fmt: str
    samples: int | None
    fold: Callable[[str], str]
    """Maps output names that the file system does not distinguish to one key."""
    rivals: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    holders: dict[str, ItemKey] = field(default_factory=dict)
    """Folded name of an output → its origin."""

    def add(self, names: Iterable[str]) -> list[Item]:
        """Return the outputs of inputs that have arrived, in the order of their names."""
        wanted, groups = set(names), set()
        for name in wanted:
            folder, _, last = name.rpartition("/")
            group = f"{folder}/{last.partition('.')[0]}"
            self.rivals[group].add(name)
            groups.add(group)
        inputs = sorted(set().union(*(self.rivals[group] for group in groups)))
        items = [item for item in self.manifest.plan(inputs, self.fmt, self.samples) if item.input in wanted]
        for item in items:
            self.holders.setdefault(self.fold(item.output), item.key)
        return items

    def check(self, item: Item) -> None:
        """Raise ImageError if the output has the name of another input's, or one that the file system takes for it."""
        holder = self.holders[self.fold(item.output)]
        if holder != item.key:
            raise ImageError(f"its output {item.output!r} would replace that of {holder.input!r}; rename it")


class FolderWatcher:
    """Converter of what arrives in a folder.

    Args:
        converter, committer: Those of the job.
        shard: Part of the inputs that is this job's.
        fold: See `NamePlan`.
        prepare: Make the context in which items are converted; entered before the first ones.
        run: Convert items.
        say: Takes lines for the user.
    """

    def __init__(
        self,
        converter: ItemConverter,
        committer: Committer,
        shard: Shard,
        fold: Callable[[str], str],
        prepare: Callable[[Sequence[Item]], AbstractContextManager[None]],
        run: Run,
        say: Callable[[str], None],
    ) -> None:
        self.converter, self.manifest, self.committer, self.shard = converter, committer.manifest, committer, shard
        manifest = committer.manifest
        self.prepare, self.run, self.say = prepare, run, say
        self.root, self.output, self.options = converter.root, converter.output, converter.options
        self.inputs: set[str] = set()
        """Names of all inputs that have arrived."""
        self.plan = NamePlan(manifest, self.options.format, self.options.samples, fold)
        self.arrivals = Arrivals(self.root, SETTLE_SECONDS)
        self._real_inputs: set[str] = set()
        self.guard = OverwriteGuard(self.output, self._real_inputs, manifest.was_written, self.options.overwrite)
        self._said: set[str] = set()
        self._real_output = os.path.realpath(self.output)
        self._prepared = False

    def watch(self, stop: signals.StopRequest) -> None:
        """Convert what is there and what arrives until `stop` is set. DataError if the folder disappears."""
        with FolderEvents(self.root) as events, ExitStack() as context:
            listing_due = 0.0
            while not stop:
                now = time.monotonic()
                if now >= listing_due:
                    self._list()
                    took = time.monotonic() - now
                    pause = LISTING_SECONDS if events.error is None else POLL_SECONDS
                    listing_due = time.monotonic() + max(pause, LISTING_SHARE * took)
                if events.error is not None:
                    self._say_once(
                        f"{self.root}: the system reports no changes ({events.error}); the folder is listed every "
                        f"{POLL_SECONDS:g} s instead"
                    )
                self._add_changed(events.take())
                whole = self.arrivals.take_whole()
                if whole:
                    self._convert(whole, context)
                else:
                    time.sleep(TICK_SECONDS)

    def _list(self) -> None:
        """Take note of all inputs in the folder."""
        if not self.root.is_dir():
            raise DataError(f"{self.root}: the folder is gone; run the same command again when it is back")
        notes = images.WalkNotes()
        found = list_folder(self.root, self.output, notes)
        for name, reason in notes.unreadable.items():
            self._say_once(f"{name!r}: cannot be listed: {reason}")
        names = [name for name in found if is_input(name)]
        self.committer.result.others = len(found) - len(names)
        self.arrivals.add(names)

    def _add_changed(self, paths: Iterable[str]) -> None:
        """Take note of files, and of those in folders, that have changed; hidden ones and outputs are left out."""
        start = self.root.absolute()
        for path in map(Path, paths):
            name = path.relative_to(start).as_posix()
            if any(part.startswith(".") for part in PurePosixPath(name).parts):
                continue
            if path.is_dir() and not path.is_symlink():
                inner = (found.relative_to(path).as_posix() for found in images.list_files(path))
                self._add_names((PurePosixPath(name) / rest).as_posix() for rest in inner)
            else:
                self._add_names([name])

    def _add_names(self, names: Iterable[str]) -> None:
        self.arrivals.add(name for name in names if is_input(name) and not self._is_output(name))

    def _is_output(self, name: str) -> bool:
        folder = os.path.realpath((self.root / name).parent)
        return folder == self._real_output or folder.startswith(self._real_output + os.sep)

    def _convert(self, names: Sequence[str], context: ExitStack) -> None:
        """Convert files that are whole, but for those that are done already."""
        self.inputs.update(names)
        self._real_inputs.update(os.path.realpath(self.root / name) for name in names)
        items = [item for item in self.plan.add(names) if self.shard.contains(item.input)]
        todo = items if self.options.overwrite else self.manifest.select_undone(items, self.root)
        result = self.committer.result
        result.skipped += len(items) - len(todo)
        for name in {item.input for item in todo}:  # it has changed, so it gets another chance
            result.failures.pop(name, None)
        self.committer.total += len(todo)
        if not todo:
            return
        if not self._prepared:
            self._prepared = True
            context.enter_context(self.prepare(todo))
        self.run(todo, self._check, self._commit)

    def _check(self, item: Item) -> None:
        self.plan.check(item)
        self.guard.check(item)

    def _commit(self, staged: StagedOutput) -> None:
        """Commit an output, or a failure, which is told at once; a file that was deleted meanwhile is neither."""
        if staged.failed and not os.path.lexists(self.root / staged.item.input):
            self.committer.total -= 1
            return
        self.committer(staged)
        if staged.failed:
            self.say(f"failed: {staged.item.input!r}: {staged.line['error']}")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)
