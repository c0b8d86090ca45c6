"""The demo, with small networks on a few images: what it writes and returns, and that it resumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate import demo

SMALL = {"batch_size": 2, "g_width": 2, "d_width": 8, "device": "cpu", "diffaugment": ""}


def test_its_images_ship() -> None:
    assert all(
        (demo.data_folder() / task.data / "train").is_dir() or (demo.data_folder() / task.data / "trainA").is_dir()
        for task in demo.TASKS
    )


@pytest.mark.parametrize(
    ("here", "shipped", "model"),
    [(6.0, 7.0, "here/blond-hair"), (7.0, 6.0, "blond-hair"), (6.0, None, "here/blond-hair")],
)
def test_the_better_model_is_advised(here: float, shipped: float | None, model: str) -> None:
    """By the L1 to the true images; the one trained here where none ships."""
    metrics = {"trained here": {"L1 (of 255)": here}, "shipped model": {"L1 (of 255)": shipped}}
    known = {name: values for name, values in metrics.items() if values["L1 (of 255)"] is not None}
    purpose, command = demo.next_commands(Path("here"), {"blond-hair": known})[0]
    assert command == f"translate convert {model} datasets/avatar_hair/testA here/blond --report"
    assert ("trained here" in purpose) == model.startswith("here")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> demo.DemoTask:
    """Two tasks with 4 training pairs and 9 held-out ones; the shipped model of the first is the one that the demo trains."""
    for split, count in (("train", 4), ("test", 9)):
        for domain in "AB":
            folder = tmp_path / "data" / "tiny" / f"{split}{domain}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng(i + ord(domain)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    task = replace(demo.TASKS[0], data="tiny", warm_up=4, size=32)
    train = demo.api.train
    monkeypatch.setattr(demo.api, "train", lambda *words, **settings: train(*words, **{**settings, **SMALL}))
    monkeypatch.setattr(demo, "CROP_SIZE", 32)
    monkeypatch.setattr(demo, "TASKS", (task, replace(task, name="flat-to-3d")))
    monkeypatch.setattr(demo, "data_folder", lambda: tmp_path / "data")
    shipped = {task.name: tmp_path / "out" / task.name}
    monkeypatch.setattr(demo.find, "find_named_model", shipped.get)
    return task


def test_it_trains_converts_and_reports(tmp_path: Path, tiny: demo.DemoTask) -> None:
    lines: list[str] = []
    metrics = demo.run_demo(tmp_path / "out", 0.001, lines.append)
    assert metrics.keys() == {tiny.name, "flat-to-3d"}
    table = metrics[tiny.name]
    assert table.keys() == {"trained here", "shipped model", "copying the input", "mean training target"}
    assert table["trained here"] == table["shipped model"]
    assert metrics["flat-to-3d"].keys() == table.keys() - {"shipped model"}, "no such model ships"
    assert any("copying the input" in line for line in lines)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert tiny.title in page
    assert demo.run_demo(tmp_path / "out", 0.001, lines.append) == metrics
