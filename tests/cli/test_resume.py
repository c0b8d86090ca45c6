"""`translate resume RUN`: runs, folders and flags that it refuses."""

import json
import os
import shutil
from pathlib import Path

import pytest

from translate import cli, locks

from .conftest import (
    SMALL,
    Fails,
    Run,
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


def test_resume_of_moved_data(run: Run, fails: Fails, paired_root: Path) -> None:
    """Run and data that are moved together are found; data that is moved alone is named, and found with --root."""
    shutil.copytree(paired_root, "project/data")
    os.chdir("project")
    run("train", "pix2pix", "data", *SMALL, "--images", 2, "--run", "checkpoints/night")
    os.chdir("..")
    shutil.move("project", "moved")
    run("resume", "moved/checkpoints/night", "--images", 3)
    assert json.loads(run("status", "moved/checkpoints/night", "--json")[0][0])["run"]["data"].endswith("/moved/data")
    shutil.move("moved/data", "pairs")
    fails(["resume", "moved/checkpoints/night", "--images", 4], 3, "--root DIR", "moved/data")
    _, said = run("resume", "moved/checkpoints/night", "--images", 4, "--root", "pairs")
    assert not any("has changed" in line for line in said)
    shutil.move("moved/checkpoints/night", "night")
    run("resume", "night", "--images", 5)  # moved alone: the data is where it was
    run(
        "train", "pix2pix", "pairs", "--config", "night/config.toml", "--images", 1, "--run", "day"
    )  # its record is no setting


def test_resume_from_a_kept_checkpoint(run: Run, fails: Fails, kept_run: Path) -> None:
    shutil.copytree(kept_run, "checkpoints/night")
    fails(["resume", "night", "--from", 8], 2, "--run NEW")
    fails(["resume", "night", "--run", "day"], 2, "--from N")
    fails(["resume", "night", "--from", 5, "--run", "day"], 4, "night@4", "night@8", "night@9", "night@10")
    fails(["resume", "night@8"], 4, "translate resume night --from 8 --run NEW")
    run("resume", "night", "--from", 8, "--run", "day", "--images", 9)
    lines, _ = run("status", "day")
    assert any(line.split() == ["forked", "from", "night@8"] for line in lines)


def test_a_run_that_is_in_use(
    fails: Fails, run_folder: Path, paired_root: Path, mixed_photos: Path, one_way_model: Path
) -> None:
    with locks.lock_folder(run_folder, ""):
        fails(["resume", run_folder], 5, str(run_folder), f"process {os.getpid()}", "--run")
        fails(["train", "pix2pix", paired_root, *SMALL, "--images", "9", "--run", run_folder], 5, str(run_folder))
    Path("out").mkdir()
    with locks.lock_folder(Path("out"), ""):
        fails(["convert", one_way_model, mixed_photos, "out"], 5, "out", f"process {os.getpid()}")
