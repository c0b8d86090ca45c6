"""Progress and summary of a conversion, on a terminal and in a log."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from translate.cli.progress import (
    ProgressReporter,
    format_progress,
    format_training,
    print_summary,
    show_progress,
    show_training,
)
from translate.conversion.options import ConversionResult
from translate.conversion.output_paths import Item


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    """One that writes into a text, without colours."""
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, color_system=None, width=70), file


@pytest.mark.parametrize(
    ("counts", "seconds", "lines"),
    [
        ((1203, 3, 100_000), 30, "1,200 of 100,000 converted, 3 failed, 40/s, 41 min left"),
        ((0, 0, 7), 0, "0 of 7 converted"),
        ((7, 0, 7), 3.5, "7 of 7 converted, 2.0/s"),
        ((1, 0, 200), 60, "1 of 200 converted, 1/min, 3 h 19 min left"),
        ((2, 1, 1), 1, "1 of 1 converted, 1 failed, 2.0/s"),
    ],
)
def test_the_line_of_progress(counts: tuple[int, int, int], seconds: float, lines: str) -> None:
    assert format_progress(*counts, seconds) == lines


def test_a_log_has_a_line_every_30_seconds() -> None:
    """The work begins at second 100 and does four images a second; it is looked at every 7 seconds for 2 minutes."""
    now, said = 100, []
    reporter = ProgressReporter(
        lambda text, counts: said.append((now - 100, text, counts)), every=30, clock=lambda: now
    )
    for now in range(100, 221, 7):
        reporter(4 * (now - 100), 0, 1000)
    assert [(second, counts) for second, _, counts in said] == [
        (35, (140, 1000)),
        (70, (280, 1000)),
        (105, (420, 1000)),
    ]
    assert said[1][1] == "280 of 1,000 converted, 4.0/s, 3 min left"


def test_a_log_has_lines_and_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translate.cli.progress.LOG_SECONDS", 0)
    out, file = console(terminal=False)
    with show_progress(out) as progress:
        progress(0, 0, 12_000)
        progress(1, 1, 12_000)
    first, second = file.getvalue().splitlines()
    assert first == "0 of 12,000 converted"
    assert second.startswith("0 of 12,000 converted, 1 failed, ")


def test_a_short_run_without_a_terminal_says_nothing_on_the_way() -> None:
    out, file = console(terminal=False)
    with show_progress(out) as progress:
        progress(0, 0, 2)
        progress(2, 0, 2)
    assert file.getvalue() == ""


def test_on_a_terminal_there_is_a_bar() -> None:
    out, file = console(terminal=True)
    with show_progress(out) as progress:
        progress(0, 0, 12)
        progress(6, 2, 12)
    assert "4 of 12 converted, 2 failed, " in file.getvalue()
    assert "━" in file.getvalue()


def result(**values: object) -> ConversionResult:
    return ConversionResult(Path("out"), **values)  # type: ignore[arg-type]


def closing(lines: ConversionResult, *, terminal: bool, dry_run: bool = False) -> list[str]:
    out, file = console(terminal)
    print_summary(lines, out, dry_run)
    return [re.sub(" {2,}", ": ", line.rstrip()) for line in file.getvalue().splitlines()]


FULL = result(
    done=1200, skipped=30, others=4, failures={"x": "not an image"}, seconds=30.0, report=Path("out/report.html")
)


def test_the_table_on_a_terminal() -> None:
    assert closing(FULL, terminal=True) == [
        "failed: 'x': not an image", "converted: 1,200", "done before: 30", "failed: 1", "other files ignored: 4",
        "time: 30 s", "speed: 40/s", "output: out", "report: out/report.html",
    ]  # fmt: skip


def test_the_line_in_a_log() -> None:
    assert closing(FULL, terminal=False)[-1] == (
        "1,200 converted, 30 done before, 1 failed, 4 other files ignored in 30 s (40/s); output in out; "
        "report in out/report.html"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_to_do(terminal: bool) -> None:
    lines = closing(result(skipped=3), terminal=terminal)
    assert lines == (
        ["converted: 0", "done before: 3", "output: out"] if terminal else ["0 converted, 3 done before; output in out"]
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_dry_run_would_do(terminal: bool) -> None:
    planned = [Item(f"{n}.bmp", f"{n}.png") for n in range(3)] + [Item("x.jpg", "x.jpg")]
    lines = closing(result(planned=planned, skipped=2), terminal=terminal, dry_run=True)
    assert lines == (
        ["would be converted: 4", "done before: 2", "by format: 1 jpg, 3 png", "output: out"]
        if terminal
        else ["4 would be converted, 2 done before (1 jpg, 3 png); output in out"]
    )


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    "name", ["\x1b]0;title\x07.png", "two\nlines.png", "\udcff.png", "[red]x[/red].png", "\u202egpj"]
)
def test_names_and_reasons_do_not_steer_a_terminal(terminal: bool, name: str) -> None:
    lines = closing(result(failures={name: f"exists: {name}"}, notices={f"about {name}": 2}), terminal=terminal)
    assert all(line.isprintable() for line in lines)
    escaped = repr(name)[1:-1]
    assert lines[0] == f"failed: '{escaped}': exists: {escaped}"
    assert lines[1] == f"notice: 2 images: about {escaped}"


def test_twenty_failures_are_listed_and_the_rest_counted() -> None:
    lines = closing(result(failures={f"{n}": "bad" for n in range(1025)}), terminal=True)
    assert sum(line.startswith("failed: '") for line in lines) == 20
    assert lines[20] == "… and 1,005 more failures; the manifest lists all of them"


# Training.


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ((2800, 6000, 800, 400), "2,800 of 6,000 images, 5.0/s, 11 min left"),
        ((800, 6000, 800, 0), "800 of 6,000 images"),
        ((700, 6000, 800, 9), "700 of 6,000 images"),  # back at a checkpoint
    ],
)
def test_the_line_of_a_training(counts: tuple[int, int, int, int], line: str) -> None:
    assert format_training(*counts) == line


def test_a_training_has_a_bar_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    out, file = console(terminal=True)
    monkeypatch.setattr("translate.cli.progress.open_console", lambda: out)
    with show_training() as (say, progress):
        assert progress is not None
        say("a line [with brackets]")
        progress(4, 0, 100)
    assert "a line [with brackets]" in file.getvalue()
    assert "4 of 100 images" in file.getvalue()
    monkeypatch.setattr("translate.cli.progress.open_console", lambda: console(terminal=False)[0])
    with show_training() as (say, progress):
        assert progress is None
