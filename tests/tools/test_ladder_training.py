"""Cells of the ladder whose recipe is one of a plug-in: they are trained, saved, loaded, converted and evaluated."""

import json
import subprocess
import sys
from pathlib import Path

import ladder_recipes
import ladder_worker
import pytest
import torch
from ladder_recipes import ELEMENTS, Cell
from PIL import Image

import translate

from ..helpers import write_smooth_image

OF_EACH_PART = {
    ("modern-vision-aided", "pix2pix"), ("modern-bilinear", "cyclegan"), ("modern-patchnce", "cyclegan"),
    ("modern-inpainting", "cyclegan"), ("modern-relativistic-map-r1", "cyclegan"),
}  # fmt: skip
"""A discriminator, a generator, losses of each kind, and a change in time: all others are trained where there are hours.

That their settings are accepted is tested in test_ladder.py.
"""
CELLS = [
    pytest.param(name, method, id=f"{name}-{method}", marks=() if (name, method) in OF_EACH_PART else pytest.mark.hours)
    for name, recipe in ELEMENTS.items() if recipe.plugins or "cycle-features" in name
    for method in recipe.methods
]  # fmt: skip
TOOLS = Path(ladder_worker.__file__).parent


def write_set(folder):
    """Four training and three test images of each domain; their names pair them."""
    for split, count in (("train", 4), ("test", 3)):
        for domain, first in (("A", 0), ("B", 100)):
            for n in range(count):
                write_smooth_image(folder / f"{split}{domain}" / f"{n}.png", 64, 64, first + n)
    return folder


def task_of(name, method, root, run, images):
    """The task of a worker for a cell, as ladder.py makes it, with small batches."""
    cell = Cell("avatar_hair", method, name, 1, 0)
    recipe = ELEMENTS[name]
    return {
        "task": "train", "method": recipe.trained_method(method), "preset": recipe.preset, "root": str(root), "run": str(run),
        "plugins": [str(file) for file in recipe.plugin_files], "length_shares": dict(recipe.length_shares),
        "settings": {**ladder_recipes.training_settings(cell), "batch_size": 2, "crop_size": 32, "load_size": 64},
        "length": ladder_recipes.length_settings(cell, images), "batch_size": 2, "resolved": {}, "commit": "abc", "size": 64,
        "truth": "side by side" if method == "pix2pix" else "names", "sheet": str(run.parent / "sheet.png"),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), CELLS)
def test_a_cell_is_trained_and_evaluated(name, method, tmp_path, monkeypatch):
    """Six steps: those of inpainting and of the penalty are among them. The model translates to any size."""
    monkeypatch.setattr(ladder_worker, "MEASURES", [m for m in ladder_worker.MEASURES if m.metrics[0] in ("swd", "l1")])
    for file in ELEMENTS[name].plugin_files:
        translate.load_plugin(file)
    task = task_of(name, method, write_set(tmp_path / "set"), tmp_path / "run", images=12)
    result = ladder_worker.train(task)
    assert result["diverged"] is False and result["missing"] == {}
    assert {"swd", "l1", "psnr", "ssim"} <= result["metrics"].keys()
    assert Path(task["sheet"]).is_file()
    translate.convert(tmp_path / "run", tmp_path / "set" / "testA" / "0.png", tmp_path / "out.png", device="cpu")
    with Image.open(tmp_path / "out.png") as converted:
        assert converted.size == (64, 64)
    model = translate.load(tmp_path / "run", device="cpu")
    assert model(torch.zeros(1, 3, 40, 56)).shape == (1, 3, 40, 56)


@pytest.mark.slow
def test_a_worker_loads_the_plugin_of_its_task(tmp_path):
    """In a process of its own, as ladder.py calls it."""
    task = task_of("modern-bilinear", "cyclegan", write_set(tmp_path / "set"), tmp_path / "run", images=4)
    command = [
        sys.executable,
        str(TOOLS / "ladder_worker.py"),
        json.dumps({**task, "task": "calibrate", "seconds": 1.0}),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["rate"] > 0
