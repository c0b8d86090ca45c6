"""A training of colorize goes where plain PyTorch goes: Lab, the gamut's edge and its gradient by formulas of their own."""

import torch
from torch import nn

from translate import keyed_random
from translate.methods.colorize import Colorize
from translate.nn.init import normal_
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import small_config
from . import double

MATRIX = torch.tensor(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=torch.float64
)
WHITE = MATRIX.sum(1)
STEPS = 3


def to_lab(rgb):
    """Return Lab (..., 3) of sRGB (..., 3) in [0, 1]."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).pow(2.4), rgb / 12.92)
    xyz = linear @ MATRIX.T / WHITE
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-9).pow(1 / 3), xyz * 841 / 108 + 4 / 29)
    return torch.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def to_linear(lab):
    """Return linear sRGB (..., 3) of Lab (..., 3), beyond [0, 1] where it is no colour."""
    y = (lab[..., 0] + 16) / 116
    f = torch.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = torch.where(f > 6 / 29, f.pow(3), (f - 4 / 29) * 108 / 841) * WHITE
    return torch.linalg.solve(MATRIX, xyz.unsqueeze(-1)).squeeze(-1)


def edge(lab):
    """Return the largest factor (...) of a* and b* that is in the gamut, by 60 bisections."""
    low, high = torch.zeros_like(lab[..., 0]), torch.ones_like(lab[..., 0])

    def is_inside(factor):
        linear = to_linear(torch.cat([lab[..., :1], factor.unsqueeze(-1) * lab[..., 1:]], -1))
        return ((linear >= -1e-12) & (linear <= 1 + 1e-12)).all(-1)

    whole = is_inside(high)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = torch.where(is_inside(middle), middle, low), torch.where(is_inside(middle), high, middle)
    return torch.where(whole, torch.ones_like(low), low)


class Edge(torch.autograd.Function):
    """The factor with its gradient by central differences."""

    @staticmethod
    def forward(ctx, lab):
        ctx.save_for_backward(lab)
        return edge(lab)

    @staticmethod
    def backward(ctx, gradient):
        (lab,), h = ctx.saved_tensors, 1e-5
        shifts = h * torch.eye(3, dtype=lab.dtype)
        slopes = torch.stack([(edge(lab + shift) - edge(lab - shift)) / (2 * h) for shift in shifts], -1)
        return gradient.unsqueeze(-1) * slopes


def to_rgb(lab):
    """Return sRGB (..., 3) in [-1, 1] of Lab (..., 3), shrunk into the gamut."""
    shrunk = torch.cat([lab[..., :1], Edge.apply(lab).unsqueeze(-1) * lab[..., 1:]], -1)
    linear = to_linear(shrunk).clamp(0, 1)
    return (
        2 * torch.where(linear > 0.04045 / 12.92, 1.055 * linear.clamp(min=1e-9).pow(1 / 2.4) - 0.055, 12.92 * linear)
        - 1
    )


def grey_of(light):
    """Return the grey image (N, 3, H, W) of L* (N, H, W)."""
    return to_rgb(torch.stack([light, 0 * light, 0 * light], -1)).permute(0, 3, 1, 2)


def step(g, d, optimizers, photo):
    """Run one step as pix2pix does, and return the losses and how many colours were shrunk."""
    lab = to_lab((photo.permute(0, 2, 3, 1) + 1) / 2)
    grey = grey_of(lab[..., 0])
    ab = g(lab[..., 0].unsqueeze(1) / 50 - 1)
    made = torch.cat([lab[..., :1], 110 * ab.permute(0, 2, 3, 1)], -1)
    fake = to_rgb(made).permute(0, 3, 1, 2)
    gan = nn.BCEWithLogitsLoss()
    on_fake = double.judged(gan, d(torch.cat([grey, fake.detach()], 1)), False)
    losses = {"d/adv": 0.5 * (on_fake + double.judged(gan, d(torch.cat([grey, photo], 1)), True))}
    optimizers["d"].zero_grad()
    losses["d/adv"].backward()
    optimizers["d"].step()
    losses["g/adv"] = double.judged(gan, d(torch.cat([grey, fake], 1)), True)
    losses["g/l1"] = 100 * (110 * ab - lab[..., 1:].permute(0, 3, 1, 2)).abs().mean() / 110
    optimizers["g"].zero_grad()
    (losses["g/adv"] + losses["g/l1"]).backward()
    optimizers["g"].step()
    return {name: loss.detach() for name, loss in losses.items()}, (edge(made.detach()) < 1).double().mean()


def test_steps_in_float64_go_the_same_way():
    """Losses and weights after each of three steps; a tenth of the colours and more are beyond the gamut.

    Central differences are exact to about 1e-9, which Adam may turn into a share of its rate where a gradient is as small.
    """
    cfg = small_config("colorize", g_width=4, d_width=4, norm="batch", dropout=False, generator="unet_32", batch_size=2)
    engine = Engine(
        Colorize(cfg), Schedule(per_epoch=10, epochs=0, decay_epochs=0, images=1000), seed=0, device=torch.device("cpu"),
        precision=PRECISIONS["fp64"], batch_size=2,
    )  # fmt: skip
    normal_(engine.method.g, 0, gain=0.1)
    g = double.generator("unet_32", 1, 2, 4, "batch", dropout=False).double()
    d = double.discriminator("basic", 6, 4, "batch", 3).double()
    g.load_state_dict(engine.method.g.net.state_dict())
    d.load_state_dict(engine.method.d.state_dict())
    optimizers = {"g": double.adam(g), "d": double.adam(d)}
    for number in range(STEPS):
        key = keyed_random.image_keys(7, torch.arange(2 * number, 2 * number + 2))
        photo = keyed_random.uniform(key, "photo", 3, 32, 32).double() * 2 - 1
        found = engine.step([{"a": photo}])
        expected, shrunk = step(g, d, optimizers, photo)
        assert shrunk > 0.1
        assert found.keys() == expected.keys()
        for name, loss in expected.items():
            torch.testing.assert_close(found[name], loss, rtol=1e-6, atol=0, msg=name)
        for ours, theirs in ((engine.method.g.net, g), (engine.method.d, d)):
            for key_, weight in theirs.named_parameters():
                torch.testing.assert_close(ours.get_parameter(key_), weight, rtol=0, atol=1e-6, msg=key_)
