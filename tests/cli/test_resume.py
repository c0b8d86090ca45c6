"""`translate resume RUN`: runs, folders and flags that it refuses."""

import os
from pathlib import Path

import pytest

from translate import cli, locks

from .conftest import (
    SMALL,
    Fails,
    contents,
)


@pytest.mark.parametrize("name", ["nowhere", "no/where", "/no/where"])
def test_resume_of_no_run(fails: Fails, name: str) -> None:
    fails(["resume", name], 4, name, "translate train")


def test_resume_of_a_folder_that_is_no_run(fails: Fails, one_way_model: Path) -> None:
    fails(["resume", one_way_model], 4, str(one_way_model))


@pytest.mark.parametrize("content", ["", "method = 'pix2pix'", "method = 'nothing'\nroot = 'x'\nprocesses = 1", "x ="])
def test_resume_of_a_run_with_damaged_settings(
    run_folder: Path, content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (run_folder / "config.toml").write_text(content)
    before = contents()
    assert cli.run(["resume", str(run_folder)]) in (2, 4)
    (line,) = capfd.readouterr().err.splitlines()
    assert "config.toml" in line
    assert contents() == before


def test_resume_with_wrong_flags(fails: Fails, run_folder: Path) -> None:
    fails(["resume", run_folder, "--crop-sise", "32"], 2, "--crop-sise", "--crop-size")
    fails(["resume", run_folder, "--lr", "small"], 2, "--lr", "small")
    fails(["resume", run_folder, "--crop-size", "30", "--load-size", "30"], 2, "--crop-size 30")


def test_a_run_that_is_in_use(
    fails: Fails, run_folder: Path, paired_root: Path, mixed_photos: Path, one_way_model: Path
) -> None:
    with locks.lock_folder(run_folder, ""):
        fails(["resume", run_folder], 5, str(run_folder), f"process {os.getpid()}", "--run")
        fails(["train", "pix2pix", paired_root, *SMALL, "--images", "9", "--run", run_folder], 5, str(run_folder))
    Path("out").mkdir()
    with locks.lock_folder(Path("out"), ""):
        fails(["convert", one_way_model, mixed_photos, "out"], 5, "out", f"process {os.getpid()}")
