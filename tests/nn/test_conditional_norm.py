"""Conditional batch norm by its formula, and statistics that are means over batches."""

import torch
from torch import nn

from translate.nn.blocks import BatchNorm2d
from translate.nn.conditional_norm import ConditionalBatchNorm2d, set_standing_statistics


def test_scale_and_shift_are_functions_of_each_image_s_condition():
    torch.manual_seed(0)
    norm = ConditionalBatchNorm2d(3, 2).double()
    x, y = torch.randn(4, 3, 5, 5, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    plain = (x - mean) / (var + 1e-5).sqrt()
    scale, shift = 1 + y @ norm.gain.weight.T, y @ norm.shift.weight.T
    torch.testing.assert_close(norm(x, y), plain * scale[:, :, None, None] + shift[:, :, None, None])


def test_standing_statistics_are_means_over_the_passes():
    """Of the first norm by hand; the second sees what the first makes of each batch by the statistics of this batch."""
    net = nn.Sequential(BatchNorm2d(2), BatchNorm2d(2)).double().eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([2.0, 3.0]))
    net[0].running_mean.fill_(9.0)
    torch.manual_seed(0)
    batches = [torch.randn(3, 2, 4, 4, dtype=torch.float64) + n for n in range(3)]
    set_standing_statistics(net, (lambda x=x: net(x) for x in batches))
    first, second = net
    torch.testing.assert_close(first.running_mean, torch.stack([x.mean((0, 2, 3)) for x in batches]).mean(0))
    torch.testing.assert_close(first.running_var, torch.stack([x.var((0, 2, 3)) for x in batches]).mean(0))
    assert second.running_mean.abs().max() < 1e-12
    torch.testing.assert_close(second.running_var, torch.tensor([4.0, 9.0]).double() * 48 / 47, rtol=1e-4, atol=0)
    assert not any(module.training for module in net.modules())
    assert {norm.momentum for norm in net} == {0.1} and all(norm.synchronised for norm in net)
