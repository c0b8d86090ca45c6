"""Download of a public data set by its name."""

from pathlib import Path

from translate.api.models import say_to_stderr
from translate.callbacks import ProgressCallback, SayCallback, ignore_line
from translate.catalog import cards, get
from translate.catalog.download import DownloadOptions


def get_data(
    name: str,
    root: str | Path = "datasets",
    *,
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
) -> Path:
    """Download or build a public data set below `root`, unless it is there, and return its folder.

    `progress` is called with (amount done, 0, amount in all), for one part after another: bytes of a download, then files of
    the set; the amount in all is 0 while it is not known. The same call again resumes. Raises UsageError for an unknown name,
    DataError, StorageError or BusyError.
    """

    def report(part: str, done: int, total: int | None, unit: str) -> None:
        if progress is not None:
            progress(done, 0, total or 0)

    options = DownloadOptions(say=say or ignore_line, progress=report)
    return get.get_dataset(cards.find_card(name, cards.read_cards()), Path(root), options)
