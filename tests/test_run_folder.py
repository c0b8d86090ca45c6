from pathlib import Path

import pytest

from translate import atomic, run_folder
from translate.errors import ModelError

from .helpers import run_python


def make_run(folder: Path, *files: str) -> Path:
    """A run folder with empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).write_bytes(b"")
    return folder


def test_it_imports_neither_torch_nor_config():
    code = "import sys, translate.run_folder; print([m for m in ('torch', 'translate.config') if m in sys.modules])"
    found = run_python(code).stdout
    assert found.strip() == "[]"


# RUN and the folder.


@pytest.fixture
def here(monkeypatch, tmp_path):
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_run_is_in_checkpoints_unless_it_is_given_as_a_path(here):
    assert str(run_folder.default_run("cyclegan", here / "photos")) == "checkpoints/cyclegan-photos"
    assert str(run_folder.resolve_run("name")) == "checkpoints/name"
    assert str(run_folder.resolve_run("a/b")) == "a/b"
    assert str(run_folder.resolve_run(here / "x")) == str(here / "x")


def test_an_existing_folder_is_taken_before_checkpoints(here):
    for name in ("name", "a/b"):
        (here / "checkpoints" / name).mkdir(parents=True)
        assert run_folder.resolve_run(name) == Path("checkpoints") / name
        (here / name).mkdir(parents=True)
        assert run_folder.resolve_run(name) == Path(name)


def test_a_file_is_no_run(here):
    """It may be a model of the reference implementation; a run of its name is still one to train."""
    make_run(here / "checkpoints/x", "config.toml")
    (here / "x").write_bytes(b"")
    assert run_folder.find_run("x") is None
    assert run_folder.resolve_run("x") == Path("checkpoints/x")


@pytest.mark.parametrize("name", ["config.toml", "stats.jsonl"])
def test_a_run_is_found_by_either_file(here, name):
    make_run(here / "checkpoints/mine")
    assert run_folder.find_run("mine") is None
    make_run(here / "checkpoints/mine", name)
    assert run_folder.find_run("mine") == Path("checkpoints/mine")
    assert run_folder.find_run(here / "checkpoints/mine") == here / "checkpoints/mine"


@pytest.mark.parametrize(
    "name", ["model", "model-best", "model-900", ".model-old", ".model-best-old", ".model-900-old", "state-900.ckpt"]
)
def test_a_model_folder_knows_its_run(tmp_path, name):
    assert run_folder.run_of_model(tmp_path / name) is None
    make_run(tmp_path, "config.toml")
    assert run_folder.run_of_model(tmp_path / name) == tmp_path


@pytest.mark.parametrize("name", ["copy", "model-", "model-x", "models", ".validated", "model-best-2", ".model-new"])
def test_any_other_folder_belongs_to_no_run(tmp_path, name):
    make_run(tmp_path, "config.toml")
    assert run_folder.run_of_model(tmp_path / name) is None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("night@800", ("night", 800)),
        ("a/b@0", ("a/b", 0)),
        (Path("a", "b@08"), ("a/b", 8)),
        ("x@8@9", ("x@8", 9)),
        ("night", None),
        ("@8", None),
        ("night@", None),
        ("night@8x", None),
        ("night@-8", None),
        ("night@٨", None),  # a digit of another script
        ("night@8/model", None),
    ],
)
def test_a_run_at_so_many_images(name, parts):
    assert run_folder.split_checkpoint_name(name) == parts


def test_a_run_is_named_as_it_is_typed():
    assert run_folder.run_name(Path("checkpoints/night")) == "night"
    assert run_folder.run_name(Path("checkpoints/a/night")) == "checkpoints/a/night"
    assert run_folder.run_name(Path("/x/night")) == "/x/night"


def test_data_is_found_beside_the_run_before_where_it_was(tmp_path):
    """A copy of a project, with run and data, uses its own data; a run that was moved alone finds that of before."""
    run, own, old = tmp_path / "copy" / "run", tmp_path / "copy" / "data", tmp_path / "data"
    run.mkdir(parents=True)
    settings = {"root": str(old), "root_from_run": "../data"}
    assert run_folder.find_data_folder(run, settings) is None
    old.mkdir()
    assert run_folder.find_data_folder(run, settings) == old
    own.mkdir()
    assert run_folder.find_data_folder(run, settings) == own
    assert run_folder.find_data_folder(run, {"root": "../data"}) == own
    assert run_folder.find_data_folder(run, {"root": 3}) is None


def test_the_settings_are_read_as_they_stand(tmp_path):
    assert run_folder.read_config(tmp_path) == {}
    (tmp_path / "config.toml").write_text('method = "cut"\nlr = 1\n')
    assert run_folder.read_config(tmp_path) == {"method": "cut", "lr": 1}


@pytest.mark.parametrize("content", [b"lr = ", b"\xff\xfe"], ids=["cut", "binary"])
def test_settings_that_cannot_be_read_are_named(tmp_path, content):
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.toml"):
        run_folder.read_config(tmp_path)


# What is in it.


def test_the_model_is_found_while_it_is_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    newest, previous = run_folder.model_folders(tmp_path)
    assert newest == tmp_path / "model"
    assert previous == atomic.previous_folder(newest)


def test_models_are_found_also_while_they_are_replaced(tmp_path):
    for name in (
        "model", "model-best", "model-8", ".model-16-new", ".model-best-old", "model-x", ".model-8", "model-old", "models",
        ".validated",
    ):  # fmt: skip
        (tmp_path / name).mkdir()
    assert [path.name for path in run_folder.list_model_folders(tmp_path)] == [
        "model",
        "model-16",
        "model-8",
        "model-best",
    ]
    assert run_folder.kept_model_path(tmp_path, 16) in run_folder.list_model_folders(tmp_path)


def test_checkpoints_come_newest_first_and_nothing_else_is_one(tmp_path):
    make_run(tmp_path, "state-9.ckpt", "state-1000.ckpt", "state-20.ckpt", "state-x.ckpt", "state-.ckpt", "state-5.tmp")
    found = run_folder.list_checkpoints(tmp_path)
    assert [run_folder.checkpoint_images(path) for path in found] == [1000, 20, 9]
    assert found == [run_folder.checkpoint_path(tmp_path, images) for images in (1000, 20, 9)]


def test_sample_grids_sort_by_images(tmp_path):
    assert run_folder.sample_path(tmp_path, 1200).relative_to(tmp_path) == Path("samples/00001200.png")
