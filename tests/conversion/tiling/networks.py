"""Small generators and images for the tests of tiling."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from translate.conversion.tiling import feature_maps, tiled_forward
from translate.conversion.tiling.partial_layers import Region
from translate.nn.base import Generator
from translate.nn.blocks import BatchNorm2d
from translate.nn.networks.resnet import ResnetGenerator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


def resnet(
    norm: str = "instance", *, channels: tuple[int, int] = (3, 3), dtype: torch.dtype = torch.float32, **more: Any
):
    """A small ResNet whose output spreads over [-1, 1] with any norm."""
    torch.manual_seed(1)
    net = ResnetGenerator(*channels, **{"width": 4, "blocks": 2, **more}, norm=norm).eval()
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight[0].numel()))
        elif isinstance(module, BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return net.to(dtype)


def image(height: int, width: int, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """(1, C, H, W) in [-1, 1]: smooth, so that tiles differ in brightness, and rough."""
    generator = torch.Generator().manual_seed(height * width)
    coarse = torch.rand(1, channels, 5, 4, generator=generator, dtype=dtype)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return smooth * 1.6 - 1 + 0.4 * torch.rand(1, channels, height, width, generator=generator, dtype=dtype)


def cut(x: Tensor, region: Region) -> Tensor:
    return x[:, :, region.rows.start : region.rows.stop, region.columns.start : region.columns.stop]


def tiled(net: Generator, x: Tensor, tile: int, scratch: Path | None = None) -> Tensor:
    """The network in tiles; every value must be written once."""
    assert net.stages is not None
    parts = []
    run = tiled_forward.TiledForward(
        stages=net.stages,
        size=(x.shape[2], x.shape[3]),
        source=lambda region: cut(x, region),
        make_map=feature_maps.feature_map_factory(scratch, x.dtype, x.device),
        tile=tile,
    )
    with torch.inference_mode():
        run.run(lambda region, part: parts.append((region, part)))
        out = torch.full((1, parts[0][1].shape[1], *x.shape[2:]), math.nan, dtype=x.dtype)
        for region, part in parts:
            cut(out, region).copy_(part)
    assert sum(region.area for region, _ in parts) == x.shape[2] * x.shape[3]
    return out


def difference(net: Generator, x: Tensor, tile: int, scratch: Path | None = None) -> float:
    """The largest, of tiled and whole."""
    with torch.inference_mode():
        whole = net(x)
    assert whole.std() > 0.1
    assert (whole.abs() < 0.99).double().mean() > 0.5  # where tanh would hide a difference
    return float((tiled(net, x, tile, scratch) - whole).abs().max())
