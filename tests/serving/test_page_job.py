"""Work of the page without the page: names, order, failures, the zip, and bytes that are those of `convert`."""

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from translate.errors import UsageError
from translate.serving.conversion_service import ConversionService
from translate.serving.page_job import (
    KEPT_SECONDS,
    PageChoices,
    PageResult,
    convert_files,
    distinct_names,
    remove_old,
    safe_name,
    show_pair,
    write_zip,
)
from translate.trained.translator import Translator

from .conftest import Encode


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\x.png", "x.png"),
        ("/abs/a.png", "a.png"),
        ("..", "image"),
        ("", "image"),
        ("a\x00b\n.png", "a_b_.png"),
        ("C:evil.png", "C_evil.png"),
        ("CON.png", "_CON.png"),
        ("été 1.png", "été 1.png"),
        ("x" * 300 + ".png", "x" * 116 + ".png"),
    ],
)
def test_names_have_no_folders_and_nothing_that_a_system_refuses(given: str, name: str) -> None:
    assert safe_name(given) == name


def test_names_are_distinct_on_disks_that_know_no_case() -> None:
    assert distinct_names(["a.png", "A.png", "x/a.png", "a"]) == ["a.png", "A (2).png", "a (3).png", "a"]


@pytest.fixture
def uploads(tmp_path: Path, encode: Encode) -> list[Path]:
    """Files as a browser uploads them: two have one name, and one is broken."""
    files = {"1/photo.jpg": "JPEG", "2/photo.jpg": "JPEG", "3/drawing.bmp": "BMP", "4/broken.png": "PNG"}
    for number, (name, kind) in enumerate(files.items()):
        path = tmp_path / "uploads" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(encode(kind, seed=number)[: 60 if "broken" in name else None])
    return [tmp_path / "uploads" / name for name in files]


def test_outputs_have_the_bytes_and_names_of_convert_in_the_order_of_the_files(
    uploads: list[Path], tmp_path: Path, convert: Any, service: ConversionService, cyclegan: Translator
) -> None:
    folder, plain = tmp_path / "results", tmp_path / "plain"
    folder.mkdir()
    plain.mkdir()
    counts: list[tuple[int, int]] = []
    results = convert_files(
        service, cyclegan, uploads, PageChoices("a"), folder, progress=lambda done, total: counts.append((done, total))
    )
    assert [result.name for result in results] == ["photo.jpg", "photo (2).jpg", "drawing.png", "broken.png"]
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for name, path in zip(("photo.jpg", "photo (2).jpg", "drawing.bmp"), uploads, strict=False):
        (plain / name).write_bytes(path.read_bytes())
    convert(plain, tmp_path / "out", cyclegan, to="a")
    for result in results[:3]:
        assert result.output is not None
        assert result.output.read_bytes() == (tmp_path / "out" / result.name).read_bytes()
    assert results[3].output is None
    assert results[3].error
    assert str(tmp_path) not in results[3].error


def test_samples_are_numbered_as_by_convert_and_need_a_model_with_noise(
    uploads: list[Path], tmp_path: Path, service: ConversionService, cyclegan: Translator, pix2pix: Translator
) -> None:
    Image.new("RGB", (64, 64), "red").save(uploads[0])
    results = convert_files(service, pix2pix, uploads[:1], PageChoices(samples=2, format="png"), tmp_path)
    assert [result.name for result in results] == ["photo-0.png", "photo-1.png"]
    first, second = (result.output.read_bytes() for result in results if result.output)
    assert first != second
    with pytest.raises(UsageError, match="--samples"):
        convert_files(service, cyclegan, uploads, PageChoices(samples=2), tmp_path)


def test_too_many_pixels_are_a_failure_of_that_file_in_the_words_of_the_command_line(
    uploads: list[Path], tmp_path: Path, service: ConversionService, cyclegan: Translator
) -> None:
    (result,) = convert_files(service, cyclegan, uploads[:1], PageChoices(), tmp_path, max_pixels=100)
    assert result.error == "12×10 is more than 100 pixels; raise --max-pixels to allow it"


def test_the_zip_holds_the_outputs_by_plain_names(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(2)]
    for number, path in enumerate(files):
        path.write_bytes(bytes([number]) * 9)
    results = [
        PageResult("a.png", files[0], files[0]),
        PageResult("bad.png", files[0], None, "broken"),
        PageResult("b.png", files[1], files[1]),
    ]
    with zipfile.ZipFile(write_zip(results, tmp_path / "all.zip")) as archive:
        assert archive.namelist() == ["a.png", "b.png"]
        assert [archive.read(name) for name in archive.namelist()] == [bytes(9), b"\x01" * 9]


def test_a_pair_says_what_it_shows_and_has_a_slider_for_keys(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encode(width=40, height=20))
    page = show_pair(PageResult('<b>"x".png', path, path))
    assert "<b>" not in page
    assert page.count('src="data:image/webp;base64,') == 2
    assert re.search(r'alt="before"', page)
    assert re.search(r'type="range".*aria-label="before and after: &lt;b&gt;&quot;x&quot;.png"', page)
    assert "--shape: 40 / 20" in page


def test_results_are_removed_after_their_time(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    now = new.stat().st_mtime
    os.utime(old, (now - KEPT_SECONDS - 1,) * 2)
    remove_old(tmp_path, now)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
