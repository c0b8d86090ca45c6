"""A conversion by the rules of Windows, as far as this system can keep them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from translate import locks
from translate.conversion.job import ConversionResult
from translate.errors import BusyError

from ..helpers import list_files
from ..windows import as_on_windows

Convert = Callable[..., ConversionResult]

MADE = ["1.png", "2.jpg", "5.JPG", "deep/4.tif", "deep/er/3.webp", "manifest.jsonl"]


def test_a_conversion_resumes_and_overwrites(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_windows(monkeypatch)
    out = tmp_path / "out"
    assert convert(source, out, limit=2).done == 2
    assert convert(source, out, report=True).done == 3
    assert convert(source, out, overwrite=True).done == 5
    assert list_files(out) == sorted([*MADE, "report.html"])


def test_shards_are_converted_and_merged(
    convert: Convert, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = as_on_windows(monkeypatch)
    out = tmp_path / "out"
    assert sum(convert(source, out, shard=f"{i}/2").done for i in range(2)) == 5
    convert(source, out, merge=True)
    assert list_files(out) == MADE
    assert {offset for _, offset in places} == {locks.LOCK_BYTE}
    with locks.lock_folder(out, "wait"), pytest.raises(BusyError):
        convert(source, out)
