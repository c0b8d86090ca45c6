"""Parts of a job, side by side: every input is made once, by whichever part, as the whole would make it."""

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate import atomic, locks
from translate.conversion.inputs import WHOLE, Shard, resolve_shard
from translate.conversion.manifest import Manifest
from translate.conversion.options import ConversionResult
from translate.conversion.output_paths import Item, check_distinct
from translate.errors import BusyError, UsageError

from ..helpers import read_files

Convert = Callable[..., ConversionResult]


@pytest.fixture
def source(tmp_path: Path, draw: Callable[..., np.ndarray]) -> Path:
    """Images whose names clash with those of other parts, and one that is none."""
    for n in range(12):
        path = tmp_path / "in" / f"{n % 3}" / f"{n}.{('png', 'bmp', 'webp')[n % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(n)).save(path)
    for ext in ("bmp", "webp"):
        Image.fromarray(draw(99)).save(tmp_path / "in" / "0" / f"0.{ext}")
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    return tmp_path / "in"


@pytest.mark.parametrize("count", [2, 5, 40])
def test_parts_make_together_what_the_whole_makes(convert: Convert, source: Path, tmp_path: Path, count: int) -> None:
    whole = convert(source, tmp_path / "whole", format="png")
    parts = [convert(source, tmp_path / "out", format="png", shard=f"{i}/{count}") for i in range(count)]
    assert sum(part.done for part in parts) == whole.done == 14
    assert sum(part.skipped for part in parts) == 0
    assert [failure for part in parts for failure in part.failures] == ["bad.png"]
    assert read_files(tmp_path / "out", "*.png") == read_files(tmp_path / "whole", "*.png")
    made = {path.name for path in (tmp_path / "out").glob("*.jsonl")}
    assert made <= {f"manifest-{i}-of-{count}.jsonl" for i in range(count)}
    assert convert(source, tmp_path / "out", format="png").skipped == 14  # the whole knows what its parts did


def test_merged_journals_are_one(convert: Convert, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for i in range(3):
        convert(source, out, format="png", shard=f"{i}/3")
    expected = {key.input: Manifest(out, "", {}).last_line(key) for key in Manifest(out, "", {}).known_items()}
    result = convert(source, out, merge=True)
    assert (result.done, result.skipped, result.failures) == (0, 14, {"bad.png": "not an image"})
    assert [path.name for path in out.glob("*.jsonl")] == ["manifest.jsonl"]
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert ["convolutions" in line for line in lines] == [True] + [
        False
    ] * 14  # each part's stood in its own first line
    for line in (*lines, *expected.values()):
        line.pop("convolutions", None)
    assert {line["input"]: line for line in lines} == expected
    assert len(lines) == 15
    assert convert(source, out, format="png").skipped == 14
    with pytest.raises(UsageError, match="merge"):
        convert(source, tmp_path / "other", merge=True)


def test_an_input_is_in_one_part_whatever_else_there_is(source: Path) -> None:
    names = [f"{n}/ä {n}.png" for n in range(2000)] + [os.fsdecode(b"caf\xe9.png")]
    for count in (1, 2, 7):
        held = [[Shard(i, count).contains(name) for i in range(count)] for name in names]
        assert all(sum(row) == 1 for row in held)
        sizes = np.sum(held, axis=0)
        assert np.all(np.abs(sizes - 2001 / count) < 5 * np.sqrt(2001 / count))


def test_the_hash_is_for_ever() -> None:
    """The first 8 bytes of SHA-256, by another program: a part that is started next year must hold the same images."""
    digest = subprocess.run(["sha256sum"], input=b"a.png", capture_output=True, check=True).stdout
    number = int(digest[:16], 16)
    assert [i for i in range(10) if Shard(i, 10).contains("a.png")] == [number % 10]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, WHOLE),
        ("1/4", {"RANK": "0", "WORLD_SIZE": "2"}, Shard(1, 4)),
        (None, {"RANK": "3", "WORLD_SIZE": "8"}, Shard(3, 8)),
        (None, {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_STEP": "2"}, Shard(3, 4)),
        ("0/1", {"RANK": "3", "WORLD_SIZE": "8"}, WHOLE),
    ],
)  # fmt: skip
def test_who_says_which_part(text: str | None, environment: dict[str, str], expected: Shard) -> None:
    assert resolve_shard(text, environment)[0] == expected


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "1/0", "1/2/3", "0x1/2"])
def test_parts_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match=f"--shard {text}"):
        resolve_shard(text, {})


def test_parts_run_beside_each_other_but_not_beside_the_whole(convert: Convert, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with locks.lock_folder(out, "", "0-of-2"):
        assert convert(source, out, shard="1/2").done > 0
        for options in ({}, {"shard": "0/2"}):
            with pytest.raises(BusyError):
                convert(source, out, **options)


def test_a_part_leaves_the_half_written_files_of_others(convert: Convert, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for tag in ("0-of-2-", "1-of-2-"):
        atomic.stage(tmp_path / "out" / "x", b"half", tag)
    convert(source, tmp_path / "out", shard="0/2")
    assert [path.name[: len(".translate-1-of-2-")] for path in (tmp_path / "out").glob(".translate-*")] == [
        ".translate-1-of-2-"
    ]
    convert(source, tmp_path / "out")
    assert list((tmp_path / "out").glob(".translate-*")) == []


@pytest.mark.slow
def test_two_processes_at_once(convert: Convert, cyclegan_folder: Path, source: Path, tmp_path: Path) -> None:
    """As torchrun starts them."""
    convert(source, tmp_path / "whole", format="png")
    command = [sys.executable, "-m", "translate", "convert", str(cyclegan_folder), str(source), str(tmp_path / "out")]
    started = [
        subprocess.Popen(
            [*command, "--format", "png", "--device", "cpu"], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "RANK": str(i), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
        )
        for i in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=600)[1] for process in started]
    assert sorted(process.returncode for process in started) == [0, 1], errors
    assert "converting part 1 of 2, from RANK" in errors[1]
    assert read_files(tmp_path / "out", "*.png") == read_files(tmp_path / "whole", "*.png")


def test_names_that_a_disk_takes_for_the_same_are_refused_before_the_start(tmp_path: Path) -> None:
    items = [Item("a.jpg", "a.png"), Item("A.JPG", "A.png"), Item("b.png", "b.png")]
    check_distinct(items, str)
    with pytest.raises(UsageError, match=r"'a\.jpg' and 'A\.JPG'"):
        check_distinct(items, str.casefold)
    accents = [Item("1", "\u00e9.png"), Item("2", "e\u0301.png")]
    with pytest.raises(UsageError):
        check_distinct(accents, lambda name: unicodedata.normalize("NFC", name))


def test_this_disk_tells_case_and_form_apart_or_not(tmp_path: Path) -> None:
    fold = atomic.name_folding(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for one, other in (("a", "A"), ("\u00e9", "e\u0301")):
        (tmp_path / one).touch()
        assert (fold(one) == fold(other)) == (tmp_path / other).exists()
