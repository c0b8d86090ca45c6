"""A U-Net of resize-convolutions in windows: the result is that of the whole image, whatever the tile, norm, size or memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from translate.conversion import tiling
from translate.conversion.tiling import DoesNotFitError, TilePlanner
from translate.conversion.tiling.partial_layers import Region
from translate.conversion.tiling.windowed_forward import WindowedForward, window_around
from translate.errors import UsageError
from translate.nn.base import Generator
from translate.nn.blocks import BatchNorm2d, keyed_dropout, set_test_time_behaviour
from translate.nn.init import kaiming_
from translate.nn.networks.pix2pixhd import LocalEnhancer
from translate.nn.networks.resize_unet import ResizeUnetGenerator
from translate.trained import translator

from .networks import cut, image

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]

KEY = torch.tensor([2024])
NORMS = [("instance", "sample"), ("batch", "sample"), ("batch", "running"), ("none", "sample")]
SLACK = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Rounding: sums of the statistics come in another order, and convolutions of other shapes have other kernels."""


def unet(norm: str = "batch", statistics: str = "running", dtype: torch.dtype = torch.float32, **more: Any):
    """A small U-Net whose output spreads over [-1, 1], and whose batch norms have been trained."""
    torch.manual_seed(1)
    net = ResizeUnetGenerator(3, 3, 4, norm, **{"levels": 2, "blocks": 1, **more}).eval()
    net.initialise(net, 0)
    net.model[0].out[1].weight.data.mul_(5)
    for module in net.modules():
        if isinstance(module, BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    set_test_time_behaviour(net, statistics)
    return net.to(dtype)


def windowed(net: Generator, x: Tensor, tile: int) -> Tensor:
    """The network in windows; every value must be written once."""
    parts: list[tuple[Region, Tensor]] = []
    forward = WindowedForward(net, (x.shape[2], x.shape[3]), lambda region: cut(x, region), tile)
    with torch.inference_mode():
        forward.run(lambda region, part: parts.append((region, part)))
        out = torch.full_like(x, torch.nan)
        for region, part in parts:
            cut(out, region).copy_(part)
    assert sum(region.area for region, _ in parts) == x.shape[2] * x.shape[3]
    return out


def difference(net: Generator, x: Tensor, tile: int) -> float:
    """The largest, of windowed and whole."""
    with torch.inference_mode():
        whole = net(x)
    assert whole.std() > 0.1
    assert (whole.abs() < 0.99).double().mean() > 0.5  # where tanh would hide a difference
    return float((windowed(net, x, tile) - whole).abs().max())


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("norm", "statistics"), NORMS)
@pytest.mark.parametrize("tile", [8, 37, 1000])
def test_every_norm_and_dropout_and_tile(norm: str, statistics: str, dropout: bool, tile: int) -> None:
    net = unet(norm, statistics, dropout=dropout)
    with keyed_dropout(net, KEY):
        assert difference(net, image(60, 92), tile) < SLACK[torch.float32]


@pytest.mark.parametrize(("norm", "statistics"), NORMS)
def test_in_double_precision(norm: str, statistics: str) -> None:
    """The borders of the image, where maps of several sizes are reflected, and those of windows: all are exact."""
    net = unet(norm, statistics, torch.float64, levels=3, dropout=True, last_convs=2)
    with keyed_dropout(net, KEY):
        assert difference(net, image(144, 160, dtype=torch.float64), 24) < SLACK[torch.float64]


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "statistics"), NORMS)
def test_a_local_enhancer_in_windows(norm: str, statistics: str) -> None:
    """pix2pixHD's: two paths of unlike reach, means of pixels that end at the border, and two sizes of maps."""
    net = kaiming_(LocalEnhancer(3, 3, 2, norm, downs=1, blocks=1), 5).double().eval()
    set_test_time_behaviour(net, statistics)
    x = image(96, 120, dtype=torch.float64)
    assert difference(net, x, 16) < SLACK[torch.float64]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 200), (200, 8), (12, 76)])
def test_narrow_images(height: int, width: int) -> None:
    assert difference(unet(), image(height, width), 16) < SLACK[torch.float32]


def test_a_window_one_cell_narrower_would_not_do() -> None:
    """The bound above could be met by a receptive radius that is larger than need be."""
    net, x = unet(dtype=torch.float64), image(100, 132, dtype=torch.float64)
    net.receptive_radius -= 2 * net.multiple_of
    assert difference(net, x, 16) > 1e-9


