"""Models of a run: what it holds after how many images, from its names and the descriptions of its models."""

import json
from pathlib import Path

import pytest

from translate.trained.run_models import SavedModel, describe_saved, list_saved_models

from ..helpers import run_python


def write(run: Path, checkpoints: list[int], models: dict[str, int]) -> Path:
    """Write a run folder of empty checkpoints, and of descriptions of models by the images that they have seen."""
    run.mkdir(parents=True)
    for images in checkpoints:
        (run / f"state-{images}.ckpt").touch()
    known = {
        "method": "cut", "networks": {}, "directions": {"b": "g"}, "size": {"multiple_of": 4, "minimum": 8},
        "domains": {"a": {"channels": 3, "range": [-1, 1]}}, "norm_statistics": "sample", "dropout": "off",
    }  # fmt: skip
    trained = {"data": "x", "crop_size": 1, "load_size": 1}
    for name, images in models.items():
        (run / name).mkdir()
        text = json.dumps({**known, "trained_on": {**trained, "images": images}})
        (run / name / "config.json").write_text(text)
    return run


def test_checkpoints_and_models_of_as_many_images_are_one(tmp_path):
    """The one that is kept for good comes first: the others may be replaced at any time."""
    run = write(tmp_path / "run", [8, 20, 16], {"model": 20, "model-best": 8, "model-8": 8})
    found = list_saved_models(run)
    assert found == [
        SavedModel(8, (run / "model-8", run / "model-best"), run / "state-8.ckpt"),
        SavedModel(16, (), run / "state-16.ckpt"),
        SavedModel(20, (run / "model",), run / "state-20.ckpt"),
    ]
    assert [(saved.is_newest, saved.is_best) for saved in found] == [(False, True), (False, False), (True, False)]


def test_they_are_listed_by_the_names_to_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "checkpoints" / "night", [8], {"model": 20, "model-best": 20})
    for run, name in ((Path("checkpoints/night"), "night"), (Path("checkpoints/../checkpoints/night"), None)):
        found = describe_saved(run, list_saved_models(run))
        assert found == f"{name or run}@8, {name or run}@20 (last, best)"
    assert describe_saved(Path("x"), []) == "nothing yet"


def test_the_newest_is_found_while_it_is_replaced(tmp_path):
    """Between the two renames there is only the old one, and the new one is not yet in its place."""
    run = write(tmp_path / "run", [], {".model-old": 10, ".model-new": 20})
    (saved,) = list_saved_models(run)
    assert (saved.images, saved.folders, saved.is_newest) == (10, (run / ".model-old",), True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"method": 1}', "\ud800", "IMAGES"])
def test_a_damaged_model_is_left_out(tmp_path, text):
    run = write(tmp_path / "run", [8], {"model-8": 8})
    path = run / "model-8" / "config.json"
    text = path.read_text().replace('"images": 8', '"images": []') if text == "IMAGES" else text
    path.write_bytes(text.encode(errors="surrogatepass"))
    assert list_saved_models(run) == [SavedModel(8, (), run / "state-8.ckpt")]


def test_a_folder_that_is_gone_holds_nothing(tmp_path):
    assert list_saved_models(tmp_path / "nowhere") == []


def test_it_imports_no_torch():
    code = "import sys, translate.trained.run_models; print('torch' in sys.modules)"
    assert run_python(code).stdout.strip() == "False"
