"""`translate convert`: what it prints, converts and refuses."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from translate import api, cli

from .conftest import (
    Fails,
    colours,
)

JSON = {"output", "done", "skipped", "others", "failures", "notices", "seconds", "planned", "failed", "report"}


Convert = Callable[..., tuple[int, str, str]]


@pytest.fixture
def convert(one_way_model: Path, mixed_photos: Path, capfd: pytest.CaptureFixture[str]) -> Convert:
    """Runs the command; its exit code, stdout and stderr."""

    def run(*flags: str) -> tuple[int, str, str]:
        code = cli.run(["convert", str(one_way_model), str(mixed_photos), "out", "--device", "cpu", *flags])
        return code, *capfd.readouterr()

    return run


def test_conversion_without_images(fails: Fails, one_way_model: Path) -> None:
    for source in ("nowhere", "no*where", "."):
        fails(["convert", one_way_model, source, "out"], 3, source)


@pytest.mark.parametrize("name", ["nowhere", "no/where"])
def test_an_unknown_model(fails: Fails, mixed_photos: Path, name: str) -> None:
    fails(["convert", name, mixed_photos, "out"], 4, name, "checkpoints")


def test_a_damaged_model(fails: Fails, mixed_photos: Path, one_way_model: Path) -> None:
    shutil.copytree(one_way_model, "broken")
    Path("broken", "model.safetensors").write_bytes(b"broken")
    fails(["convert", "broken", mixed_photos, "out"], 4, "broken")


def test_a_direction_the_model_does_not_have(fails: Fails, mixed_photos: Path, one_way_model: Path) -> None:
    fails(["convert", one_way_model, mixed_photos, "out", "--to", "a"], 2, "'a'", "b")


@pytest.mark.parametrize("flags", [["--device", "tpu"], ["--device", "cuda:99"], ["--precision", "fp8"]])
def test_a_device_that_is_not_there(fails: Fails, mixed_photos: Path, one_way_model: Path, flags: list[str]) -> None:
    fails(["convert", one_way_model, mixed_photos, "out", *flags], 2, *flags)


def test_an_output_that_is_the_input(fails: Fails, mixed_photos: Path, one_way_model: Path) -> None:
    Path("link").symlink_to(mixed_photos)
    for output in ("photos", "photos/../photos", "link"):
        fails(["convert", one_way_model, mixed_photos, output], 2, output)


def test_an_interrupt_before_the_work(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "convert", interrupt)
    fails(["convert", "m", "in", "out"], 130, "interrupted")


# Output.


def test_some_images_failed(capfd: pytest.CaptureFixture[str], mixed_photos: Path, one_way_model: Path) -> None:
    assert cli.run(["convert", str(one_way_model), str(mixed_photos), "out", "--format", "jpg"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "failed: 'bad.jpg': not an image"
    assert "1 images: jpg holds no transparency" in err
    assert re.search(r"^2 converted, 1 failed, 1 other files ignored.*; output in out$", err, re.MULTILINE)
    (mixed_photos / "bad.jpg").unlink()
    assert cli.run(["convert", str(one_way_model), str(mixed_photos), "out", "--format", "jpg"]) == 0
    assert "0 converted, 2 done before" in capfd.readouterr().err


def test_a_long_list_of_failures_is_cut_and_counted(capfd: pytest.CaptureFixture[str], one_way_model: Path) -> None:
    Path("photos").mkdir()
    for n in range(30):
        Path(f"photos/{n:02}.jpg").write_text("no image")
    assert cli.run(["convert", str(one_way_model), "photos", "out"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert sum(line.startswith("failed: ") for line in lines) == 20
    assert any("10 more" in line for line in lines)
    assert len(Path("out/manifest.jsonl").read_text().splitlines()) == 30


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_json_is_all_there_is_on_stdout(
    capfd: pytest.CaptureFixture[str], mixed_photos: Path, one_way_model: Path, flags: list[str]
) -> None:
    code = cli.run(["convert", str(one_way_model), str(mixed_photos), "out", "--json", *flags])
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert isinstance(result, dict)
    assert len(out.splitlines()) == 1
    if flags:
        assert (code, result["done"], len(result["planned"])) == (0, 0, 3)
        assert not Path("out").exists()
    else:
        assert (code, result["done"], result["failed"]) == (1, 2, 1)
        assert result["failures"] == {"bad.jpg": "not an image"}
    assert err


def test_json_and_an_error(fails: Fails, mixed_photos: Path) -> None:
    fails(["convert", "nowhere", mixed_photos, "out", "--json"], 4, "nowhere")


@pytest.mark.parametrize("name", [b"\xff.png", b"\x1b[31m.png", b"new\nline.png", "猫.png".encode()])
def test_a_dry_run_prints_one_line_for_each_image(
    capsys: pytest.CaptureFixture[str], one_way_model: Path, name: bytes
) -> None:
    colours(Path("photos"), "plain.png", "x.png")
    os.rename("photos/x.png", b"photos/" + name)
    assert cli.run(["convert", str(one_way_model), "photos", "out", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert "plain.png → plain.png" in out
    assert "\x1b" not in out


def test_the_summary_names_the_report(convert: Convert) -> None:
    code, out, err = convert("--report")
    assert (code, out) == (1, "")
    assert Path("out/report.html").is_file()
    assert err.splitlines()[-1].endswith("; output in out; report in out/report.html")


@pytest.mark.parametrize("flags", [[], ["--report"], ["--dry-run"]])
def test_the_object_has_always_the_same_keys(convert: Convert, flags: list[str]) -> None:
    out = convert("--json", *flags)[1]
    told = json.loads(out)
    assert told.keys() == JSON
    assert told["report"] == ("out/report.html" if flags == ["--report"] else None)
    assert told["output"] == "out"


def test_a_dry_run_lists_and_counts(convert: Convert) -> None:
    code, out, err = convert("--dry-run", "--report")
    assert code == 0
    assert out.splitlines() == ["a.png → a.png", "b.bmp → b.png", "bad.jpg → bad.jpg"]
    assert err.splitlines() == ["3 would be converted, 1 other files ignored (1 jpg, 2 png); output in out"]
    assert not Path("out").exists()
    convert()
    assert convert("--dry-run")[2].splitlines() == [
        "1 would be converted, 2 done before, 1 other files ignored (1 jpg); output in out"
    ]


def test_every_flag_arrives(convert: Convert) -> None:
    """Also the latest ones: journals of shards are merged, and a page cannot be made of that."""
    for part in ("0/2", "1/2"):
        convert("--shard", part)
    code, _, err = convert("--merge")
    assert (code, err.splitlines()[-1]) == (
        1,
        "0 converted, 2 done before, 1 failed; output in out",
    )
    assert [path.name for path in Path("out").glob("*.jsonl")] == ["manifest.jsonl"]
    code, _, err = convert("--merge", "--report")
    assert code == 2
    assert "merge first" in err
