"""Modulated convolutions against weights that are scaled and normalised image by image."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.nn.equalized import standard_normal_
from translate.nn.modulated_conv import ModulatedConv2d
from translate.nn.resampling import blur

from ..helpers import random_tensor


def made(cin=3, cout=4, **options):
    return standard_normal_(ModulatedConv2d(cin, cout, 3, 5, **options).double(), 0)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("upsample", [True, False])
def test_each_image_has_a_weight_of_its_own(demodulate, upsample):
    """Sec. 2.2, eq. 1 and 3; enlarged by a transposed convolution and the filter with a gain of 4."""
    conv = made(demodulate=demodulate, upsample=upsample)
    x, code = random_tensor(2, 3, 6, 6), random_tensor(2, 5, seed=1)
    y = conv(x, code)
    for image, style, out in zip(x, conv.affine(code), y, strict=True):
        weight = conv.weight * style[None, :, None, None]
        weight = (
            weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt() if demodulate else weight / 27**0.5
        )
        if upsample:
            expected = blur(F.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2), 1, gain=4)[0]
        else:
            expected = F.conv2d(image[None], weight, padding=1)[0]
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    assert y.shape == (2, 4, *((12, 12) if upsample else (6, 6)))


def test_demodulation_takes_the_size_of_a_style_away():
    conv, x, code = made(), random_tensor(1, 3, 6, 6), random_tensor(1, 5, seed=1)
    before = conv(x, code)
    for p in (conv.affine.weight, conv.affine.bias):
        p.data *= 7
    torch.testing.assert_close(conv(x, code), before, rtol=1e-7, atol=1e-9)  # but for the 1e-8 beside the norm


def test_styles_begin_at_1_and_outputs_have_a_variance_of_1():
    """In the mean over many weights, for inputs of N(0, 1)."""
    conv = made(64, 64)
    assert torch.equal(conv.affine(torch.zeros(1, 5, dtype=torch.float64)), torch.ones(1, 64, dtype=torch.float64))
    x = torch.randn(4, 64, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = conv(x, torch.zeros(4, 5, dtype=torch.float64))[:, :, 1:-1, 1:-1]
    assert abs(y.std() - 1) < 0.05  # 4·64·14² values, of which 9 in a neighbourhood depend on each other: 0.01
    assert isinstance(conv.weight, nn.Parameter) and abs(conv.weight.std() - 1) < 0.02
