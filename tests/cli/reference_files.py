"""Networks of the reference implementation, saved as its training saves them."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS, find


def generator(name: str = "resnet_1blocks", norm: str = "instance", *, key: int = 0, **options: Any) -> nn.Module:
    network = find(name)
    assert network is not None
    return normal_(network(*options.pop("channels", (3, 3)), 4, norm, **options), key, gain=0.2).eval()


def discriminator(name: str = "basic", norm: str = "instance", channels: int = 3, *, key: int = 0) -> nn.Module:
    return normal_(DISCRIMINATORS[name](channels, 4, norm, 3), key)


def save(path: str, net: nn.Module) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return Path(path)
