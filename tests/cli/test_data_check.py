"""`translate data check ROOT`: the report for people, the object for programs, and the exit code."""

import json
from pathlib import Path

import pytest

from translate import cli

from .conftest import Fails, Run, folder, noise


def test_a_good_folder(run: Run, unpaired_root: Path) -> None:
    out, _ = run("data", "check", unpaired_root, "--crop-size", "32", "--distance", "0")
    assert "unpaired" in out[0]
    assert not any("training is impossible" in line for line in out)


def test_equal_names_alone_are_no_truth(run: Run, unpaired_root: Path) -> None:
    def truth(*flags: str) -> str:
        shown = " ".join(" ".join(run("data", "check", unpaired_root, "--crop-size", "32", *flags)[0]).split())
        return shown.partition("truth, test ")[2]

    assert truth().startswith("not known: testA and testB in ")
    assert "holds pairs by name (--truth names)" in truth("--truth", "names")
    assert truth("--truth", "none").startswith("not known: --truth none")


def test_a_folder_without_a_domain_cannot_be_trained_on(capfd: pytest.CaptureFixture[str]) -> None:
    folder("data", trainA__1=noise(1), trainB__2=noise(2))
    Path("data/trainB/2.png").write_text("no image")
    assert cli.run(["data", "check", "data", "--json"]) == 3
    out, err = capfd.readouterr()
    (problem,) = json.loads(out)["errors"]
    assert err.splitlines()[-1] == f"error: {problem}"


def test_a_folder_that_is_not_there(fails: Fails) -> None:
    fails(["data", "check", "no/where"], 3, "no/where")
