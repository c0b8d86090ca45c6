"""Inputs of a conversion: images, folders, globs and links."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from translate.conversion.job import ConversionResult
from translate.errors import DataError, UsageError

from .output_folder import lines, save, tree

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]


def test_other_files_are_counted_and_hidden_ones_are_not(convert: Convert, source: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", "deep/no extension", "deep/x.zip", ".hidden.png", ".git/x.png"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("no picture")
    result = convert(source, tmp_path / "out")
    assert (result.done, result.others, result.failures) == (5, 3, {})
    assert len(lines(tmp_path / "out")) == 5


def test_links_to_images_and_to_folders_are_read(convert: Convert, source: Path, draw: Draw, tmp_path: Path) -> None:
    """But no image twice, and what is written is no input, by whatever link the output folder is reached."""
    save(tmp_path / "elsewhere" / "x.png", draw(11))
    (source / "link.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (source / "folder").symlink_to(tmp_path / "elsewhere")
    (source / "round").symlink_to(source)
    (tmp_path / "out").mkdir()
    (source / "written").symlink_to(tmp_path / "out")
    said: list[str] = []
    for _ in range(2):
        result = convert(source, tmp_path / "out", said=said)
        names = {"1.png", "2.jpg", "deep/er/3.webp", "deep/4.tif", "5.JPG", "link.png", "folder/x.png"}
        assert tree(tmp_path / "out").keys() == names
        assert not result.failures
    assert not (tmp_path / "out" / "link.png").is_symlink()
    assert not (tmp_path / "out" / "folder").is_symlink()
    assert any("1 linked folders are not entered" in line and "round" in line for line in said)


def test_images_of_other_names_are_told(convert: Convert, source: Path, tmp_path: Path) -> None:
    (source / "a.jpg_large").write_bytes((source / "2.jpg").read_bytes())
    (source / "notes.txt").write_text("no picture")
    said: list[str] = []
    result = convert(source, tmp_path / "out", said=said)
    assert (result.done, result.others) == (5, 2)
    assert [line for line in said if "a.jpg_large" in line and "1 files" in line]


def test_an_output_inside_the_input_is_no_input(convert: Convert, source: Path) -> None:
    for _ in range(2):
        result = convert(source, source / "deep" / "out")
        assert result.failures == {}
    assert (result.done, result.skipped, result.others) == (0, 5, 0)
    assert len(tree(source / "deep" / "out")) == 5


def test_an_input_inside_the_output_works(convert: Convert, source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path).done == 5
    assert convert(source, tmp_path).skipped == 5


@pytest.mark.parametrize(("pattern", "expected"), [
    ("*.png", {"1.png"}), ("[12].*", {"1.png", "2.jpg"}), ("deep/*", {"4.tif"}), ("d*/er/*.webp", {"deep/er/3.webp"}),
    ("**/*.[tw]*", {"deep/er/3.webp", "deep/4.tif"}), ("?.JPG", {"5.JPG"}),
])  # fmt: skip
def test_a_glob(convert: Convert, source: Path, tmp_path: Path, pattern: str, expected: set[str]) -> None:
    convert(f"{source}/{pattern}", tmp_path / "out")
    assert tree(tmp_path / "out").keys() == expected


def test_names_with_the_signs_of_a_glob_are_names_first(convert: Convert, draw: Draw, tmp_path: Path) -> None:
    save(tmp_path / "in [1]" / "a [2].png", draw(15))
    assert convert(tmp_path / "in [1]", tmp_path / "out").done == 1
    assert convert(tmp_path / "in [1]" / "a [2].png", tmp_path / "other").done == 1


@pytest.mark.parametrize("kind", ["empty", "other files", "hidden", "missing", "no match", "one other file"])
def test_nothing_to_convert(convert: Convert, tmp_path: Path, kind: str) -> None:
    source: Path | str = tmp_path / "in"
    (tmp_path / "in").mkdir()
    if kind == "missing":
        source = tmp_path / "nowhere"
    elif kind == "no match":
        source = f"{tmp_path}/in/*.png"
    elif kind != "empty":
        name = {"other files": "x.txt", "hidden": ".x.png", "one other file": "x.txt"}[kind]
        (tmp_path / "in" / name).write_bytes(b"x")
        source = tmp_path / "in" / name if kind == "one other file" else source
    for options in ({}, {"dry_run": True}):
        with pytest.raises(DataError) as caught:
            convert(source, tmp_path / "out", **options)
        assert str(source) in str(caught.value)
        assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file(convert: Convert, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    for name in (source, source / "1.png"):
        with pytest.raises(UsageError, match="out"):
            convert(name, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").read_bytes() == b"mine"