def test_dropout_in_windows_is_the_dropout_of_the_whole() -> None:
    """The bound above could be met by a mask that does nothing."""
    net, x = unet(dropout=True), image(100, 132)
    bare = windowed(net, x, 32)
    with keyed_dropout(net, KEY):
        assert (windowed(net, x, 32) - bare).abs().max() > 0.01


def test_the_network_is_left_as_it_was() -> None:
    net, x = unet("instance", "sample", dropout=True), image(40, 40)
    before = [dict(module.__dict__) for module in net.modules()]
    windowed(net, x, 16)
    assert [dict(module.__dict__) for module in net.modules()] == before


def test_windows_are_cut_at_multiples_and_at_the_border() -> None:
    """Radius 18 at multiples of 4: 20 pixels more on each side, as far as there are any."""
    net = unet()
    assert (net.receptive_radius, net.multiple_of) == (18, 4)
    window = window_around(Region(range(40, 56), range(8, 24)), (100, 36), net)
    assert window == (range(20, 76), range(36))


def test_tiles_are_halved_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = unet("instance", "sample"), image(128, 160)
    with torch.inference_mode():
        whole = net(x)
    convolve, given = nn.functional.conv2d, []

    def failing(x: Tensor, *arguments: Any) -> Tensor:
        given.append(x.numel())
        if x.numel() > 60_000:
            raise MemoryError
        return convolve(x, *arguments)

    monkeypatch.setattr(nn.functional, "conv2d", failing)
    assert (windowed(net, x, 160) - whole).abs().max() < SLACK[torch.float32]
    assert max(given) > 60_000
    monkeypatch.setattr(nn.functional, "conv2d", lambda x, *arguments: failing(x.expand(70_000, *x.shape[1:])))
    with pytest.raises(DoesNotFitError, match="160 × 128 pixels"):
        windowed(net, x, 160)


# Models.


@pytest.mark.parametrize("generator", ["resnet_1blocks", "resize_unet_2levels_1blocks"])
def test_a_generator_that_takes_labels_too_has_no_tiles(build: Build, draw: Draw, generator: str) -> None:
    model = translator.load(build("stargan", generator=generator, domains="x,y"), device="cpu")
    planner = TilePlanner(model, "y")
    planner.measure()
    assert planner.choose_tile(40, 40) is None
    with pytest.raises(UsageError, match=f"{generator} works on the whole image"):
        tiling.TiledTranslation(model, "y", tile=16)(draw(0, 40, 40))


@pytest.fixture(scope="module")
def model(build: Build) -> translator.Translator:
    """A CycleGAN with residual outputs that leave [-1, 1]."""
    made = translator.load(
        build(
            "cyclegan", generator="resize_unet_2levels_1blocks", norm="batch", norm_statistics="running", residual="on"
        ),
        device="cpu",
    )
    for to in made.directions:
        net = made.generator_for(to)
        net.set_colour_map(1.5 * torch.eye(3), torch.tensor([0.1, 0.0, -0.1]))
        nn.init.normal_(net.model[0].out[1].weight, std=0.2)
    return made


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_picture_in_windows_is_the_picture_as_a_whole(
    model: translator.Translator, draw: Draw, dtype: type, tmp_path: Path
) -> None:
    """Padded sizes; values beyond [-1, 1] are clamped in both, floats too."""
    picture = draw(1, 93, 61) if dtype is np.uint8 else draw(1, 93, 61).astype(np.float32) / 255
    (whole,) = model.translate_pixels([picture], "b")
    got = tiling.TiledTranslation(model, "b", tile=24, scratch=tmp_path)(picture)
    assert got.dtype == whole.dtype == dtype
    assert np.abs(got.astype(float) - whole.astype(float)).max() <= (1 if dtype is np.uint8 else 1e-5)
    assert (whole.min(), whole.max()) == (0, 255 if dtype is np.uint8 else 1)


def test_the_memory_of_a_window_is_that_of_its_pixels(model: translator.Translator) -> None:
    """Tiles of 64 reach 20 pixels on each side. No map is kept, so a larger image needs no more."""
    planner = TilePlanner(model, "b")
    need = planner.estimate_tiled(1024, 1024, 64)
    assert need.scratch == 0
    assert need.memory - tiling.memory.HEAP_BYTES == planner.estimate_whole(104, 104)
    assert planner.estimate_tiled(8192, 4096, 64) == need
    assert planner.choose_tile(1024, 1024, 64) == 64
    assert planner.estimate_scratch(1024, 512, 64, Path()) == 3 * 1024 * 512
