"""The manifest: what is done is not done again, and what no longer fits is."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import translate
from translate.conversion.job import ConversionResult
from translate.conversion.manifest import Manifest
from translate.conversion.output_paths import ItemKey
from translate.trained.translator import Translator

from .output_folder import CONTRACT_FIELDS, last, lines, save, times, tree

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]


def test_a_line_has_the_fields_of_the_contract(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    for line in lines(tmp_path / "out"):
        assert line.keys() >= CONTRACT_FIELDS
        assert (line["status"], line["error"]) == ("done", None)
        assert line["seconds"] >= 0
        assert (source / line["input"]).is_file()
        assert hashlib.sha256((tmp_path / "out" / line["output"]).read_bytes()).hexdigest() == line["sha256"]


def test_a_second_run_does_nothing(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    before = times(tmp_path / "out"), (tmp_path / "out" / "manifest.jsonl").read_bytes()
    result = convert(source, tmp_path / "out")
    assert (result.done, result.skipped) == (0, 5)
    assert (times(tmp_path / "out"), (tmp_path / "out" / "manifest.jsonl").read_bytes()) == before


def test_a_moved_pair_of_folders_is_still_done(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    (tmp_path / "far").mkdir()
    for folder in (source, tmp_path / "out"):
        folder.rename(tmp_path / "far" / folder.name)
    assert convert(tmp_path / "far" / "in", tmp_path / "far" / "out").skipped == 5


def test_outputs_copied_without_their_times_are_still_done(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    for name in tree(tmp_path / "out"):
        os.utime(tmp_path / "out" / name, ns=(1, 1))
    assert convert(source, tmp_path / "out").skipped == 5


def test_an_input_copied_without_its_time_is_still_done(convert: Convert, source: Path, tmp_path: Path) -> None:
    """Its content is what counts."""
    convert(source, tmp_path / "out")
    os.utime(source / "1.png", ns=(1, 1))
    assert convert(source, tmp_path / "out").skipped == 5


@pytest.mark.parametrize(
    "change", ["input", "input of the same length", "missing", "shorter", "same length", "last line"]
)
def test_what_no_longer_fits_is_made_anew(
    convert: Convert, source: Path, draw: Draw, tmp_path: Path, change: str
) -> None:
    out = tmp_path / "out"
    convert(source, out)
    good = tree(out)
    made = out / "1.png"
    if change == "input":
        save(source / "1.png", draw(14))
    elif change == "input of the same length":
        data = bytearray((source / "1.png").read_bytes())
        data[-6] ^= 1  # in the checksum of the end chunk, which no decoder minds
        (source / "1.png").write_bytes(data)
        os.utime(source / "1.png", ns=(1, 1))
    elif change == "missing":
        made.unlink()
    elif change == "shorter":
        made.write_bytes(good["1.png"][:-1])
    elif change == "same length":
        made.write_bytes(bytes(len(good["1.png"])))
        os.utime(made, ns=(1, 1))
    else:
        line = {**last(out)["1.png"], "status": "failed", "error": "by hand", "sha256": None}
        with open(out / "manifest.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    number = len(lines(out))
    result = convert(source, out)
    assert (result.done, result.skipped, result.failures) == (1, 4, {})
    assert [line["input"] for line in lines(out)[number:]] == ["1.png"]
    assert (tree(out) == good) == (change != "input")
    assert convert(source, out).skipped == 5


@pytest.mark.parametrize("change", ["model", "seed", "to", "quality"])
def test_another_model_or_setting_makes_all_anew(
    convert: Convert, cyclegan: Translator, pix2pix: Translator, source: Path, tmp_path: Path, change: str
) -> None:
    first: dict[str, Any] = {"model": cyclegan if change != "seed" else pix2pix, "format": "webp"}
    second = {
        **first,
        **{"model": {"model": pix2pix}, "seed": {"seed": 1}, "to": {"to": "a"}}.get(change, {"quality": 9}),
    }
    convert(source, tmp_path / "out", **first)
    result = convert(source, tmp_path / "out", **second)
    assert (result.done, result.skipped, result.failures) == (5, 0, {})
    convert(source, tmp_path / "fresh", **second)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_the_same_weights_elsewhere_are_the_same_model(
    convert: Convert, cyclegan_folder: Path, source: Path, tmp_path: Path
) -> None:
    convert(source, tmp_path / "out")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((cyclegan_folder / name).read_bytes())
    assert translate.convert(tmp_path, source, tmp_path / "out", device="cpu").skipped == 5


@pytest.mark.parametrize("missing", [1, 20, 10_000])
def test_a_half_written_last_line_is_survived(convert: Convert, source: Path, tmp_path: Path, missing: int) -> None:
    convert(source, tmp_path / "out")
    good, path = tree(tmp_path / "out"), tmp_path / "out" / "manifest.jsonl"
    whole = path.read_bytes()
    lost = whole.splitlines()[-1]
    path.write_bytes(whole[: -min(missing, len(lost))])
    kept = path.read_bytes()
    result = convert(source, tmp_path / "out", overwrite=False)
    redone = 0 if missing == 1 else 1  # without its line feed a line is whole
    assert (result.done + len(result.failures), result.skipped) == (redone, 5 - redone)
    assert tree(tmp_path / "out") == good
    assert path.read_bytes().startswith(kept)
    if redone:
        assert json.loads(path.read_bytes().splitlines()[-1])["input"] == json.loads(lost)["input"]


@pytest.mark.parametrize(
    "line",
    [b"{}", b"null", b"[1]", b"\xff", b'{"input": "1.png"}', b'{"input": ["1.png"], "status": "done", "output": "1.png"}',
     b'{"input": "1.png", "output": "1.png", "status": "done", "error": null, "seconds": 0, "sha256": null}',
     b'{"input": "1.png", "output": "../1.png", "status": "done", "error": null, "seconds": 0, "sha256": null}'],
)  # fmt: skip
def test_strange_lines_are_passed_over(convert: Convert, source: Path, tmp_path: Path, line: bytes) -> None:
    """Lines of another version, or of nobody. The image that they name is made anew, in the output folder."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_bytes(line + b"\n")
    result = convert(source, tmp_path / "out")
    assert (result.done, result.failures) == (5, {})
    assert not (tmp_path / "1.png").exists()
    assert convert(source, tmp_path / "out").skipped == 5


