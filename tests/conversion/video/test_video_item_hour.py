"""A video of an hour through a model: every frame at its time, in memory that does not grow."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.videos.video_files import times, write_video
from translate.conversion.item import ItemConverter
from translate.conversion.job import ConversionResult
from translate.conversion.output_paths import Item
from translate.trained import translator

pytest.importorskip("av")

FRAMES = 7_200
SECONDS = 3600
MEGABYTES = 16
"""Growth that is allowed: what is kept of a frame, some hundred bytes each, and the allocator's own pieces."""

Convert = Callable[..., ConversionResult]


def resident_bytes() -> int:
    """Memory of this process that lies in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def frame(number: int) -> np.ndarray:
    """A picture (32, 32, 3) with a bar that moves."""
    pixels = np.full((32, 32, 3), 90, np.uint8)
    pixels[:, number % 29 : number % 29 + 3] = (200, 60, number % 251)
    return pixels


@pytest.mark.hours
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the memory of a process as Linux tells it")
def test_an_hour_is_converted_in_flat_memory(
    convert: Convert, build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = np.random.default_rng(0).integers(1, 400, FRAMES - 1)
    shown = [0, *np.cumsum(steps * (90_000 * SECONDS) // steps.sum()).tolist()]  # in units of 1/90000 s
    source = write_video(tmp_path / "in" / "hour.mkv", map(frame, range(FRAMES)), shown, audio=None)
    measured: list[int] = []
    original = ItemConverter.translate_frames

    def translate_frames(converter: ItemConverter, item: Item, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        made: Any = original(converter, item, frames)
        measured.append(resident_bytes())
        return made

    monkeypatch.setattr(ItemConverter, "translate_frames", translate_frames)
    model = translator.load(build("cyclegan", generator="resnet_1blocks"), device="cpu")
    result = convert(tmp_path / "in", tmp_path / "out", model, temporal=0.5)
    assert (result.done, result.failures) == (1, {})
    found, given = times(tmp_path / "out" / "hour.mkv"), times(source)
    assert len(found) == FRAMES
    assert found == given
    assert given[-1] == pytest.approx(SECONDS, rel=0.01)
    half = len(measured) // 2
    first, second = max(measured[:half]), max(measured[half:])
    print(f"resident: {first / 2**20:.1f} MB in the first half, {second / 2**20:.1f} MB in the second")  # noqa: T201
    assert second <= first + (MEGABYTES << 20)
