"""`translate data check`: bad files, exit codes and the table."""

import io
import json
import os
import socket

import pytest

from translate.errors import UsageError

from ..helpers import smooth_image
from .helpers import report_of, run_data_check, write_images, write_unpaired

# Counts and layouts.


def test_a_sound_set_has_nothing_to_report(tmp_path, capfd):
    code, out, err = run_data_check(capfd, write_unpaired(tmp_path), "--crop-size", "32", "--json")
    report = json.loads(out)
    assert (code, err, report["errors"], report["warnings"]) == (0, "", [], [])


# Bad files.


def test_bad_files_are_named_with_the_reason(tmp_path):
    write_unpaired(tmp_path)
    folder = tmp_path / "trainA"
    buffer = io.BytesIO()
    smooth_image(1, 200, 200).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (folder / "empty.png").touch()
    (folder / "text.webp").write_text("no picture")
    (folder / "print.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    (folder / "drawing.psd").write_bytes(b"8BPS")
    (folder / "notes.txt").write_text("not counted")
    facts = report_of(tmp_path)["splits"]["train"]["a"]
    assert (facts["files"], facts["readable"]) == (7, 3)
    reasons = {row["path"]: row["error"] for row in facts["unreadable"]}
    assert reasons.pop("trainA/cut.jpg").startswith("damaged image: ")
    assert reasons == {
        "trainA/empty.png": "empty file",
        "trainA/text.webp": "not an image",
        "trainA/print.jpg": "format not allowed",
    }
    assert facts["passed_over"] == [{"path": "trainA/drawing.psd", "reason": "format not allowed"}]


@pytest.mark.skipif(os.name != "posix", reason="pipes and such names are those of POSIX")
def test_what_is_no_file_is_passed_over_and_any_name_can_be_shown(tmp_path, capfd):
    write_unpaired(tmp_path)
    folder = tmp_path / "trainA"
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "folder.jpg").mkdir()
    write_images(tmp_path, "trainA/folder.jpg/inside.png")
    (folder / "linked").symlink_to(folder)
    write_images(tmp_path, "elsewhere/x.png")
    (folder / "entered").symlink_to(tmp_path / "elsewhere")
    (folder / "photo").write_bytes((folder / "a0.png").read_bytes())
    line, bytes_ = folder / "two\nlines.jpg", os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.jpg")
    line.touch()
    open(bytes_, "w").close()
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(folder)  # the name of a socket must be short
        s.bind("socket.png")
    code, out, err = run_data_check(capfd, tmp_path, "--json")
    facts = json.loads(out)["splits"]["train"]["a"]
    assert (code, facts["files"], facts["readable"]) == (0, 7, 5)
    assert {row["path"].removeprefix("trainA/"): row["reason"] for row in facts["passed_over"]} == {
        "pipe.png": "not a regular file",
        "socket.png": "not a regular file",
        "device.png": "not a regular file",
        "gone.png": "broken link",
        "loop.png": "link loop",
        "folder.jpg": "folder named like an image",
        "linked": "linked folder that is listed already",
        "photo": "image without an image's extension",
    }
    assert {row["path"] for row in facts["unreadable"]} == {"trainA/two\nlines.jpg", "trainA/\udcff\udcfe.jpg"}
    code, out, err = run_data_check(capfd, tmp_path)
    assert r"trainA/two\nlines.jpg" in out
    assert r"trainA/\udcff\udcfe.jpg" in out
    assert (code, err) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="such names are those of POSIX")
