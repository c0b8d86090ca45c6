"""Commits of a conversion: a line in the manifest first, then the rename that gives the output its final name."""

import os
import threading
import time
from collections.abc import Sequence

from translate import atomic
from translate.callbacks import ProgressCallback
from translate.conversion.item import ItemConverter, StagedOutput
from translate.conversion.manifest import Manifest
from translate.conversion.options import ConversionResult
from translate.errors import StorageError


class Committer:
    """Writer of manifest lines, which then gives outputs their final names: so every output has a line at every moment.

    May be called from many threads: calls that wait while another syncs the manifest share the next sync.
    """

    def __init__(
        self,
        converter: ItemConverter,
        manifest: Manifest,
        result: ConversionResult,
        progress: ProgressCallback,
        total: int,
    ) -> None:
        self.converter, self.manifest, self.result = converter, manifest, result
        self.progress, self.total = progress, total
        self.failed = 0
        """Failures of this run."""
        self._waiting: list[StagedOutput] = []
        self._adding, self._committing = threading.Lock(), threading.Lock()

    def __call__(self, staged: StagedOutput) -> None:
        """Commit an output or a failure; returns after that. StorageError if the folder cannot be written."""
        with self._adding:
            self._waiting.append(staged)
        with self._committing:
            with self._adding:
                group, self._waiting = self._waiting, []
            if group:  # else another thread has committed it
                self._commit(group)

    def commit_all(self, group: Sequence[StagedOutput]) -> None:
        """Commit several outputs or failures at once."""
        with self._committing:
            self._commit(group)

    def report_progress(self) -> None:
        """Call `progress` with the counts so far."""
        self.progress(self.result.done + self.failed, self.failed, self.total)

    def _commit(self, group: Sequence[StagedOutput]) -> None:
        try:
            self.manifest.add(staged.line for staged in group)
            for staged in group:
                self._count(self._rename(staged))
        except OSError as e:
            raise StorageError(
                f"{self.converter.output}: cannot be written: {e.strerror}; run the same command again to resume"
            ) from e
        self.report_progress()

    def _rename(self, staged: StagedOutput) -> StagedOutput:
        """Rename an output to its final name; return it, or a failure where that is not possible."""
        if staged.temporary is None:
            return staged
        try:
            os.replace(staged.temporary, self.converter.output / staged.item.output)
        except OSError as e:
            staged.temporary.unlink(missing_ok=True)
            if atomic.is_storage_failure(e):
                raise
            staged = self.converter.failed(staged.item, e, time.monotonic())
            self.manifest.add([staged.line])
        return staged

    def _count(self, staged: StagedOutput) -> None:
        if staged.temporary is None:
            self.failed += 1
            self.result.failures[staged.item.input] = staged.line["error"]
        else:
            self.result.done += 1
            self.result.notices.update(staged.line.get("notices", ()))
