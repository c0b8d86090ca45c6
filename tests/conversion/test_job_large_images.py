"""Images that do not fit into memory, in jobs: tiled where the network allows it, refused by name where not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.conversion import job, tiling
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.conversion.tiling import memory
from translate.errors import StorageError, UsageError
from translate.trained.translator import Translator

Convert = Callable[..., ConversionResult]


@pytest.fixture
def source(tmp_path: Path, draw: Callable[..., np.ndarray]) -> Path:
    """A small and a large picture."""
    (tmp_path / "in").mkdir()
    Image.fromarray(draw(0, 16, 16)).save(tmp_path / "in" / "small.png")
    Image.fromarray(draw(1, 330, 250)).save(tmp_path / "in" / "large.png")
    return tmp_path / "in"


def pixels(folder: Path, name: str) -> np.ndarray:
    return images.read(folder / f"{name}.png").pixels.astype(int)


@pytest.fixture
def tiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The shapes of pictures that went through in tiles, with their tile."""
    calls, original = [], tiling.TiledTranslation

    def counting(translator: Translator, to: str, **how: Any) -> Callable[[np.ndarray], np.ndarray]:
        def translate(picture: np.ndarray) -> np.ndarray:
            calls.append((picture.shape[:2], how["tile"]))
            return original(translator, to, **how)(picture)

        return translate

    monkeypatch.setattr(tiling, "TiledTranslation", counting)
    return calls


@pytest.mark.parametrize("scratch", [False, True])
def test_tiles_give_the_whole(
    convert: Convert, source: Path, tmp_path: Path, tiled: list[tuple[Any, ...]], scratch: bool
) -> None:
    place = tmp_path / "scratch"
    place.mkdir()
    convert(source, tmp_path / "whole", tile="off")
    assert tiled == []
    convert(source, tmp_path / "out", tile=96, scratch=place if scratch else None)
    assert tiled == [((250, 330), 96)]  # the small one needs none
    assert np.abs(pixels(tmp_path / "out", "large") - pixels(tmp_path / "whole", "large")).max() <= 1
    assert np.array_equal(pixels(tmp_path / "out", "small"), pixels(tmp_path / "whole", "small"))
    assert list(place.iterdir()) == []


def test_what_does_not_fit_whole_is_tiled_unasked(
    convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path, tiled: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    convert(source, tmp_path / "whole")
    assert tiled == []
    room = tiling.TilePlanner(cyclegan, "b").estimate_whole(250, 330) - 1
    monkeypatch.setattr(memory, "HEAP_BYTES", 0)
    monkeypatch.setattr(memory, "free_memory", lambda device: room / memory.USABLE_FRACTION)
    convert(source, tmp_path / "out")
    assert [shape for shape, _ in tiled] == [(250, 330)]
    assert np.abs(pixels(tmp_path / "out", "large") - pixels(tmp_path / "whole", "large")).max() <= 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_memory_that_runs_out_all_the_same(
    convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path, tiled: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch, error: Exception,
) -> None:  # fmt: skip
    original = cyclegan.translate_pixels

    def failing(pictures: list[np.ndarray], *args: Any, **how: Any) -> list[np.ndarray]:
        if pictures[0].shape[0] > 100:
            raise error
        return original(pictures, *args, **how)

    convert(source, tmp_path / "whole")
    monkeypatch.setattr(cyclegan, "translate_pixels", failing)
    assert convert(source, tmp_path / "out").failures == {}
    assert [shape for shape, _ in tiled] == [(250, 330)]
    assert np.abs(pixels(tmp_path / "out", "large") - pixels(tmp_path / "whole", "large")).max() <= 1
    assert list(convert(source, tmp_path / "off", tile="off").failures) == ["large.png"]


def test_a_unet_fails_on_what_does_not_fit_and_says_what_does(
    convert: Convert, pix2pix: Translator, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tiling.TilePlanner(pix2pix, "b").estimate_whole(250, 330) - 1
    monkeypatch.setattr(memory, "free_memory", lambda device: room / memory.USABLE_FRACTION)
    result = convert(source, tmp_path / "out", model=pix2pix)
    assert (result.done, list(result.failures)) == (1, ["large.png"])
    assert "330 × 250 pixels need about" in result.failures["large.png"]
    assert "fit" in result.failures["large.png"]


def test_tiles_of_a_unet_are_refused_at_once(
    convert: Convert, pix2pix: Translator, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--tile 96: a unet_64"):
        convert(source, tmp_path / "out", model=pix2pix, tile=96)
    assert not (tmp_path / "out").exists()


def test_the_need_of_scratch_is_said_before_the_start(
    convert: Convert, cyclegan: Translator, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    options = ConversionOptions(tile=96, scratch=tmp_path)
    job.convert(cyclegan, source, tmp_path / "out", options, say=said.append)
    assert said[0].startswith("'large.png', the largest: 330×250, ")
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000}))
    with pytest.raises(StorageError, match="free, but") as caught:
        convert(source, tmp_path / "other", tile=96, scratch=tmp_path)
    assert caught.value.exit_code == 6
    assert {path.name for path in (tmp_path / "other").iterdir()} == set()


@pytest.mark.parametrize("options", [{"tile": 7}, {"tile": "some"}, {"tile": -1}, {"scratch": "nowhere"}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"--tile|--scratch nowhere"):
        ConversionOptions(**options)
