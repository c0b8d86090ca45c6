"""Checkpoints of the reference implementation with random weights, and helpers to compare models."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import translate
from translate.errors import ModelError
from translate.nn.blocks import BatchNorm2d
from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS, find
from translate.trained.find import read_model
from translate.trained.translator import Translator

Draw = Callable[..., np.ndarray]
Weights = Mapping[str, Tensor]


NOTICE = "a U-Net's weights do not tell whether it has dropout"


def generator(
    name: str = "resnet_1blocks", norm: str = "instance", dropout: bool = False, channels: tuple[int, int] = (3, 3),
    *, width: int = 4, key: int = 0,
) -> nn.Module:  # fmt: skip
    """A generator with random weights; its batch norms have seen something."""
    network = find(name)
    assert network is not None
    return randomised(network(*channels, width, norm, dropout), key)


def discriminator(
    name: str = "basic", norm: str = "instance", channels: int = 3, *, layers: int = 3, width: int = 4, key: int = 0
) -> nn.Module:
    return randomised(DISCRIMINATORS[name](channels, width, norm, layers), key)


def randomised(net: nn.Module, key: int) -> nn.Module:
    draws = torch.Generator().manual_seed(key)
    normal_(net, key, gain=0.2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=draws)
            module.running_var.uniform_(0.5, 2, generator=draws)
            module.num_batches_tracked.fill_(7 + key)
    return net.eval()


def in_precision(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """With weights of this type; those of float64 are not also float32's."""
    net.to(dtype)
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.mul_(1 + 2**-40)
    return net


def save(path: Path, content: Any, **options: Any) -> Path:
    """What the reference keeps of a network: its bare state dict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content.state_dict() if isinstance(content, nn.Module) else content, path, **options)
    return path


def save_all(folder: Path, epoch: str = "latest", **networks: nn.Module) -> Path:
    for name, net in networks.items():
        save(folder / f"{epoch}_net_{name}.pth", net)
    return folder


def four(width: int = 4, name: str = "resnet_1blocks") -> dict[str, nn.Module]:
    """The networks of a CycleGAN, all different."""
    generators = {network: generator(name, width=width, key=key) for key, network in enumerate(("G_A", "G_B"))}
    return generators | {f"D_{side}": discriminator(key=key) for key, side in enumerate("AB", 2)}


def same(left: Weights, right: Weights) -> bool:
    """The same names in the same order, the same types and the same bits."""
    return list(left) == list(right) and all(
        left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]) for key in left
    )


def part(weights: Weights, attribute: str) -> dict[str, Tensor]:
    """The weights of one network, under the reference's names."""
    return {key.removeprefix(f"{attribute}."): t for key, t in weights.items() if key.startswith(f"{attribute}.")}


def equal(left: Weights, right: Weights) -> bool:
    """As `same`, in any order."""
    return left.keys() == right.keys() and same(left, {key: right[key] for key in left})


def load(path: Path, **options: Any) -> Translator:
    return translate.load(path, device="cpu", say=lambda line: None, **options)


def noise(count: int = 1, channels: int = 3, size: int = 32, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images that differ in brightness and contrast, so that their statistics do."""
    draws = torch.Generator().manual_seed(5)
    x = torch.rand(count, channels, size, size, generator=draws, dtype=torch.float64) * 2 - 1
    scale = torch.linspace(1, 0.2, count, dtype=torch.float64)[:, None, None, None]
    return (x * scale + (1 - scale) * 0.7).to(dtype)


def direct(net: nn.Module, x: Tensor, norm_statistics: str = "sample") -> Tensor:
    """What the network itself gives in evaluation, without keys: no dropout."""
    for module in net.modules():
        if isinstance(module, BatchNorm2d):
            module.norm_statistics = norm_statistics
    with torch.inference_mode():
        return net(x)


def refusal(path: Path, named: Path | str | None = None) -> str:
    """The one line that says why a file or folder is no model."""
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert str(named or path) in str(caught.value)
    return str(caught.value)
