"""Tier `stream`: files and workers that go away, and albumentations recipes."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from translate.data import albumentations_recipe, layouts
from translate.data.preprocessing import Preprocessing
from translate.errors import DataError, UsageError

from ..helpers import write_smooth_image
from .helpers import first_batches, make_loader, same_batches, write_numbered_images

# Files that are bad, or go away.


PREPROCESSING = Preprocessing(20, 16, True, (3, 3))


def test_files_that_vanish_are_said_in_one_line_whatever_their_names(tmp_path):
    write_smooth_image(tmp_path / "trainA" / "0\n.png", 24, 24, 0)
    write_smooth_image(tmp_path / "trainB" / "0.png", 24, 24, 0)
    batches = make_loader(layouts.find_split(tmp_path, "unpaired"), PREPROCESSING, tier="stream").batches(0)
    next(batches)
    shutil.rmtree(tmp_path / "trainA")
    with pytest.raises(DataError) as caught:
        first_batches(batches, 40)
    assert "\n" not in str(caught.value)
    assert repr(str(tmp_path / "trainA" / "0\n.png")) in str(caught.value)


@pytest.mark.parametrize("workers", [0, pytest.param(1, id="a worker", marks=pytest.mark.slow)])
def test_files_that_vanish_are_one_error_and_no_endless_loop(workers, quick_workers, tmp_path):
    split = write_numbered_images(tmp_path)
    loader = make_loader(split, PREPROCESSING, tier="stream", workers=workers)
    batches = loader.batches(0)
    next(batches)
    shutil.rmtree(tmp_path / "trainB")
    with pytest.raises(DataError) as caught:
        first_batches(batches, 3000)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "trainB") in str(caught.value)


def test_a_file_that_vanishes_is_replaced_and_said(tmp_path):
    split = write_numbered_images(tmp_path)
    said = []
    loader = make_loader(split, PREPROCESSING, tier="stream", said=said)
    batches = loader.batches(0)
    next(batches)
    (tmp_path / "trainA" / "2.png").unlink()
    assert len(first_batches(batches, 60)) == 60
    assert [line for line in said if "2.png" in line and "no such file" in line]


DYING = """
import os, signal, sys, time
from pathlib import Path
import torch
from translate.data import layouts
from translate.data.preprocessing import Preprocessing
from translate.data.loader import Loader, LoaderOptions
from translate.errors import DataError

if __name__ == "__main__":
    split = layouts.find_split(Path(sys.argv[1]), "unpaired")
    options = LoaderOptions(batch_size=1, seed=0, tier="stream", workers=1)
    loader = Loader(split, Preprocessing(20, 16, True, (3, 3)), options, device=torch.device("cpu"))
    for at in ("waiting", "computing"):
        batches = loader.batches(0)
        next(batches)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        (pid,) = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        print("killed", pid, flush=True)
        os.kill(pid, signal.SIGKILL)
        try:
            if at == "computing":
                time.sleep(1)
            for _ in range(3000):
                next(batches)
        except DataError as e:
            print("DataError", e, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker in /proc")
def test_a_worker_that_dies_is_one_line_with_its_number(tmp_path):
    """Whether a batch is waited for or a step computes. In a process of its own, for the signal may end it anywhere."""
    write_numbered_images(tmp_path)
    (tmp_path / "dying.py").write_text(DYING)
    command = [sys.executable, str(tmp_path / "dying.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[2])
    lines = [line for line in done.stdout.splitlines() if line.startswith(("killed", "DataError"))]
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert len(lines) == 4
    for killed, told in (lines[:2], lines[2:]):
        assert f"process {killed.split()[1]}" in told


# Recipes of albumentations.


@pytest.fixture
def blur(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("transforms:\n  - HorizontalFlip: {p: 0.5}\n  - GaussNoise: {p: 0.7}\n  - Rotate: {p: 0.5}\n")
    return albumentations_recipe.load_recipe(path)


@pytest.mark.slow
def test_a_recipe_of_albumentations_gives_the_same_whatever_the_workers_and_the_start(blur, quick_workers, tmp_path):
    split = write_numbered_images(tmp_path)
    build = partial(make_loader, split, PREPROCESSING, tier="stream", batch_size=2, albumentations=blur)
    whole = first_batches(build().batches(0), 8)
    assert same_batches(first_batches(build(workers=2).batches(0), 8), whole)
    assert same_batches(first_batches(build().batches(6), 5), whole[3:])
    assert not same_batches(
        first_batches(make_loader(split, PREPROCESSING, tier="stream", batch_size=2).batches(0), 8), whole
    )


@pytest.mark.parametrize("tier", ["resident", "ram"])
def test_a_recipe_of_albumentations_is_refused_where_images_are_kept(tier, blur, tmp_path):
    with pytest.raises(UsageError, match="--loader stream"):
        make_loader(write_numbered_images(tmp_path), PREPROCESSING, tier=tier, albumentations=blur)


def test_a_recipe_of_albumentations_streams_by_itself(blur, tmp_path):
    assert (
        make_loader(write_numbered_images(tmp_path), PREPROCESSING, tier="auto", albumentations=blur).tier == "stream"
    )


@pytest.mark.slow
def test_what_a_recipe_leaves_too_small_is_one_line_from_a_worker_too(quick_workers, tmp_path):
    """Image 0 is large enough, others are not."""
    for folder in ("trainA", "trainB"):
        for i in range(6):
            write_smooth_image(tmp_path / folder / f"{i}.png", 64 if folder == "trainB" else 20 + 20 * i, 64, i)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "transforms:\n  - Crop: {x_min: 0, y_min: 10, x_max: 64, y_max: 64, pad_if_needed: false, p: 0.6}\n"
    )
    split = layouts.find_split(tmp_path, "unpaired")
    preprocessing = Preprocessing(64, 16, False, (3, 3), "crop")
    with pytest.raises((UsageError, DataError)) as caught:
        first_batches(
            make_loader(
                split, preprocessing, tier="stream", workers=1, albumentations=albumentations_recipe.load_recipe(path)
            ).batches(0),
            40,
        )
    assert "\n" not in str(caught.value)
