"""Helpers of the tests of losses."""

import torch


def random_logits(*shape, seed=0, scale=3.0):
    """Return normally distributed float64 logits."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def assert_value(value, expected):
    """Compare a tensor with a value computed by hand, at a relative tolerance of 1e-6."""
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), rtol=1e-6, atol=1e-9)
