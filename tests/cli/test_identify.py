"""`translate identify`: what a person and a program get to read."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from translate import cli, images
from translate.images import Mark, Metadata, Picture


def write(path: Path, mark: Mark | None) -> Path:
    metadata = Metadata() if mark is None else Metadata().with_mark(mark)
    path.write_bytes(images.encode(Picture(np.zeros((9, 8, 3), np.uint8), metadata=metadata), "png"))
    return path


def test_good_and_bad_files_are_all_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    unseen = "  content credentials (C2PA): not looked for: c2pa is not installed; run: uv sync --extra c2pa"
    marked = write(tmp_path / "a.png", Mark("tool 1", "pix2pix", "ab12"))
    photo = write(tmp_path / "b.png", None)
    (tmp_path / "c.png").write_text("no image")
    line = {"input": "p.jpg", "output": "b.png", "status": "done", "sha256": "0", "model": "cd" * 32}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    assert cli.run(["identify", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{marked}: made by a model",
        "  mark: compositeWithTrainedAlgorithmicMedia, model pix2pix ab12, tool tool 1",
        unseen,
        f"{photo}: nothing says that a model made it",
        unseen,
        f"  manifest: {tmp_path}/manifest.jsonl: made from p.jpg by model {'cd' * 6} (its content has changed since)",
        f"{tmp_path}/c.png: cannot be read",
        "  error: not an image",
    ]


def test_json_is_one_object_and_the_exit_code_0_where_all_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.png", None)
    assert cli.run(["identify", "--json", str(path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["failed"] == 0
    assert [(entry["file"], entry["made_by_model"]) for entry in answer["files"]] == [(str(path), None)]


def test_what_a_file_says_of_itself_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.png", Mark("tool", "evil\u202egnp", "1"))
    line = {"input": "\x1b[2J", "output": "a.png", "status": "done"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    assert cli.run(["identify", str(path)]) == 0
    assert all(char.isprintable() or char == "\n" for char in capsys.readouterr().out)


def test_no_file_is_wrong_usage() -> None:
    assert cli.run(["identify"]) == 2
