"""`translate sample MODEL OUTPUT`: what it prints, and models and classes that it refuses."""

import json
from pathlib import Path

import pytest

from .conftest import Fails, Run, write_model


@pytest.fixture(scope="module")
def dcgan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("dcgan") / "m", "dcgan", classes="cat,dog")


def test_images_are_counted_and_not_made_twice(run: Run, dcgan: Path) -> None:
    assert run("sample", dcgan, "out", "--count", "3", "--device", "cpu")[1][-1] == "out: 3 images"
    assert (
        run("sample", dcgan, "out", "--count", "5", "--device", "cpu")[1][-1] == "out: 2 images, 3 were there already"
    )
    out, _ = run("sample", dcgan, "cats", "--count", "2", "--class", "cat", "--device", "cpu", "--json")
    assert json.loads(out[0])["classes"] == {"cat": 2}


def test_a_class_or_a_model_that_does_not_exist(fails: Fails, dcgan: Path, one_way_model: Path) -> None:
    fails(["sample", dcgan, "out", "--class", "cow"], 2, "--class cow", "cat, dog")
    fails(["sample", one_way_model, "out"], 4, str(one_way_model))
    fails(["sample", dcgan, "out", "--format", "bmp"], 2, "--format", "bmp", "png")
