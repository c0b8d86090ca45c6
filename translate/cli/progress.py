"""Progress display and closing summary of `translate convert`, on stderr, and its result for programs, on stdout."""

import json as json_module
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from translate import images
from translate.callbacks import ProgressCallback
from translate.cli.console import open_console, say
from translate.conversion.options import ConversionResult
from translate.text import duration, printable, rate, step_rate

if TYPE_CHECKING:
    from rich.table import Table

    from translate.conversion.augment.augment_options import AugmentResult

LOG_SECONDS = 30
"""Seconds between progress lines where there is no terminal to draw a bar on."""

MAX_FAILURES = 20
"""Failures that are listed; the manifest has all of them."""


def format_progress(finished: int, failed: int, total: int, seconds: float) -> str:
    """Return the progress of a conversion as "1,200 of 100,000 converted, 3 failed, 41/s, 40 min left".

    `finished` counts the failed images too; `seconds` is the time since the start.
    """
    parts = [f"{finished - failed:,} of {total:,} converted"]
    parts += [f"{failed:,} failed"] if failed else []
    if speed := rate(finished, seconds):
        parts += [speed]
        parts += [f"{duration((total - finished) * seconds / finished)} left"] if finished < total else []
    return ", ".join(parts)


@contextmanager
def show_progress(console: Console) -> Iterator[ProgressCallback]:
    """Show a progress bar on a terminal, else a line every LOG_SECONDS; yields the callback to report progress to."""
    if not console.is_terminal:
        yield ProgressReporter(lambda text, counts: print_line(console, text), every=LOG_SECONDS)
        return
    from rich.progress import BarColumn, Progress, TextColumn  # only a terminal needs them

    with Progress(
        BarColumn(20), TextColumn("{task.description}", markup=False), console=console, transient=True
    ) as display:
        task = display.add_task("", total=None)

        def draw(text: str, counts: tuple[int, int]) -> None:
            display.update(task, completed=counts[0], total=counts[1], description=text)

        yield ProgressReporter(draw)


def format_training(images_seen: int, planned: int, first: int, seconds: float) -> str:
    """Return the progress of a training as "2,800 of 6,000 images, 5.0/s, 12 min left", `seconds` after `first` images."""
    parts = [f"{images_seen:,} of {planned:,} images"]
    if seconds > 0 and (new := images_seen - first) > 0:
        parts += [step_rate(new / seconds), f"{duration(seconds * (planned - images_seen) / new)} left"]
    return ", ".join(parts)


@contextmanager
def show_training() -> Iterator[tuple[Callable[[str], None], ProgressCallback | None]]:
    """Show a bar below the lines of a training on a terminal, else lines alone.

    Yields the function for the lines, and the callback to report progress to, which is None where there is no bar.
    """
    console = open_console()
    if not console.is_terminal or console.quiet:
        yield say, None
        return
    from rich.progress import BarColumn, Progress, TextColumn  # only a terminal needs them

    columns = BarColumn(20), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=None, visible=False)
        first, started = None, 0.0

        def draw(images_seen: int, failed: int, planned: int) -> None:
            nonlocal first, started
            if first is None:  # after the first step, which sets up much
                first, started = images_seen, time.monotonic()
            text = format_training(images_seen, planned, first, time.monotonic() - started)
            display.update(task, completed=images_seen, total=planned, description=text, visible=True)

        yield partial(print_line, console), draw


class ProgressReporter:
    """Progress callback that reports at most every `every` seconds.

    `say` gets the text and the counts (finished, total). Time counts from the first call, when the model is loaded and the
    conversion starts. Calls may come from several threads.
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
                self.started = self.reported = now
            if now - self.reported >= self.every:
                self.reported = now
                self.say(format_progress(finished, failed, total, now - self.started), (finished, total))


def print_result(result: "ConversionResult | AugmentResult", *, json: bool, dry_run: bool) -> None:
    """Print on stdout what programs read: the result as one JSON object, or each input of a dry run with its output."""
    if json:
        values = {
            **asdict(result),
            "output": str(result.output),
            "failed": len(result.failures),
            "notices": dict(result.notices),  # asdict makes pairs of a Counter's keys
            "report": str(result.report) if result.report else None,
        }
        print(json_module.dumps(values))
    elif dry_run:
        for item in result.planned:
            print(f"{printable(item.input)} → {printable(item.output)}")


def print_summary(result: ConversionResult, console: Console, dry_run: bool) -> None:
    """Print failures, notices and counts of a conversion; the counts as a table on a terminal, else as one line."""
    print_failures(result.failures, result.notices, console)
    if console.is_terminal:
        console.print(_table(result, dry_run))
    else:
        print_line(console, _summary(result, dry_run))


def print_failures(failures: Mapping[str, str], notices: Mapping[str, int], console: Console) -> None:
    """Print the reasons of failures by input, also where the console is quiet, and the numbers of images by notice."""
    errors = Console(stderr=True) if console.quiet else console
    for name, reason in list(failures.items())[:MAX_FAILURES]:
        print_line(errors, f"failed: {name!r}: {reason}")
    if len(failures) > MAX_FAILURES:
        print_line(errors, f"… and {len(failures) - MAX_FAILURES:,} more failures; the manifest lists all of them")
    for notice, count in sorted(notices.items()):
        print_line(console, f"notice: {count:,} images: {notice}")


def print_line(console: Console, text: str) -> None:
    """Print one line, however long, with control characters escaped."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _table(result: ConversionResult, dry_run: bool) -> "Table":
    """Return the counts, the speed and the places of the outputs as a table with a row for each."""
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
    """Return the same as one line for a log."""
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
    """Return name → count; counts of zero are left out, but for the first."""
    first = {"would be converted": len(result.planned)} if dry_run else {"converted": result.done}
    others = {"done before": result.skipped, "failed": len(result.failures), "other files ignored": result.others}
    return {name: f"{count:,}" for name, count in (first | others).items() if count or name in first}


def _formats(result: ConversionResult) -> str:
    """Return the number of outputs in each format, for a dry run."""
    formats = Counter(images.extension(item.output) for item in result.planned)
    return ", ".join(f"{count:,} {name}" for name, count in sorted(formats.items()))
