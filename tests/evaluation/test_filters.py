"""Tests of separable filters."""

import torch
import torch.nn.functional as F

from translate.evaluation.filters import separable_filter


def test_a_separable_filter_is_a_convolution_with_the_outer_product():
    x = torch.rand(2, 3, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    kernel = torch.outer(weights, weights).expand(3, 1, 3, 3)
    torch.testing.assert_close(separable_filter(x, weights.tolist()), F.conv2d(x, kernel, groups=3))
