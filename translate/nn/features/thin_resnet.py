"""Thin ResNet-50: ResNet-50 (He et al. 2016, table 1) with half the filters, as Yahoo's open_nsfw, from its ONNX file.

Trained on the 1000 classes of ImageNet, then fine-tuned on a private set. Strides are in the first convolution of a block, as
in Caffe, and batch norms are folded in the file.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.nn.features.feature_network import ScaleInput

_STAGES = ((32, 3, 1), (64, 4, 2), (128, 6, 2), (256, 3, 2))  # width, blocks, stride: half of He et al. 2016, table 1
_MEAN = (123.0, 117.0, 104.0)  # red, green, blue, of 255


class ThinResNet50(nn.Module):
    """Thin ResNet-50 up to its last maps: images (N, 3, H, W) uint8 → features (N, 1024), the means of the maps."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        # The pooling is padded as in TensorFlow, on the right and at the bottom; zero is the least that a ReLU gives.
        pooling = [nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)]
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(inplace=True), *pooling)
        stages, channels = [], 64
        for width, blocks, stride in _STAGES:
            stages.append(
                nn.Sequential(
                    _Bottleneck(channels, width, stride, nn.Conv2d(channels, 4 * width, 1, stride)),
                    *[_Bottleneck(4 * width, width, 1, nn.Identity()) for _ in range(blocks - 1)],
                )
            )
            channels = 4 * width
        self.stages = nn.ModuleList(stages)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        x = self.stem(x.float() - self.mean)
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3)), None


class _Bottleneck(nn.Module):
    """Residual block of three convolutions (He et al. 2016, fig. 5 on the right)."""

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.branch = nn.Sequential(
            nn.Conv2d(channels, width, 1, stride),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 4 * width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


def load_thin_resnet50(content: bytes) -> ThinResNet50:
    """Build the thin ResNet-50 with the weights in the contents of an ONNX file."""
    network = ThinResNet50()
    names = network.state_dict()  # the shortcut of a block precedes its branch here and in the file
    network.load_state_dict(dict(zip(names, _convolutions(content), strict=True)))
    first = network.stem[0]
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))  # the file takes blue, green, red
    return network


def _convolutions(content: bytes) -> Iterator[Tensor]:
    """Yield the weight and the bias of each convolution of an ONNX file, in its order."""
    import onnx  # of the extra metrics
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(content).graph
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            yield from (torch.from_numpy(numpy_helper.to_array(arrays[name]).copy()) for name in node.input[1:])


def thin_resnet50_stages(content: bytes | None) -> list[nn.Module]:
    """Return the first three stages, which take images in [-1, 1]. content: of the weights' file; None: without weights."""
    network = ThinResNet50() if content is None else load_thin_resnet50(content)
    scale = ScaleInput(127.5, [127.5 - mean for mean in _MEAN])
    first, second, third, _ = network.stages
    return [nn.Sequential(scale, network.stem, first), second, third]