def test_quarantine_lists_the_bad_files_and_touches_none(tmp_path, capfd):
    root = write_unpaired(tmp_path / "data")
    folder = root / "trainB"
    bad = ["plain.png", "two\nlines.png", "\udcff.png", '"quoted.png']
    for name in bad:
        (folder / name).write_bytes(b"bad")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "drawing.psd").touch()
    before = sorted(root.rglob("*"))
    target = tmp_path / "list"
    code, out, err = run_data_check(capfd, root, "--quarantine", target, "--json")
    assert (code, err) == (0, f"{target}: 5 bad files\n")
    json.loads(out)
    lines = target.read_bytes().splitlines()
    paths = [json.loads(line) if line.startswith(b'"') else os.fsdecode(line) for line in lines]
    assert sorted(paths) == sorted(str(folder / name) for name in [*bad, "gone.png"])
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["trainA", "trainA/a0.png"])
def test_quarantine_takes_the_place_of_no_image_and_no_folder(tmp_path, capfd, name):
    root = write_unpaired(tmp_path)
    before = (root / "trainA/a0.png").read_bytes()
    code, out, err = run_data_check(capfd, root, "--quarantine", root / name)
    assert (code, out) == (2, "")
    assert name in err
    assert (root / "trainA/a0.png").read_bytes() == before


# Exit codes.


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
@pytest.mark.parametrize("defect", ["missing", "empty", "unreadable", "no train"])
def test_what_makes_training_impossible(tmp_path, capfd, defect, json_flag):
    root = write_images(tmp_path, "testA/1.png", "testB/1.png")
    if defect != "no train":
        write_images(root, "trainA/1.png")
    if defect in ("empty", "unreadable"):
        (root / "trainB").mkdir()
    if defect == "unreadable":
        (root / "trainB/1.png").write_text("no picture")
    code, out, err = run_data_check(capfd, root, *json_flag)
    assert code == 3
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert defect == "no train" or f"{root}/trainB: no" in err
    if json_flag:
        assert len(json.loads(out)["errors"]) == 1


@pytest.mark.parametrize("layout", [None, "unpaired", "paired", "images"])
def test_an_empty_folder(tmp_path, capfd, layout):
    code, out, err = run_data_check(capfd, tmp_path, "--json", *(["--layout", layout] if layout else []))
    assert (code, len(err.splitlines()), len(json.loads(out)["errors"])) == (3, 1, 1)


def test_a_missing_folder(tmp_path, capfd):
    code, out, err = run_data_check(capfd, tmp_path / "no", "--json")
    assert (code, out, len(err.splitlines())) == (3, "", 1)


@pytest.mark.parametrize(
    "flags", [{"layout": "nested"}, {"crop_size": 0}, {"load_size": 31}, {"distance": -1}, {"limit": 0}]
)
def test_settings_that_cannot_be(tmp_path, flags):
    with pytest.raises(UsageError, match=next(iter(flags)).replace("load_size", "crop-size").replace("_", "-")):
        report_of(write_unpaired(tmp_path), **flags)


# The table.


def test_the_table_fits_80_columns(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for split in ("train", "val", "test"):
        for d in "AB":
            write_images(tmp_path, *(f"{split}{d}/{i}{d}.png" for i in range(3)), height=30, width=2048)
            (tmp_path / f"{split}{d}" / "bad.png").touch()
    code, out, _ = run_data_check(capfd, tmp_path, "--crop-size", "32")
    assert code == 0
    paragraphs = out.replace(str(tmp_path), "ROOT").splitlines()
    assert max(map(len, paragraphs)) <= 80
    rows = {line[:15].rstrip(): line[15:].split() for line in paragraphs}
    assert rows["files"] == ["4"] * 6
    assert rows["unreadable"] == ["1"] * 6


def test_damaged_files_that_are_read_are_named(tmp_path):
    write_unpaired(tmp_path)
    buffer = io.BytesIO()
    smooth_image(1, 40, 40).save(buffer, "JPEG")
    (tmp_path / "trainA" / "no_end.jpg").write_bytes(buffer.getvalue()[:-2])
    report = report_of(tmp_path)
    facts = report["splits"]["train"]["a"]
    assert facts["damaged"] == [
        {"path": "trainA/no_end.jpg", "damage": "damaged: its last bytes are missing, but no pixel"}
    ]
    assert facts["unreadable"] == []
    assert [line for line in report["warnings"] if "1 files are damaged but are read (trainA/no_end.jpg: " in line]
