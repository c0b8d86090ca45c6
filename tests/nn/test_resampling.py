"""Resampling by the binomial filter against its definition, and what it keeps."""

import pytest
import torch

from translate.nn.resampling import blur, downsample, upsample

from ..helpers import random_tensor

TAPS = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8


def filtered(row):
    """The filter over a row with two zeros at each side."""
    row = torch.cat([torch.zeros(2), row, torch.zeros(2)])
    return torch.stack([(TAPS * row[k : k + 4]).sum() for k in range(len(row) - 3)])


def test_a_row_by_hand():
    """A pixel of 1 among zeros becomes the filter; doubled, its four taps of gain 2 lie about it."""
    x = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    x[0, 0, 2, 3] = 1
    torch.testing.assert_close(blur(x, 2)[0, 0], torch.outer(filtered(x[0, 0, :, 3]), filtered(x[0, 0, 2])))
    wide = torch.zeros(12, dtype=torch.float64)
    wide[5:9] = 2 * TAPS
    torch.testing.assert_close(upsample(x)[0, 0].sum(0), 2 * wide)
    assert downsample(x).shape == (1, 1, 3, 3)
    torch.testing.assert_close(downsample(x)[0, 0], blur(x, 1)[0, 0, ::2, ::2])


@pytest.mark.parametrize("resample", [upsample, downsample])
def test_an_even_area_stays_so_but_at_the_edge_and_channels_do_not_mix(resample):
    x = torch.tensor([0.5, -2.0], dtype=torch.float64)[None, :, None, None].expand(1, 2, 12, 12)
    y = resample(x)[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(y, x[:, :, :1, :1].expand_as(y), rtol=0, atol=1e-12)


def test_it_is_differentiable_twice():
    x = random_tensor(1, 2, 4, 4).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: upsample(x).square(), (x,))
    assert torch.autograd.gradgradcheck(lambda x: downsample(x).square(), (x,))
