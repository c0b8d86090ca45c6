"""A generator in tiles: the result is that of the whole image, whatever the tile, norm, size or memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from translate.conversion import tiling
from translate.conversion.tiling import DoesNotFitError
from translate.nn.blocks import keyed_dropout, set_test_time_behaviour
from translate.nn.networks import GENERATORS
from translate.trained.translator import Translator

from .networks import difference, image, resnet, tiled

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


KEY = torch.tensor([2024])


NORMS = [("instance", "sample"), ("batch", "sample"), ("batch", "running"), ("none", "sample")]


def test_a_photo_in_tiles_is_the_photo_as_a_whole() -> None:
    """Without the statistics of the whole the difference would be of the order of 1."""
    assert difference(resnet(blocks=3), image(1100, 1536), 400) < 1e-5


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("norm", "statistics"), NORMS)
@pytest.mark.parametrize("tile", [8, 37, 64, 1000])
def test_every_norm_and_dropout_and_tile(norm: str, statistics: str, dropout: bool, tile: int) -> None:
    net = resnet(norm, dropout=dropout)
    set_test_time_behaviour(net, statistics)
    with keyed_dropout(net, KEY):
        assert difference(net, image(100, 132), tile) < 1e-5


@pytest.mark.parametrize(("norm", "statistics"), NORMS)
def test_in_double_precision(norm: str, statistics: str) -> None:
    net = resnet(norm, dropout=True, dtype=torch.float64)
    set_test_time_behaviour(net, statistics)
    with keyed_dropout(net, KEY):
        assert difference(net, image(84, 60, dtype=torch.float64), 20) < 1e-12


@pytest.mark.parametrize("downs", [1, 3, 4])
def test_any_number_of_halvings(downs: int) -> None:
    """As pix2pixHD's global generator has."""
    x = image(64, 96, dtype=torch.float64)
    assert difference(resnet(downs=downs, blocks=1, width=2, dtype=torch.float64), x, 20) < 1e-12


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 400), (400, 8), (12, 76)])
@pytest.mark.parametrize("channels", [(1, 1), (5, 2)])
def test_other_channels_and_narrow_images(height: int, width: int, channels: tuple[int, int]) -> None:
    assert difference(resnet(channels=channels), image(height, width, channels[0]), 24) < 1e-5


def test_maps_in_a_file_give_the_same_bits(tmp_path: Path) -> None:
    net, x = resnet(), image(100, 132)
    assert torch.equal(tiled(net, x, 40, tmp_path), tiled(net, x, 40))


def test_dropout_in_tiles_is_the_dropout_of_the_whole() -> None:
    """The bound above could be met by a mask that does nothing."""
    net, x = resnet(dropout=True), image(100, 132)
    bare = tiled(net, x, 32)
    with keyed_dropout(net, KEY):
        assert (tiled(net, x, 32) - bare).abs().max() > 0.1


@pytest.mark.parametrize("name", GENERATORS)
def test_networks_of_finite_reach_can_be_tiled(name: str) -> None:
    with torch.device("meta"):
        net = GENERATORS[name](3, 3, 4)
    # Those of other methods reach as far, but have layers that are not computed in part: blurs, zero padding, other ranges.
    assert tiling.is_tileable(net) == name.startswith(("resnet", "srresnet", "resize_unet", "pix2pixhd"))
    assert net.receptive_radius is not None or not tiling.is_tileable(net)


def test_the_stages_are_all_layers_in_their_order() -> None:
    net = resnet(dropout=True)
    assert [layer for stage in net.stages for layer in stage] == list(net.model)


SHORTAGES = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"),
]


@contextmanager
def shortage(monkeypatch: pytest.MonkeyPatch, error: BaseException, most: int) -> Iterator[list[int]]:
    """Convolutions of more than `most` values fail; what they were given is listed."""
    convolve, given = nn.functional.conv2d, []

    def failing(x: Tensor, *arguments: Any) -> Tensor:
        given.append(x.numel())
        if x.numel() > most:
            raise error
        return convolve(x, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(nn.functional, "conv2d", failing)
        yield given


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
def test_tiles_are_halved_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """In every stage: tiles of the image and strips of the kept maps, which are then half overwritten."""
    net, x = resnet(), image(128, 160)
    with torch.inference_mode():
        whole = net(x)
    for most in (50_000, 14_000, 6_000):
        with shortage(monkeypatch, error, most) as given:
            got = tiled(net, x, 160)
        assert max(given) > most
        assert (got - whole).abs().max() < 1e-5


def test_memory_that_runs_out_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    """At any one convolution: what was done stays, what was not is done in smaller parts."""
    net, x = resnet(blocks=1), image(48, 64)
    with torch.inference_mode():
        whole = net(x)
    with shortage(monkeypatch, MemoryError(), 10**9) as given:
        tiled(net, x, 32)
    convolve = nn.functional.conv2d
    for broken in range(len(given)):
        count = iter(range(10**6))

        def failing(*arguments: Any) -> Tensor:
            if next(count) == broken:  # noqa: B023
                raise MemoryError
            return convolve(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(nn.functional, "conv2d", failing)
            assert (tiled(net, x, 32) - whole).abs().max() < 1e-5, broken


def test_the_least_tile_is_too_large(
    cyclegan: Translator, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shortage(monkeypatch, MemoryError(), 0), pytest.raises(DoesNotFitError, match="60 × 52 pixels") as caught:
        tiling.TiledTranslation(cyclegan, "b", tile=64, scratch=tmp_path)(draw(0, 60, 50))
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_another_failure_is_not_taken_for_a_shortage(
    cyclegan: Translator, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shortage(monkeypatch, RuntimeError("no such kernel"), 0) as given, pytest.raises(RuntimeError, match="kernel"):
        tiling.TiledTranslation(cyclegan, "b", tile=64)(draw())
    assert len(given) == 1
