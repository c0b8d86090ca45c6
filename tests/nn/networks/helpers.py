"""Helpers of the tests of networks: names of layers, receptive fields, norms written out."""

import torch
import torch.nn.functional as F
from torch import nn


def layer_biases(net):
    """Return the names of the layers that have a weight → whether they have a bias too."""
    keys = net.state_dict().keys()
    return {k.removesuffix(".weight"): k.removesuffix("weight") + "bias" in keys for k in keys if k.endswith(".weight")}


def make_averaging(net):
    """Make each layer a positive average of its inputs, so that no path through the network cancels another."""
    for p in net.parameters():
        nn.init.constant_(p, 1 / max(1, p[0].numel()))
    return net.double()


def receptive_rows(net, x, row, column):
    """Return the first and last row of x on which one output pixel depends; all others have no gradient at all."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[0, 0, row, column], x)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    columns = gradient.abs().sum((0, 1, 2)).nonzero().flatten()
    assert torch.equal(rows, columns)
    return int(rows[0]), int(rows[-1])


def receptive_range(net, x, axis, place):
    """Return the first and last row (axis 2) or column (3) of x on which the output pixel at `place` along the axis depends."""
    x = x.clone().requires_grad_()
    middle = x.shape[5 - axis] // 2
    row, column = (place, middle) if axis == 2 else (middle, place)
    (gradient,) = torch.autograd.grad(net(x)[0, 0, row, column], x)
    reached = gradient.abs().sum((0, 1, 5 - axis)).nonzero().flatten()
    return int(reached[0]), int(reached[-1])


def apply_norm(w, layer, x, norm):
    """Apply a norm by its name, with the weights of a layer where it has any."""
    if norm == "batch":
        return F.batch_norm(x, None, None, w[f"{layer}.weight"], w[f"{layer}.bias"], training=True)
    return F.instance_norm(x) if norm == "instance" else x
