"""Plain layers in place of this package's own, for exporting a network to formats that know torch's operations alone.

The outputs stay the same but for rounding. A network with plain layers is for inference: it is in evaluation mode, and its
spectral norms are fixed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.blocks import AffineInstanceNorm2d, BatchNorm2d, Dropout, InstanceNorm2d
from translate.nn.networks.dualgan import SameConv2d
from translate.nn.spectral_norm import SpectralConv2d


class PlainInstanceNorm2d(nn.Module):
    """Instance norm of any map: (N, C, H, W) → the same shape.

    One operation, which exporters know. Other than `F.instance_norm` it takes maps of a single pixel, whose output is the bias,
    so that an exported network does not depend on the sizes that it was exported with.
    """

    def __init__(self, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = weight, bias, eps

    def forward(self, x: Tensor) -> Tensor:
        return torch.instance_norm(x, self.weight, self.bias, None, None, True, 0.1, self.eps, False)


class EvenConv2d(nn.Conv2d):
    """Convolution of stride 2 of maps of even height and width, with zeros at all four sides or at two."""

    def __init__(self, conv: SameConv2d) -> None:
        kernel = conv.kernel_size[0]
        super().__init__(conv.in_channels, conv.out_channels, kernel, 2, bias=conv.bias is not None, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        before = (kernel - 2) // 2
        self.border = [before, kernel - 2 - before] * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.border))


def use_plain_layers(net: nn.Module) -> None:
    """Replace layers inside `net` by plain ones: norms of each image's own statistics, spectral norms, keyed dropout.

    Convolutions that pad by the size of the map get the padding for even sizes, which is what a network's size rule leaves.
    """
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if (plain := _plain(layer)) is not None:
                setattr(parent, name, plain.eval())


def _plain(layer: nn.Module) -> nn.Module | None:
    """Return the plain layer that does the same; None for a layer that stays."""
    if isinstance(layer, AffineInstanceNorm2d):
        return PlainInstanceNorm2d(layer.weight, layer.bias, layer.eps)
    if isinstance(layer, InstanceNorm2d):
        return PlainInstanceNorm2d()
    if isinstance(layer, BatchNorm2d) and layer.norm_statistics == "sample":
        return PlainInstanceNorm2d(layer.weight, layer.bias, layer.eps)
    if isinstance(layer, SpectralConv2d):
        return _without_spectral_norm(layer)
    if isinstance(layer, SameConv2d):
        return EvenConv2d(layer)
    return nn.Identity() if isinstance(layer, Dropout) else None


@torch.no_grad()
def _without_spectral_norm(conv: SpectralConv2d) -> nn.Conv2d:
    """Return a convolution with the weight divided by its singular value, as it is in evaluation."""
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], int(conv.padding[0]),
        bias=conv.bias is not None, device="meta",
    )  # fmt: skip
    plain.weight, plain.bias = nn.Parameter(conv.normalised_weight()), conv.bias
    return plain
