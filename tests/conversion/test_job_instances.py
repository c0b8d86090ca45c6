"""Conversion of label maps with instance maps (`--instances`): an output is made of both."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translate.conversion.job import ConversionResult
from translate.trained import translator
from translate.trained.translator import Translator

from .output_folder import last, times, tree

Run = Callable[[str], ConversionResult]
NAMES = ("0.png", "deep/1.png", "2.png")


@pytest.fixture(scope="module")
def model(build: Callable[..., Path]) -> Translator:
    """With edges of objects, and weights eight times as large: else edges would change no integer."""
    flags = {"label_count": 3, "instance_edges": True, "generator": "resnet_1blocks", "dropout": False}
    made = translator.load(build("pix2pix", **flags), device="cpu")
    with torch.no_grad():
        for parameter in made.generator_for("b").parameters():
            parameter.mul_(8)
    return made


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Label maps in labels/, and in objects/ an instance map of each with two objects."""
    for number, name in enumerate(NAMES):
        labels = (np.arange(24 * 32).reshape(24, 32) // 100 + number) % 3
        for folder in ("labels", "objects"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "labels" / name)
        write_objects(tmp_path / "objects" / name, 10)
    return tmp_path


def write_objects(path: Path, border: int) -> None:
    """Write an instance map of two objects that meet at a column, uncompressed: all such files have one size."""
    objects = np.where(np.arange(32) < border, 1, 2) + np.zeros((24, 1), int)
    Image.fromarray(objects.astype(np.uint16)).save(path.with_suffix(".tif"), compression=None)


@pytest.fixture
def run(convert: Callable[..., ConversionResult], model: Translator, maps: Path) -> Run:
    return lambda out: convert(maps / "labels", maps / out, model, instances=maps / "objects")


def test_a_changed_instance_map_alone_converts_its_image_anew(run: Run, maps: Path) -> None:
    assert (run("out").done, run("out").done) == (3, 0)
    before, size = tree(maps / "out"), (maps / "objects" / "deep" / "1.tif").stat().st_size
    write_objects(maps / "objects" / "deep" / "1.png", 20)
    assert (maps / "objects" / "deep" / "1.tif").stat().st_size == size
    assert run("out").done == 1
    after = tree(maps / "out")
    assert {name for name in after if after[name] != before[name]} == {"deep/1.png"}
    run("fresh")
    assert after == tree(maps / "fresh")


def test_an_instance_map_of_another_date_and_the_same_content_changes_nothing(run: Run, maps: Path) -> None:
    run("out")
    before = times(maps / "out")
    for path in (maps / "objects").rglob("*.tif"):
        os.utime(path, ns=(1, 1))
    assert run("out").skipped == 3
    assert times(maps / "out") == before


def test_a_kill_loses_no_change_of_an_instance_map(run: Run, maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed where the new line is in the manifest, and the old output still in its place."""

    class Killed(BaseException):
        """A kill: no handler of errors sees it."""

    def dies(*_: object) -> None:
        raise Killed

    run("out")
    write_objects(maps / "objects" / "0.png", 5)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", dies)
        run("out")
    assert run("out").done == 1
    run("fresh")
    assert tree(maps / "out") == tree(maps / "fresh")
    assert run("out").done == 0


def test_an_output_whose_instance_map_is_gone_is_listed_as_failed(run: Run, maps: Path) -> None:
    run("out")
    (maps / "objects" / "0.tif").unlink()
    assert run("out").failures == {"0.png": f"has no instance map of its name in {maps / 'objects'}"}
    assert (maps / "out" / "0.png").exists()


def test_lines_of_versions_that_did_not_record_instance_maps_are_made_again(run: Run, maps: Path) -> None:
    run("out")
    manifest = maps / "out" / "manifest.jsonl"
    text = manifest.read_text(encoding="utf-8")
    assert len(last(maps / "out")["0.png"]["instances"]) == 3
    manifest.write_text(text.replace('"instances"', '"unknown"'), encoding="utf-8")
    assert run("out").done == 3
