"""`translate runs`, and `translate status` without a name: a table of the runs, and of whatever else lies there."""

import json
import re
import shutil
from pathlib import Path

import pytest

from translate import cli
from translate.cli.runs import format_best

from ..helpers import run_python, write_run_folder
from .conftest import Fails, Run

Cells = dict[str, list[str]]


def cells(lines: list[str]) -> Cells:
    """Name → the other cells of its row."""
    end = lines.index("")
    return {name: rest for name, *rest in (re.split(r"\s{2,}", line) for line in lines[:end])}


def test_a_table_of_the_runs(run: Run, kept_run: Path) -> None:
    shutil.copytree(kept_run, "checkpoints/night")
    write_run_folder(Path("checkpoints/day"), [{"images": 1500, "progress": 0.375}])
    Path("checkpoints/photos").mkdir()
    lines, _ = run("runs")
    table = cells(lines)
    assert table["run"] == ["method", "data", "images", "best", "last log", "disk", "state"]
    assert (table["day"][:4], table["day"][6]) == (["cyclegan", "earth", "1,500 of 4,000", "–"], "stopped")
    night = table["night"]
    assert (night[0], night[2], night[6]) == ("pix2pix", "10 of 10", "finished")
    assert re.fullmatch(r"l1 [\d.]+ at (4|8|10) \(test\)", night[3])
    assert table["photos"][6] == "other: neither a run nor a model"
    assert lines[-1].startswith("3 in checkpoints, ")
    assert run("status")[0][0] == lines[0]


def test_one_object_for_programs(run: Run) -> None:
    write_run_folder(Path("elsewhere/day"), [{"images": 1500}])
    (line,), _ = run("runs", "elsewhere", "--json")
    known = json.loads(line)
    assert (known["folder"], [row["name"] for row in known["runs"]]) == ("elsewhere", ["day"])
    shutil.move("elsewhere", "checkpoints")
    (line,), _ = run("status", "--json")
    assert json.loads(line)["runs"][0]["path"] == "checkpoints/day"


def test_before_the_first_run(run: Run) -> None:
    assert run("runs")[0] == ["no runs in checkpoints; translate train METHOD ROOT starts one"]


def test_a_folder_that_is_not_there(fails: Fails) -> None:
    fails(["runs", "nowhere"], 3, "nowhere")


def test_names_steer_no_terminal(run: Run) -> None:
    write_run_folder(Path("checkpoints/\x1b[31mred"), [{"images": 1}])
    lines, _ = run("runs")
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("best", "text"),
    [
        (None, "–"),
        ({"metric": "l1", "value": 12.345, "images": 1800, "split": "val"}, "l1 12.35 at 1,800 (val)"),
        ({"metric": "kid", "value": 0.5, "images": None, "split": None}, "kid 0.500"),
    ],
)
def test_the_best_metric_in_words(best: dict | None, text: str) -> None:
    assert format_best(best) == text


def test_it_needs_no_torch() -> None:
    """torch takes seconds to load."""
    write_run_folder(Path("checkpoints/day"), [{"images": 1500}])
    run_python(
        "import sys; from translate import cli; assert cli.run(['runs']) == 0; assert 'torch' not in sys.modules"
    )


def test_a_reader_sees_what_a_run_has_kept(run: Run, kept_run: Path) -> None:
    """The names can be typed as they stand."""
    shutil.copytree(kept_run, "checkpoints/night")
    lines, _ = run("status", "night")
    first = next(n for n, line in enumerate(lines) if line.startswith("kept "))
    rows = [re.split(r"\s{2,}", line) for line in lines[first + 1 : first + 5]]
    names = [row[0].split(" ")[0] for row in rows]
    assert names == ["night@4", "night@8", "night@9", "night@10"]
    assert "last" in rows[3][0]
    assert sum("best" in row[0] for row in rows) == 1
    assert [row[3].startswith("validation: l1 ") for row in rows] == [True, True, False, True]
    for name in names:
        assert cli.run(["status", name]) == 0
