"""What `translate convert` tells a person, all of it on stderr: how far it is, and in the end what came of it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from translate import images
from translate.callbacks import ProgressCallback
from translate.conversion.options import ConversionResult
from translate.text import duration, printable, rate

if TYPE_CHECKING:
    from rich.table import Table

EVERY = 30
"""Seconds between lines where there is no terminal to draw a bar on."""

SHOWN = 20
"""Failures that are listed; all of them stand in the manifest."""


def format_progress(finished: int, failed: int, total: int, seconds: float) -> str:
    """How far a conversion is, as "1,200 of 100,000 converted, 3 failed, 41/s, 40 min left"; finished includes failed."""
    parts = [f"{finished - failed:,} of {total:,} converted"]
    parts += [f"{failed:,} failed"] if failed else []
    if speed := rate(finished, seconds):
        parts += [speed]
        parts += [f"{duration((total - finished) * seconds / finished)} left"] if finished < total else []
    return ", ".join(parts)


@contextmanager
def show_progress(console: Console) -> Iterator[ProgressCallback]:
    """A bar on a terminal; else a line now and then, for the log of a night's run."""
    if not console.is_terminal:
        yield ProgressReporter(lambda text, counts: print_line(console, text), every=EVERY)
        return
    from rich.progress import BarColumn, TextColumn  # which only a terminal needs
    from rich.progress import Progress as Bars

    with Bars(BarColumn(20), TextColumn("{task.description}", markup=False), console=console, transient=True) as bars:
        task = bars.add_task("", total=None)

        def draw(text: str, counts: tuple[int, int]) -> None:
            bars.update(task, completed=counts[0], total=counts[1], description=text)

        yield ProgressReporter(draw)


class ProgressReporter:
    """Says how far a conversion is each time that it is called, but not before `every` seconds have gone by.

    `say` is given the words, and how many images are finished of how many. Time counts from the first call, when the model
    is loaded and the work begins. The calls may come from several threads.
    """

    def __init__(
        self, say: Callable[[str, tuple[int, int]], None], every: float = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.say, self.every, self.clock = say, every, clock
        self.started: float | None = None
        self._lock = threading.Lock()

    def __call__(self, finished: int, failed: int, total: int) -> None:
        with self._lock:
            now = self.clock()
            if self.started is None:
                self.started = self.told = now
            if now - self.told >= self.every:
                self.told = now
                self.say(format_progress(finished, failed, total, now - self.started), (finished, total))


def print_summary(result: ConversionResult, console: Console, dry_run: bool) -> None:
    """The closing words: failures, notices, and the figures: a table on a terminal, else one line."""
    for name, reason in list(result.failures.items())[:SHOWN]:
        print_line(console, f"failed: {name!r}: {reason}")
    if len(result.failures) > SHOWN:
        print_line(console, f"… and {len(result.failures) - SHOWN:,} more failures, in the manifest")
    for notice, count in sorted(result.notices.items()):
        print_line(console, f"notice: {count:,} images: {notice}")
    if console.is_terminal:
        console.print(_table(result, dry_run))
    else:
        print_line(console, _summary(result, dry_run))


def print_line(console: Console, text: str) -> None:
    """One line, however long, without what would steer a terminal."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _table(result: ConversionResult, dry_run: bool) -> "Table":
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    rows = _counts(result, dry_run)
    rows["by format"] = _formats(result)
    rows["time"] = duration(result.seconds) if result.done else ""
    rows["speed"] = rate(result.done, result.seconds)
    rows["output"] = str(result.output)
    rows["report"] = str(result.report or "")
    for name, value in rows.items():
        if value:
            table.add_row(name, printable(value), style="red" if name == "failed" else None)
    return table


def _summary(result: ConversionResult, dry_run: bool) -> str:
    counts = ", ".join(f"{value} {name}" for name, value in _counts(result, dry_run).items() if value)
    formats = f" ({_formats(result)})" if result.planned else ""
    speed = (
        f" in {duration(result.seconds)} ({rate(result.done, result.seconds)})"
        if result.done and result.seconds
        else ""
    )
    report = f"; report in {result.report}" if result.report else ""
    return f"{counts}{formats}{speed}; output in {result.output}{report}"


def _counts(result: ConversionResult, dry_run: bool) -> dict[str, str]:
    """What is counted; the first stands there even if it is none, the others only where there are any."""
    first = {"would be converted": len(result.planned)} if dry_run else {"converted": result.done}
    others = {"done before": result.skipped, "failed": len(result.failures), "other files passed over": result.others}
    return {name: f"{count:,}" for name, count in (first | others).items() if count or name in first}


def _formats(result: ConversionResult) -> str:
    """How many outputs a dry run would make in which format."""
    formats = Counter(images.extension(item.output) for item in result.planned)
    return ", ".join(f"{count:,} {name}" for name, count in sorted(formats.items()))
