"""Initial weights of networks: functions of a network and a key, the same on every device."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from translate import keyed_random


def normal_(net: nn.Module, *key: int | str, gain: float = 0.02) -> nn.Module:
    """Fill weights from N(0, gain), norm scales from N(1, gain) and biases with 0 (DCGAN, sec. 4; pix2pix, sec. 6.2).

    The draws are a pure function of `key` on every device: they are made on the CPU and copied. Returns `net`.
    """
    return _gaussian(net, key, gain, lambda weight: gain)


def xavier_(net: nn.Module, *key: int | str, gain: float = 0.02) -> nn.Module:
    """Fill as `normal_` does, but weights from N(0, gain · √(2 / (fan in + fan out))), a fan being channels times kernel area.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
    """

    def std(weight: Tensor) -> float:
        fans = sum(weight.shape[:2]) * math.prod(weight.shape[2:])
        return gain * math.sqrt(2 / fans)

    return _gaussian(net, key, gain, std)


def kaiming_(net: nn.Module, *key: int | str, slope: float = 0.2) -> nn.Module:
    """Fill weights from N(0, 2 / ((1 + slope²) · fan in)), norm scales with 1, and norm shifts and biases with 0.

    slope: of the leaky ReLUs between the layers; a fan in is the channels that a layer sees times the kernel area (He et al.,
    "Delving Deep into Rectifiers", ICCV 2015, eq. 15). The draws are a pure function of `key` on every device. Returns `net`.
    """
    generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "init"))
    for module, weight, bias in _layers(net):
        if weight.ndim == 1:
            nn.init.ones_(weight)
        else:
            inputs = weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else weight
            _fill(weight, 0.0, math.sqrt(2 / ((1 + slope**2) * inputs[0].numel())), generator)
        if bias is not None:
            nn.init.zeros_(bias)
    return net


def orthogonal_(net: nn.Module, *key: int | str) -> nn.Module:
    """Fill weights with orthogonal matrices (Saxe et al., 2014), norm scales with 1, and norm shifts and biases with 0.

    A weight is a matrix of its outputs by all that each of them sees. The draws are a pure function of `key` on every device.
    Returns `net`.
    """
    return _draw_weights(net, key, nn.init.orthogonal_)


def plain_normal_(net: nn.Module, *key: int | str, gain: float = 0.02) -> nn.Module:
    """Fill weights from N(0, gain), norm scales with 1, and norm shifts and biases with 0.

    The draws are a pure function of `key` on every device. Returns `net`.
    """
    return _draw_weights(net, key, partial(nn.init.normal_, std=gain))


def _draw_weights(net: nn.Module, key: tuple[int | str, ...], draw: Callable[..., Any]) -> nn.Module:
    """Fill weights by `draw`, a function of a tensor and a generator, norm scales with 1, and shifts and biases with 0."""
    generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "init"))
    for _, weight, bias in _layers(net):
        if weight.ndim == 1:
            nn.init.ones_(weight)
        else:
            _draw(weight, partial(draw, generator=generator))
        if bias is not None:
            nn.init.zeros_(bias)
    return net


def _gaussian(net: nn.Module, key: tuple[int | str, ...], gain: float, std: Callable[[Tensor], float]) -> nn.Module:
    """Fill weights from N(0, std(weight)), norm scales from N(1, gain) and biases with 0."""
    generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "init"))
    for module in net.modules():
        if not isinstance(getattr(module, "weight", None), nn.Parameter):  # frozen layers have constants
            continue
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            _fill(module.weight, 0.0, std(module.weight), generator)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            _fill(module.weight, 1.0, gain, generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net


def truncated_normal_(net: nn.Module, *key: int | str, gain: float = 0.02) -> nn.Module:
    """Fill convolutions from N(0, gain) within two standard deviations, as DualGAN's authors do.

    Transposed convolutions and linear layers are filled from all of N(0, gain), norm scales from N(1, gain), biases with 0 (the
    authors' code; the linear layer as in DCGAN's TensorFlow code, which it builds on). The draws are a pure function of `key`
    on every device. Returns `net`.
    """
    generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "init"))
    truncated = partial(nn.init.trunc_normal_, std=gain, a=-2 * gain, b=2 * gain, generator=generator)
    for module, weight, bias in _layers(net):
        if isinstance(module, nn.Conv2d):
            _draw(weight, truncated)
        else:
            _fill(weight, 1.0 if weight.ndim == 1 else 0.0, gain, generator)
        if bias is not None:
            nn.init.zeros_(bias)
    return net


def pytorch_default_(net: nn.Module, *key: int | str) -> nn.Module:
    """Fill as PyTorch does by default: weights and biases from U(−b, b) with b = 1/√(fan in), norm scales 1 and shifts 0.

    For a transposed convolution PyTorch counts its output channels as fan in. The draws are a pure function of `key` on every
    device. Returns `net`.
    """
    generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "init"))
    for _, weight, bias in _layers(net):
        if weight.ndim == 1:
            nn.init.ones_(weight)
            nn.init.zeros_(bias)
            continue
        bound = weight[0].numel() ** -0.5
        uniform = partial(nn.init.uniform_, a=-bound, b=bound, generator=generator)
        _draw(weight, uniform)
        if bias is not None:
            _draw(bias, uniform)
    return net


def normal_weights_(net: nn.Module, *key: int | str, gain: float = 0.02) -> nn.Module:
    """Fill as `normal_` does, but biases of convolutions as PyTorch does by default, as in the code of pix2pixHD's authors.

    The draws are a pure function of `key` on every device. Returns `net`.
    """
    normal_(net, *key, gain=gain)
    generator = torch.Generator().manual_seed(keyed_random.derive_key(*key, "init biases"))
    for _, weight, bias in _layers(net):
        if weight.ndim > 1 and bias is not None:
            bound = weight[0].numel() ** -0.5
            _draw(bias, partial(nn.init.uniform_, a=-bound, b=bound, generator=generator))
    return net


def _layers(net: nn.Module) -> Iterator[tuple[nn.Module, nn.Parameter, Any]]:
    """Yield every layer that has a weight (a norm's scale, with one axis, too), that weight, and the bias or None."""
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter):
            yield module, weight, getattr(module, "bias", None)


def _draw(weight: Tensor, draw: Callable[[Tensor], Any]) -> None:
    """Fill a weight, on any device, with what `draw` fills a tensor of its shape with on the CPU."""
    if weight.is_meta:  # a network that is built for its shapes alone
        return
    with torch.no_grad():
        drawn = torch.empty(weight.shape)
        draw(drawn)
        weight.copy_(drawn)


def _fill(weight: Tensor, mean: float, std: float, generator: torch.Generator) -> None:
    if weight.is_meta:  # a network that is built for its shapes alone
        return
    with torch.no_grad():
        weight.copy_(torch.empty(weight.shape).normal_(mean, std, generator=generator))
