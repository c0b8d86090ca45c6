"""The demo, with small networks on a few images: what it writes and returns, and that it resumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate import demo
from translate.errors import ModelError

SMALL = {"batch_size": 2, "g_width": 2, "d_width": 2, "crop_size": 32, "load_size": 32, "device": "cpu"}


def test_its_images_ship() -> None:
    assert all(
        (demo.data_folder() / task.data / "train").is_dir() or (demo.data_folder() / task.data / "trainA").is_dir()
        for task in demo.TASKS
    )


@pytest.mark.parametrize(
    ("here", "shipped", "model"), [(40.0, 44.0, "here/summer-to-winter"), (44.0, 40.0, "summer-to-winter")]
)
def test_the_better_model_is_advised(here: float, shipped: float, model: str) -> None:
    """By the L1 to the true winters."""
    metrics = {"trained here": {"L1 (of 255)": here}, "shipped model": {"L1 (of 255)": shipped}}
    purpose, command = demo.next_commands(Path("here"), {"summer-to-winter": metrics})[0]
    assert command == f"translate convert {model} datasets/earth_season/testA here/winter --report"
    assert ("trained here" in purpose) == (here < shipped)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> demo.DemoTask:
    """One task with 4 training pairs and 9 held-out ones; the shipped model is the one that the demo trains."""
    for split, count in (("train", 4), ("test", 9)):
        for domain in "AB":
            folder = tmp_path / "data" / "tiny" / f"{split}{domain}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng(i + ord(domain)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    task = replace(demo.TASKS[0], data="tiny", warm_up=4, settings=SMALL)
    monkeypatch.setattr(demo, "SIZE", 32)
    monkeypatch.setattr(demo, "COMMON", {})
    monkeypatch.setattr(demo, "TASKS", (task, replace(task, name="summer-to-winter")))
    monkeypatch.setattr(demo, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(demo, "_shipped_model", lambda name: tmp_path / "out" / name)
    return task


def test_it_trains_converts_and_reports(tmp_path: Path, tiny: demo.DemoTask) -> None:
    lines: list[str] = []
    metrics = demo.run_demo(tmp_path / "out", 0.001, lines.append)
    assert metrics.keys() == {tiny.name, "summer-to-winter"}
    table = metrics[tiny.name]
    assert table.keys() == {"trained here", "shipped model", "copying the input", "mean training target"}
    assert table["trained here"] == table["shipped model"]
    assert any("copying the input" in line for line in lines)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert tiny.title in page
    assert demo.run_demo(tmp_path / "out", 0.001, lines.append) == metrics


def test_a_model_that_does_not_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.find, "find_named_model", lambda name: None)
    with pytest.raises(ModelError, match="checkpoints/some"):
        demo._shipped_model("some")
