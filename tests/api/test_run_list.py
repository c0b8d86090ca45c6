"""List of the runs in a folder."""

import json
import shutil
from pathlib import Path

import pytest

from translate import api, locks
from translate.errors import DataError

from ..helpers import write_run_folder

POINT = {"images": 1000, "progress": 0.25}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "checkpoints"


def listed(folder="checkpoints"):
    return {row["name"]: row for row in api.runs(folder)["runs"]}


def test_a_row_says_what_status_says(place, kept_run):
    shutil.copytree(kept_run, place / "night")
    row, known = listed()["night"], api.status("night")["run"]
    for key in ("path", "method", "data", "state", "images", "planned", "best", "seen_at"):
        assert row[key] == known[key], key
    assert row["bytes"] == known["disk"]["total"]
    assert (row["kind"], row["problem"], row["state"], row["images"]) == ("run", None, "finished", 10)


def test_the_last_active_run_comes_first_and_what_is_no_run_last(place):
    import os

    for name, seconds in (("old", 100), ("new", 300), ("middle", 200)):
        write_run_folder(place / name, [POINT])
        os.utime(place / name / "stats.jsonl", (seconds, seconds))
    (place / "another").mkdir()
    assert list(listed()) == ["new", "middle", "old", "another"]


def test_a_run_at_work(place):
    run = write_run_folder(place / "night", [POINT])
    assert listed()["night"]["state"] == "stopped"
    with locks.lock_folder(run, "wait"):
        assert listed()["night"]["state"] == "running"


DAMAGED = {
    "no toml": {"config.toml": b"x ="},
    "binary": {"config.toml": b"\xff\xfe"},
    "no method": {"config.toml": b"lr = 1"},
    "another plan": {"config.toml": b'method = "cut"\nimages = [1]'},
    "only statistics": {"stats.jsonl": b'{"images": 3}'},
    "no model": {"config.json": b"[]"},
    "no weights": {"config.json": b'{"method": "cut"}'},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_told_and_hides_no_other_run(place, name):
    write_run_folder(place / "good", [POINT])
    (place / name).mkdir(parents=True)
    for file, content in DAMAGED[name].items():
        (place / name / file).write_bytes(content)
    rows = listed()
    assert rows["good"]["kind"] == "run"
    assert rows[name]["kind"] == "damaged"
    assert rows[name]["problem"]
    assert "\n" not in rows[name]["problem"]


def test_models_and_other_folders_are_listed_as_such(place, build):
    place.mkdir()
    build("cyclegan", folder=_made(place / "model-of-mine"), generator="resnet_3blocks")
    (place / "photos").mkdir()
    (place / "README.md").write_text("no folder")
    (place / ".hidden").mkdir()
    rows = listed()
    assert {name: row["kind"] for name, row in rows.items()} == {"model-of-mine": "model", "photos": "other"}
    assert (rows["model-of-mine"]["method"], rows["photos"]["problem"]) == ("cyclegan", "neither a run nor a model")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_runs_a_level_down_are_listed_by_their_names(place):
    """As RUN is typed: checkpoints/project/night is project/night. Two levels down are another folder's business."""
    write_run_folder(place / "project" / "night", [POINT])
    write_run_folder(place / "deep" / "er" / "night", [POINT])
    assert list(listed()) == ["project/night", "deep"]
    assert api.status("project/night")["run"]["images"] == 1000


def test_without_a_name_status_lists_them(place):
    assert api.status() == api.runs() == {"folder": "checkpoints", "runs": []}
    write_run_folder(place / "night", [POINT])
    assert api.status() == api.runs()
    assert json.loads(json.dumps(api.runs()))["runs"][0]["name"] == "night"


def test_a_folder_that_is_not_there(place):
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        api.runs("elsewhere")
