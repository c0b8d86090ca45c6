"""Initial weights."""

import torch
from torch import Tensor, nn

from translate import noise


def normal_(net: nn.Module, *key: int | str, gain: float = 0.02) -> nn.Module:
    """Fills weights with N(0, gain), norm scales with N(1, gain) and biases with 0 (DCGAN, sec. 3; pix2pix, sec. 6.2).

    The draws are a pure function of `key` on every device: they are made on the CPU and copied.
    """
    generator = torch.Generator().manual_seed(noise.mix(*key, "init"))
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            _fill(module.weight, 0.0, gain, generator)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            _fill(module.weight, 1.0, gain, generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net


def _fill(weight: Tensor, mean: float, std: float, generator: torch.Generator) -> None:
    if weight.is_meta:  # a network built for its shapes alone
        return
    with torch.no_grad():
        weight.copy_(torch.empty(weight.shape).normal_(mean, std, generator=generator))
