"""Gradients of every network in float32 are those of float64: for one image and for several, however they lie in memory.

Torch 2.15's instance norm fails this on the CPU, for one image whose gradient comes with channels last, while its values are
right: a wrong gradient shows nowhere else.
"""

import pytest
import torch

from translate.nn.networks import DISCRIMINATORS, GENERATORS

FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}

EVERY_DAY = {("NCHW", 1), ("NHWC", 3)}
"""Formats and numbers of images that the tests of every day take."""
NETWORKS = [*(("generator", name) for name in GENERATORS), *(("discriminator", name) for name in DISCRIMINATORS)]


def build(kind, name, norm):
    """A narrow network and the side of images for it."""
    torch.manual_seed(0)
    if kind == "generator":
        net = GENERATORS[name](3, 3, 4, norm, False)
        return net, max(net.minimum, 32)
    net = DISCRIMINATORS[name](3, 4, norm, 3, 64)
    return net, net.fixed_size or 64


def outputs(net, x):
    """The output, or those of several heads, as a list."""
    made = net(x)
    return made if isinstance(made, list) else [made]


def gradients(net, x, grads, layout, dtype):
    """Of the images and of all weights, from gradients that lie in memory as the images do."""
    net.to(dtype, memory_format=layout)
    given = x.to(dtype, memory_format=layout).requires_grad_()
    made = outputs(net, given)
    assert [y.shape for y in made] == [grad.shape for grad in grads]
    grads = [grad.to(dtype, memory_format=layout) for grad in grads]
    found = torch.autograd.grad(made, [given, *net.parameters()], grads, allow_unused=True)
    return torch.cat([one.double().flatten() for one in found if one is not None])


CASES = [
    pytest.param(count, layout, id=f"{name}-{count}", marks=() if (name, count) in EVERY_DAY else pytest.mark.slow)
    for name, layout in FORMATS.items()
    for count in (1, 2, 3)
]


@pytest.mark.parametrize(("count", "layout"), CASES)
@pytest.mark.parametrize(("kind", "name"), NETWORKS)
def test_gradients_are_those_of_float64(kind, name, layout, count):
    # An instance norm of the few pixels inside a U-Net multiplies rounding a thousandfold.
    net, side = build(kind, name, "batch" if "unet" in name else "instance")
    state = {key: value.clone() for key, value in net.state_dict().items()}
    x = torch.randn(count, 3, side, side)
    with torch.no_grad():
        grads = [torch.randn_like(y) for y in outputs(net, x)]
    net.load_state_dict(state)
    expected = gradients(net, x, grads, torch.contiguous_format, torch.float64)
    net.load_state_dict(state)
    got = gradients(net, x, grads, layout, torch.float32)
    assert (got - expected).norm() <= 0.05 * expected.norm()  # a wrong one is off by its own size
