"""VGG-16 (Simonyan and Zisserman 2015, table 1, D) up to relu4_3, from the file of a HED edge detector.

HED (Xie and Tu 2015) is VGG-16 of ImageNet, fine-tuned for edges on BSDS500. The lineage of this file is not stated.
"""

import io
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from translate.nn.features.feature_network import ScaleInput

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3))  # channels, convolutions
_MEAN = (122.67892, 116.66877, 104.00699)  # red, green, blue, of 255: Xie and Tu's


def vgg16_stages(content: bytes | None) -> list[nn.Module]:
    """Return the layers up to relu1_2, relu2_2, relu3_3 and relu4_3, which take images in [-1, 1].

    content: of the file of the weights; None: without weights.
    """
    stages: list[nn.Module] = []
    cin = 3
    for channels, convolutions in _STAGES:
        # Maps of odd sides are padded, as in TensorFlow.
        layers: list[nn.Module] = [nn.MaxPool2d(2, 2, ceil_mode=True)] if stages else []
        for _ in range(convolutions):
            layers += [nn.Conv2d(cin, channels, 3, 1, 1), nn.ReLU(inplace=True)]
            cin = channels
        stages.append(nn.Sequential(*layers))
    network = nn.Sequential(*stages)
    if content is not None:
        network.load_state_dict(dict(zip(network.state_dict(), _convolutions(content), strict=True)))
    scale = ScaleInput(127.5, [127.5 - mean for mean in _MEAN])
    return [nn.Sequential(scale, stages[0]), *stages[1:]]


def _convolutions(content: bytes) -> Iterator[Tensor]:
    """Yield the weight and the bias of each convolution in an HDF5 file of Keras, for images of red, green, blue."""
    import h5py

    with h5py.File(io.BytesIO(content)) as file:
        for stage, (_, convolutions) in enumerate(_STAGES):
            for number in range(convolutions):
                variables = file[f"block{stage + 1}/layers/conv2d{f'_{number}' if number else ''}/vars"]
                weight = torch.from_numpy(variables["0"][()]).permute(3, 2, 0, 1)
                is_first = stage == number == 0
                yield weight.flip(1) if is_first else weight  # the file takes blue, green, red
                yield torch.from_numpy(variables["1"][()])