@pytest.mark.parametrize(
    "change",
    [{"notices": 5}, {"notices": [[1]]}, {"sha256": [1]}, {"error": {}}, {"output": 5}, {"status": None}, {"model": 1}],
    ids=str,
)
def test_a_line_of_another_kind_is_none_of_ours(tmp_path: Path, change: dict[str, Any]) -> None:
    """The line before it counts; without one the input is converted as if it never was."""
    manifest = tmp_path / "manifest.jsonl"
    good = {"input": "1.png", "output": "1.png", "status": "done", "error": None, "sha256": "0", "model": "m"}
    manifest.write_text(json.dumps(good) + "\n" + json.dumps(good | change) + "\n")
    assert Manifest(tmp_path, "m", {}).last_line(ItemKey("1.png")) == good
    manifest.write_text(json.dumps(good | change) + "\n" + "[" * 100_000 + "\n")
    assert not Manifest(tmp_path, "m", {}).known_items()


def test_inputs_of_a_listing_are_no_further_texts(tmp_path: Path) -> None:
    """Of a million files, each of which has a line, the texts of the names are in memory once."""
    line = {"output": "0.png", "status": "done"}
    (tmp_path / "manifest.jsonl").write_text(
        "".join(json.dumps(line | {"input": f"{n}.png"}) + "\n" for n in (0, 2, 4))
    )
    inputs = [f"{n}.png" for n in range(4)]
    known = {key.input for key in Manifest(tmp_path, "m", {}, inputs=inputs).known_items()}
    assert known == {"0.png", "2.png", "4.png"}
    assert {id(name) for name in known - {"4.png"}} == {id(inputs[0]), id(inputs[2])}
