"""EfficientNet-Lite: EfficientNet (Tan and Le 2019, table 1) without squeeze-and-excitation and with ReLU6, on ImageNet.

Lite0 is B0; the larger ones have wider and deeper stages, but the same first and last layers.
"""

import io
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from translate.nn.features.feature_network import ScaleInput, fold_batch_norms

_STAGES = (  # expansion, channels, repeats, kernel, stride: Tan and Le 2019, table 1
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)


class EfficientNetLite(nn.Module):
    """Classifier of 1000 classes: images (N, 3, H, W) uint8 → features (N, 1280), means of the last maps, and logits (N, 1000).

    width, depth: factors of the channels and of the number of blocks; 1 and 1 are Lite0, which takes 224 px.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        channels, blocks = 32, []
        for number, (expansion, base, base_repeats, kernel, stride) in enumerate(_STAGES):
            out = _scale_channels(base, width)
            is_outermost = number in (0, len(_STAGES) - 1)
            repeats = base_repeats if is_outermost else math.ceil(base_repeats * depth)
            for i in range(repeats):
                blocks.append(_mobile_block(channels, out, expansion, kernel, stride if i == 0 else 1))
                channels = out
        self.layers = nn.Sequential(_conv(3, 32, 3, 2), *blocks, _conv(channels, 1280))
        self.classes = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers((x.float() - 127) / 128).mean((2, 3))
        return features, self.classes(features)


def load_efficientnet_lite(content: bytes, width: float = 1.0, depth: float = 1.0) -> EfficientNetLite:
    """Build EfficientNet-Lite with the weights of ml-illustrated, which were converted from TensorFlow's."""
    network, state = EfficientNetLite(width, depth), torch.load(io.BytesIO(content), weights_only=True)
    names = network.state_dict()  # the file has other names for the layers, but the same order
    network.load_state_dict(dict(zip(names, state.values(), strict=True)))
    return network


def efficientnet_lite_stages(
    content: bytes | None, cuts: Sequence[int], width: float = 1.0, depth: float = 1.0
) -> list[nn.Module]:
    """Return the layers up to each cut, a number of a layer that is the last of its stage, without batch norms.

    They take images in [-1, 1]. content: of the file of the weights; None: without weights.
    """
    network = EfficientNetLite(width, depth) if content is None else load_efficientnet_lite(content, width, depth)
    layers = fold_batch_norms(network.eval()).get_submodule("layers")
    assert isinstance(layers, nn.Sequential)
    starts = (0, *(cut + 1 for cut in cuts))
    stages = [nn.Sequential(*layers[start : cut + 1]) for start, cut in zip(starts, cuts, strict=False)]
    scale = ScaleInput(127.5 / 128, 0.5 / 128)  # (127.5 (x + 1) − 127) / 128
    return [nn.Sequential(scale, stages[0]), *stages[1:]]


def _scale_channels(channels: int, width: float) -> int:
    """Return a number of channels times the width, rounded to a multiple of 8, but not by more than a tenth downwards."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def _conv(cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    """Build a convolution, norm and ReLU6, padded as in TensorFlow: at stride 2 more on the right and at the bottom."""
    low, high = ((kernel - stride) // 2, (kernel - 1) // 2)
    conv = nn.Conv2d(cin, cout, kernel, stride, groups=groups, bias=False)
    layers = [nn.ZeroPad2d((low, high, low, high)), conv, nn.BatchNorm2d(cout, eps=1e-3)]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if act else nn.Sequential(*layers)


class _Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return x + y


def _mobile_block(cin: int, cout: int, expansion: int, kernel: int, stride: int) -> nn.Sequential:
    """Build an inverted residual block (Sandler 2018, fig. 3): widen, convolve each channel, narrow."""
    wide = cin * expansion
    widen = [_conv(cin, wide)] if expansion > 1 else []
    layers = [*widen, _conv(wide, wide, kernel, stride, groups=wide), _conv(wide, cout, act=False)]
    return _Residual(*layers) if stride == 1 and cin == cout else nn.Sequential(*layers)
