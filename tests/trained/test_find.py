"""MODEL: what a path or a name stands for."""

import shutil
from pathlib import Path

import pytest

from translate import api, cli
from translate.errors import ModelError
from translate.trained.find import read_model


@pytest.fixture
def here(kept_run, tmp_path, monkeypatch):
    """A working directory with checkpoints/night, a run that may be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(kept_run, "checkpoints/night")
    return tmp_path


def seen(model):
    return read_model(model).info.trained_on["images"]


@pytest.mark.parametrize(
    ("model", "source", "images"),
    [
        ("night", "model", 10),
        ("checkpoints/night", "model", 10),
        ("night/model-4", "model-4", 4),
        ("night@4", "model-4", 4),
        ("night@8", "model-8", 8),
        ("night@9", "state-9.ckpt", 9),
        ("night@10", "model", 10),
        ("checkpoints/night@08", "model-8", 8),
        (Path("checkpoints", "night@8"), "model-8", 8),
    ],
)
def test_a_run_at_so_many_images(here, model, source, images):
    found = read_model(model)
    assert (found.source, found.info.trained_on["images"]) == (Path("checkpoints/night", source), images)


def test_the_best_model_counts_as_the_one_of_its_images(here):
    """It is what validation measured then, also where no other copy is left."""
    best = seen("night/model-best")
    for path in (f"model-{best}", f"state-{best}.ckpt", "model"):
        place = Path("checkpoints/night", path)
        if place.exists():
            place.rename(f"gone-{path}")
    found = read_model(f"night@{best}")
    assert found.source == Path("checkpoints/night/model-best")


@pytest.mark.parametrize("model", ["night@7", "night@0", "night@11", "checkpoints/night@7"])
def test_it_is_exactly_that_number_or_a_list_of_those_there_are(here, model):
    with pytest.raises(ModelError) as caught:
        read_model(model)
    assert caught.value.exit_code == 4
    for name in ("night@4", "night@8", "night@9", "night@10 ("):
        assert name in str(caught.value)


@pytest.mark.parametrize("model", ["day@8", "night/model@8", "night@", "night@x", "@8", "night@-1", "night@8@9"])
def test_what_names_no_run_is_no_model(here, model):
    with pytest.raises(ModelError, match=model.partition("@")[0] or "@8"):
        read_model(model)


@pytest.mark.parametrize("place", [".", "checkpoints"])
def test_a_path_of_that_name_comes_first(here, place):
    shutil.copytree("checkpoints/night/model-4", Path(place, "night@8"))
    assert seen("night@8") == 4


def test_every_command_that_takes_a_model_takes_it(here, paired_root, capfd):
    """And Python too. Each exits with 0, and what it made is the model's of 4 images."""
    photo = next((paired_root / "test").iterdir())
    known = read_model("night@4").sha256
    for words in (
        ["convert", "night@4", str(photo), "out.png", "--device", "cpu"],
        ["convert", "night@9", str(photo), "nine.png", "--device", "cpu"],
        ["export", "night@4", "copy"],
        ["export", "night@9", "nine"],
        ["status", "night@4"],
        [
            "train",
            "pix2pix",
            str(paired_root),
            "--init-from",
            "night@4",
            "--images",
            "1",
            "--lr",
            "0",
            "--crop-size",
            "32",
        ],
    ):
        assert cli.run(words) == 0, capfd.readouterr().err
    assert read_model("copy").sha256 == known == api.load("night@4", device="cpu").sha256
    assert read_model("nine").sha256 == read_model("night@9").sha256 != known
    for images in (4, 9):
        assert api.evaluate(f"night@{images}", paired_root, metrics=["l1"], device="cpu")["subject"]["sha256"]
        (row,) = [row for row in api.status("night")["run"]["saved"] if "test" in row["metrics"]]
        assert row["images"] == images  # in the run's metrics.json, which is of the last evaluation
    assert seen(next(path for path in Path("checkpoints").iterdir() if path.name != "night")) == 1
    assert Path("nine.png").is_file()
