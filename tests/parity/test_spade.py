"""SPADE's training goes where that of a plain double goes: torch's own spectral norm, batch norm and Adam, losses written out.

In float64, whole steps of both sides, with and without the encoder of styles.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

from translate import keyed_random
from translate.methods.spade import SPADE

from .test_training import batch_of, engine_of

STEPS = 3
SETTINGS = {"crop_size": 32, "load_size": 32, "batch_size": 2, "g_width": 4, "d_width": 4}


class Norm(nn.Module):
    """Normalise by the batch, then scale and shift by maps of the labels."""

    def __init__(self, channels, labels, hidden):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Sequential(nn.Conv2d(labels, hidden, 3, 1, 1), nn.ReLU())
        self.gamma, self.beta = (nn.Conv2d(hidden, channels, 3, 1, 1) for _ in range(2))

    def forward(self, x, labels):
        hidden = self.shared(F.interpolate(labels, x.shape[-2:]))
        y = self.norm(x)
        return y + y * self.gamma(hidden) + self.beta(hidden)


class Block(nn.Module):
    def __init__(self, cin, cout, labels, hidden):
        super().__init__()
        least = min(cin, cout)
        self.norm_0, self.norm_1 = Norm(cin, labels, hidden), Norm(least, labels, hidden)
        self.conv_0 = spectral_norm(nn.Conv2d(cin, least, 3, 1, 1))
        self.conv_1 = spectral_norm(nn.Conv2d(least, cout, 3, 1, 1))
        if cin != cout:
            self.norm_s = Norm(cin, labels, hidden)
            self.conv_s = spectral_norm(nn.Conv2d(cin, cout, 1, bias=False))

    def forward(self, x, labels):
        short = self.conv_s(self.norm_s(x, labels)) if hasattr(self, "conv_s") else x
        x = self.conv_0(F.leaky_relu(self.norm_0(x, labels), 0.2))
        return short + self.conv_1(F.leaky_relu(self.norm_1(x, labels), 0.2))


class DoubleGenerator(nn.Module):
    """Of three upsamplings, as at 32 pixels: the map of 4 pixels is doubled before the last three blocks alone."""

    def __init__(self, labels, w, latent):
        super().__init__()
        hidden = 2 * w
        sizes = [(16, 16), (16, 16), (16, 16), (16, 8), (8, 4), (4, 2), (2, 1)]
        if latent:
            self.latent = nn.Linear(256, 16 * w * 16)
        else:
            self.first = nn.Conv2d(labels, 16 * w, 3, 1, 1)
        self.blocks = nn.ModuleList(Block(a * w, b * w, labels, hidden) for a, b in sizes)
        self.last = nn.Conv2d(w, 3, 3, 1, 1)

    def forward(self, labels, z=None):
        x = self.first(F.interpolate(labels, (4, 4))) if z is None else self.latent(z).reshape(len(z), -1, 4, 4)
        for number, block in enumerate(self.blocks):
            if number >= 4:
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = block(x, labels)
        return torch.tanh(self.last(F.leaky_relu(x, 0.2)))


class DoubleScale(nn.Module):
    def __init__(self, channels, w):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(channels, w, 4, 2, 2)),
                nn.Sequential(spectral_norm(nn.Conv2d(w, 2 * w, 4, 2, 2, bias=False))),
                nn.Sequential(spectral_norm(nn.Conv2d(2 * w, 4 * w, 4, 2, 2, bias=False))),
                nn.Sequential(spectral_norm(nn.Conv2d(4 * w, 8 * w, 4, 1, 2, bias=False))),
            ]
        )
        self.last = nn.Conv2d(8 * w, 1, 4, 1, 2)

    def forward(self, x):
        maps = []
        for number, layer in enumerate(self.layers):
            x = layer(x)
            x = F.leaky_relu(F.instance_norm(x) if number else x, 0.2)
            maps.append(x)
        return [*maps, self.last(x)]


class DoubleDiscriminator(nn.Module):
    def __init__(self, channels, w):
        super().__init__()
        self.model = nn.ModuleList([DoubleScale(channels, w), DoubleScale(channels, w)])

    def forward(self, x):
        return [self.model[0](x), self.model[1](F.avg_pool2d(x, 3, 2, 1, count_include_pad=False))]


class DoubleEncoder(nn.Module):
    def __init__(self, w):
        super().__init__()
        pairs = [(3, w), (w, 2 * w), (2 * w, 4 * w)]
        convs = (spectral_norm(nn.Conv2d(a, b, 3, 2, 1, bias=False)) for a, b in pairs)
        self.layers = nn.ModuleList(nn.Sequential(conv) for conv in convs)
        self.mean, self.log_variance = nn.Linear(64 * w, 256), nn.Linear(64 * w, 256)

    def forward(self, x):
        for layer in self.layers:
            x = F.leaky_relu(F.instance_norm(layer(x)), 0.2)
        return self.mean(x.flatten(1)), self.log_variance(x.flatten(1))


RENAMED = {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}


def our_key(key):
    """The name of a double's tensor in our networks."""
    head, _, last = key.rpartition(".")
    return f"{head}.{RENAMED.get(last, last)}"


