"""Files that a conversion does not overwrite: inputs, and files that it has not written."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.conversion.job import ConversionResult
from translate.conversion.output_paths import check_distinct, plan_outputs
from translate.conversion.overwrite_guard import InputFiles
from translate.errors import UsageError

from .output_folder import lines, save, tree

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]


def test_an_output_of_somebody_else_is_left_alone(convert: Convert, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_bytes(b"mine")
    for _ in range(2):
        result = convert(source, tmp_path / "out")
        assert result.failures.keys() == {"1.png"}
        assert result.failures["1.png"].startswith("exists")
        assert (tmp_path / "out" / "1.png").read_bytes() == b"mine"
    assert (result.done, result.skipped) == (0, 4)
    assert convert(source, tmp_path / "out", overwrite=True).done == 5
    assert convert(source, tmp_path / "out").skipped == 5


def test_overwrite_makes_all_anew(convert: Convert, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    good = tree(tmp_path / "out")
    result = convert(source, tmp_path / "out", overwrite=True)
    assert (result.done, result.skipped) == (5, 0)
    assert tree(tmp_path / "out") == good
    assert len(lines(tmp_path / "out")) == 10


@pytest.mark.parametrize("kind", ["the same", "a link", "by another way"])
@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"format": "webp"}, {"dry_run": True}], ids=str)
def test_the_input_folder_is_no_output_folder(
    convert: Convert, source: Path, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    (tmp_path / "link").symlink_to(source)
    output = {"the same": source, "a link": tmp_path / "link"}.get(kind, source / "deep" / "..")
    before = tree(source)
    with pytest.raises(UsageError):
        convert(source, output, **options)
    assert tree(source) == before


@pytest.mark.parametrize("kind", ["the same", "a link", "a hard link"])
def test_the_input_file_is_no_output_file(convert: Convert, source: Path, tmp_path: Path, kind: str) -> None:
    path = source / "1.png"
    output = {"the same": path}.get(kind, tmp_path / "x.png")
    if kind == "a link":
        output.symlink_to(path)
    elif kind == "a hard link":
        os.link(path, output)
    before = path.read_bytes()
    try:
        convert(path, output, overwrite=True)
    except UsageError:
        assert kind != "a hard link"
    assert path.read_bytes() == before


def test_links_from_the_output_into_the_input_lead_nowhere(convert: Convert, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "1.png").symlink_to(source / "1.png")
    os.link(source / "2.jpg", out / "2.jpg")
    (out / "deep" / "er").symlink_to(source / "deep" / "er")
    assert convert(source, out).failures.keys() == {"1.png", "2.jpg", "deep/er/3.webp"}
    convert(source, out, overwrite=True)


@pytest.mark.parametrize("limit", [None, 1])
def test_a_linked_folder_in_the_output_replaces_no_input(
    convert: Convert, draw: Draw, tmp_path: Path, limit: int | None
) -> None:
    for seed, name in enumerate(("a/x.png", "b/x.png")):
        save(tmp_path / "in" / name, draw(seed))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "in" / "b")
    assert "a/x.png" in convert(tmp_path / "in", tmp_path / "out", overwrite=True, limit=limit).failures


@pytest.mark.parametrize("place", ["outside", "out/other"])
@pytest.mark.parametrize("depth", ["deep", "deep/er"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_linked_folder_in_the_output_is_not_followed(
    convert: Convert, source: Path, tmp_path: Path, place: str, depth: str, overwrite: bool
) -> None:
    elsewhere, link = tmp_path / place, tmp_path / "out" / depth
    elsewhere.mkdir(parents=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    result = convert(source, tmp_path / "out", overwrite=overwrite)
    below = {name for name in ("deep/4.tif", "deep/er/3.webp") if name.startswith(f"{depth}/")}
    assert result.failures.keys() == below
    assert all(f"{link} is a link" in reason for reason in result.failures.values())
    assert list(elsewhere.iterdir()) == []
    link.unlink()
    assert convert(source, tmp_path / "out").failures == {}


def test_an_output_folder_that_is_a_link_is_followed(convert: Convert, source: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert convert(source, tmp_path / "out").done == 5
    assert (tmp_path / "disk" / "deep" / "4.tif").is_file()


def test_a_manifest_that_is_a_link_is_refused(convert: Convert, source: Path, tmp_path: Path) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    out.mkdir()
    (out / "manifest.jsonl").symlink_to(victim)
    with pytest.raises(UsageError, match="is a link"):
        convert(source, out)
    assert victim.read_text() == "precious"


# The inputs by their real paths.


@pytest.fixture
def files(tmp_path: Path) -> InputFiles:
    """Of the folder in: a file, a link to one in the output folder, and a file in a linked folder; out/b.png is no input."""
    for name in ("in/a.png", "out/made.png", "out/b.png", "elsewhere/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out" / "made.png")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    return InputFiles(tmp_path / "in", ["a.png", "link.png", "more/c.png"], tmp_path / "out")


def test_an_input_is_known_by_its_real_path(files: InputFiles, tmp_path: Path) -> None:
    for name, is_input in {"in/a.png": True, "elsewhere/c.png": True, "out/made.png": True, "out/b.png": False}.items():
        assert (os.path.realpath(tmp_path / name) in files) == is_input
    assert os.path.realpath(tmp_path / "in" / "link.png") in files
    assert str(tmp_path / "in" / "link.png") not in files


def test_only_inputs_in_the_output_folder_are_kept(files: InputFiles, tmp_path: Path) -> None:
    assert os.path.realpath(tmp_path / "out" / "b.png") not in files
    assert files.kept == {os.path.realpath(tmp_path / "out" / "made.png")}


def test_the_plan_of_a_conversion_takes_less_than_500_bytes_a_file(tmp_path: Path) -> None:
    """Of what it allocates for 40,000 files beyond what it does for 20,000: so a million fit into half a gigabyte."""

    def peak(count: int) -> int:
        names = [f"folder-{n // 1000:04}/photo-{n:07}.png" for n in range(count)]
        tracemalloc.start()
        try:
            items = plan_outputs(names, "keep", {})
            check_distinct(items, str)
            assert not InputFiles(tmp_path, names, tmp_path / "out").kept
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40_000) - peak(20_000) < 500 * 20_000
