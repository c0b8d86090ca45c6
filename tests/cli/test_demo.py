"""`translate demo`: what it prints, and a duration that it refuses."""

from pathlib import Path

import pytest

from translate.cli import demo

from .conftest import Fails, Run


def test_the_report_and_the_next_commands_are_printed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, float]] = []
    l1 = {"L1 (of 255)": 44.0}
    metrics = {"blond-hair": {"trained here": {"L1 (of 255)": 40.0}, "shipped model": l1}}
    monkeypatch.setattr(demo, "run_demo", lambda out, minutes, say: calls.append((out, minutes)) or metrics)
    out, err = run("demo", "--out", "here", "--minutes", "0.5")
    assert calls == [(Path("here"), 0.5)]
    assert err == []
    assert any(line.startswith("report") and line.endswith("here/report.html") for line in out)
    assert any("translate convert here/blond-hair" in line for line in out)


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_a_duration_that_is_refused(fails: Fails, minutes: str) -> None:
    fails(["demo", "--minutes", minutes], 2, "--minutes")