def load(theirs, ours, prefix=""):
    state = ours.state_dict()
    theirs.load_state_dict({key: state[prefix + our_key(key)].clone() for key in theirs.state_dict()})
    return theirs.double().train()


def largest_difference(theirs, ours, prefix=""):
    state = ours.state_dict()
    return max(float((x - state[prefix + our_key(key)]).abs().max()) for key, x in theirs.state_dict().items())


def output(g, e, a, b, noise):
    """An output, and the weighted divergence of its code, whose noise is given."""
    if e is None:
        return g(a), 0.0
    mean, log_variance = e(b)
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / len(b)
    return g(a, mean + noise * (log_variance / 2).exp()), 0.05 * divergence


@pytest.mark.parametrize("vae", [False, True])
def test_steps_go_where_the_doubles_go(vae):
    engine = engine_of("spade", vae=vae, **SETTINGS)
    method = engine.method
    assert isinstance(method, SPADE)
    g, d = load(DoubleGenerator(3, 4, vae), method.g, "model.0."), load(DoubleDiscriminator(6, 4), method.d)
    e = load(DoubleEncoder(4), method.e) if vae else None
    parameters = [*g.parameters(), *(e.parameters() if e else ())]
    optimizers = torch.optim.Adam(parameters, 1e-4, (0.0, 0.9)), torch.optim.Adam(d.parameters(), 4e-4, (0.0, 0.9))
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    for _ in range(STEPS):
        batch = batch_of(engine)
        factor = engine.schedule.factor(engine.images)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
        a, b = batch["a"], batch["b"]
        key = keyed_random.image_keys(engine.draw_seed, torch.arange(engine.images, engine.images + len(a)))
        fake, divergence = output(g, e, a, b, keyed_random.normal(key, "code g", 256).double())
        adversarial, matched = [], []
        for maps in d(torch.cat([torch.cat([a, fake], 1), torch.cat([a, b], 1)])):
            fakes, reals = zip(*(x.chunk(2) for x in maps), strict=True)
            adversarial.append(-fakes[-1].mean())
            matched += [10 / 2 * (x - y.detach()).abs().mean() for x, y in zip(fakes[:4], reals[:4], strict=True)]
        optimizers[0].zero_grad()
        (sum(adversarial) / 2 + sum(matched) + divergence).backward()
        optimizers[0].step()

        with torch.no_grad():
            fake, _ = output(g, e, a, b, keyed_random.normal(key, "code d", 256).double())
        cost = 0.0
        for maps in d(torch.cat([torch.cat([a, fake], 1), torch.cat([a, b], 1)])):
            on_fake, on_real = maps[-1].chunk(2)
            cost = cost + (F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()) / 2
        optimizers[1].zero_grad()
        cost.backward()
        optimizers[1].step()

        engine.step([batch])
    # Adam divides by the size of the gradient, so that rounding of 1e-16 grows where gradients are small.
    assert largest_difference(d, method.d) < 1e-8
    assert largest_difference(g, method.g, "model.0.") < 1e-8
    assert e is None or largest_difference(e, method.e) < 1e-8
