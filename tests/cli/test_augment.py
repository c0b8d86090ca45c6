"""`translate augment MODEL LABELLED_ROOT OUT`: what it prints, and its exit codes."""

import json
from pathlib import Path

import pytest

from .conftest import Fails, Run, colours


@pytest.fixture
def classes() -> Path:
    for name in ("cat", "dog"):
        colours(Path("in") / name, "1.png", "2.png")
    return Path("in")


def test_counts_and_json(run: Run, classes: Path, two_way_model: Path) -> None:
    out, err = run("augment", two_way_model, classes, "out", "--ratio", "0.5", "--device", "cpu")
    assert out == []
    assert err[-2:] == [
        "translations by class: cat 1, dog 1",
        "4 images, 4 of them for training, 2 translated; output in out",
    ]
    out, _ = run("augment", two_way_model, classes, "out", "--ratio", "0.5", "--device", "cpu", "--json")
    found = json.loads(out[0])
    assert (found["done"], found["skipped"], found["classes"], found["failed"]) == (0, 2, {"cat": 1, "dog": 1}, 0)


def test_a_dry_run_lists(run: Run, classes: Path, two_way_model: Path) -> None:
    out, err = run("augment", two_way_model, classes, "out", "--dry-run", "--device", "cpu")
    assert len(out) == 4
    assert all(line.endswith("-translated.png") for line in out)
    assert "4 would be translated" in err[-1]
    assert not Path("out").exists()


def test_refusals(fails: Fails, classes: Path, two_way_model: Path) -> None:
    fails(["augment", two_way_model, classes, "out", "--ratio", "2", "--device", "cpu"], 2, "--ratio 2", "--to b")
    fails(["augment", two_way_model, "absent", "out", "--device", "cpu"], 3, "absent")
    fails(["augment", "absent", classes, "out", "--device", "cpu"], 4, "absent")
