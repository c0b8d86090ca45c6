"""Feature maps in scratch files: they have no names, all of their bytes, and leave nothing behind."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from translate.conversion import tiling
from translate.conversion.tiling import DoesNotFitError, feature_maps
from translate.errors import StorageError
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


def test_scratch_files_have_no_names_and_are_gone_at_the_end(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    opened = []

    def look(share: float) -> None:
        assert not list(tmp_path.iterdir())
        opened.append(mapped(tmp_path))

    result = tiling.TiledTranslation(cyclegan, "b", tile=16, scratch=tmp_path, progress=look)(draw(0, 40, 40))
    assert max(opened) == 3  # two maps and the result
    assert opened[-1] == 2  # the second map made room for the decoder
    assert mapped(tmp_path) == 1
    del result
    assert mapped(tmp_path) == 0


def mapped(folder: Path) -> int:
    """Files of a folder that this process maps."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return len({line.split(maxsplit=5)[5] for line in lines if str(folder) in line})


def test_nothing_is_left_when_the_work_is_ended(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiling.TiledTranslation(cyclegan, "b", tile=16, scratch=tmp_path, progress=stop)(draw(0, 40, 40))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_scratch_disk(
    cyclegan: Translator, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Told when the files are made, since writing to mapped memory could only end the process."""
    calls, reserve = iter(range(1, 9)), os.posix_fallocate

    def full(*arguments: int) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(*arguments)

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=f"{tmp_path}: .* No space left on device; make room") as caught:
        tiling.TiledTranslation(cyclegan, "b", tile=16, scratch=tmp_path)(draw(0, 40, 40))
    assert caught.value.exit_code == 6
    assert not list(tmp_path.iterdir())


def test_a_scratch_folder_that_is_not_there(cyclegan: Translator, draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        tiling.TiledTranslation(cyclegan, "b", tile=16, scratch=tmp_path / "none")(draw())


@pytest.mark.parametrize("way", ["reserved", "refused", "absent"])
def test_a_reserved_file_has_all_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def refused(*arguments: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    if way == "refused":
        monkeypatch.setattr(os, "posix_fallocate", refused)
    elif way == "absent":
        monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(feature_maps, "_ZEROS", 1000)
    with open(tmp_path / "file", "w+b") as file:
        feature_maps._fill(file, 123_456)
        stat = os.fstat(file.fileno())
    assert stat.st_size == 123_456
    assert stat.st_blocks * 512 >= 123_456


def test_memory_that_cannot_be_had() -> None:
    with pytest.raises(DoesNotFitError, match=r"^931322\.6 GiB do not fit into memory; give --scratch"):
        feature_maps.allocate_array(None, (10**9, 10**6), np.dtype(np.uint8))
