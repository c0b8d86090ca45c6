"""Changes in a folder and its subfolders, as the system reports them, collected by a thread."""

import threading
from pathlib import Path
from types import TracebackType

from translate.errors import UsageError

STOP_MILLISECONDS = 100
"""Time after which the thread looks whether it is to end."""
DEBOUNCE_MILLISECONDS = 100
"""Time for which changes are collected before they are handed over."""


def check_watchfiles() -> None:
    """Raise UsageError if the package of the extra `watch` is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise UsageError("--watch needs watchfiles: pip install 'image-translate[watch]'") from None


class FolderEvents(threading.Thread):
    """Thread that collects the paths of what is new or changed in a folder; a context manager that starts and ends it.

    It may miss changes: in folders that have just been made, behind links, on shares that other machines write to, and in
    bursts larger than the system's queue. Who relies on completeness must list the folder from time to time.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(name="folder events", daemon=True)
        self.root = root.absolute()
        self.error: str | None = None
        """Reason for which the system reports no changes; None while it does."""
        self._stop_event = threading.Event()
        self._lock = threading.Lock()
        self._changed: set[str] = set()

    def run(self) -> None:
        """Collect changes until the block ends."""
        import watchfiles

        try:
            for changes in watchfiles.watch(
                self.root,
                watch_filter=None,
                debounce=DEBOUNCE_MILLISECONDS,
                step=DEBOUNCE_MILLISECONDS // 2,
                rust_timeout=STOP_MILLISECONDS,
                stop_event=self._stop_event,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                paths = {path for change, path in changes if change != watchfiles.Change.deleted}
                with self._lock:
                    self._changed |= paths
        except Exception as e:  # of the Rust library: its own class, FileNotFoundError, OSError of the limit of watches
            self.error = " ".join(str(e).split())

    def take(self) -> set[str]:
        """Return the absolute paths that have changed since the last call, of files and folders."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def __enter__(self) -> "FolderEvents":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_event.set()
        self.join()
