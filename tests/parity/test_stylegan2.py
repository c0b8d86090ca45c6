"""Training of StyleGAN2 goes where a double in plain PyTorch goes, step by step, in float64.

The double is written from the published rules alone, as functions of weights by name: modulated weights image by image, filters
by zeros between pixels. What chance decides, noise and cuts of the mixing, is fed.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from translate import config, keyed_random
from translate.methods.stylegan2 import StyleGAN2
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

COUNT, SIDE, NOISE, CODES, STEPS = 4, 16, 8, 6, 6
PATH_EVERY, R1_EVERY, GAMMA, HALF_LIFE = 3, 2, 5.0, 30
TOLERANCE = 1e-9  # rounding of float64, through Adam, whose first steps divide gradients by their own size
SETTINGS = {
    "crop_size": SIDE, "load_size": SIDE, "g_width": 6, "d_width": 6, "noise_size": NOISE, "full_width_size": 8,
    "batch_size": COUNT, "path_every": PATH_EVERY, "r1_every": R1_EVERY, "lambda_r1": GAMMA, "diffaugment": "",
    "style_mixing": 0.6, "ema_half_life": HALF_LIFE,
}  # fmt: skip


def act(x):
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def dense(weights, name, x, rate=1.0):
    w, b = weights[name + ".weight"], weights[name + ".bias"]
    return x @ (w * rate / math.sqrt(w.shape[1])).T + b * rate


def zeros_between(x):
    """Maps of twice the side less one, with zeros between the pixels."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, 2 * h - 1, 2 * w - 1)
    wide[:, :, ::2, ::2] = x
    return wide


def blurred(x, before, after, gain=1.0):
    """The filter [1, 3, 3, 1] / 8 along both sides, with zeros in front of and behind the rows and columns."""
    x = F.pad(x, (before, after, before, after))
    taps = [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    x = sum(t * x[:, :, k : x.shape[2] - 3 + k] for k, t in enumerate(taps))
    return gain * sum(t * x[:, :, :, k : x.shape[3] - 3 + k] for k, t in enumerate(taps))


def twice(x):
    return blurred(F.pad(zeros_between(x), (0, 1, 0, 1)), 2, 1, gain=4)


def modulated(weights, name, x, code, demodulate=True, up=False):
    style, w = dense(weights, name + ".affine", code), weights[name + ".weight"]
    images = []
    for image, s in zip(x, style, strict=True):
        own = w * s[None, :, None, None]
        norm = torch.sqrt((own**2).sum((1, 2, 3), keepdim=True) + 1e-8)
        own = own / (norm if demodulate else math.sqrt(w[0].numel()))
        if up:
            images.append(F.conv2d(zeros_between(image[None]), own.flip(2, 3), padding=2))
        else:
            images.append(F.conv2d(image[None], own, padding=w.shape[-1] // 2))
    y = torch.cat(images)
    return blurred(y, 1, 1, gain=4) if up else y


def synthesise(weights, codes, key):
    x, image = weights["constant"].expand(len(codes), -1, -1, -1), None
    index = 0
    for block in range(3):
        for layer in ("up", "layer")[block == 0 :]:
            name = f"blocks.{block}.{layer}"
            x = modulated(weights, name + ".conv", x, codes[:, index], up=layer == "up")
            noise = keyed_random.normal(key, f"noise {block}" + " up" * (layer == "up"), 1, *x.shape[2:]).double()
            x = act(x + noise * weights[name + ".strength"] + weights[name + ".bias"].view(-1, 1, 1))
            index += 1
        name = f"blocks.{block}.to_image"
        shown = modulated(weights, name + ".conv", x, codes[:, index], demodulate=False)
        shown = shown + weights[name + ".bias"].view(-1, 1, 1)
        image = shown if image is None else twice(image) + shown
    return image


def mapped(weights, z):
    z = z / torch.sqrt((z**2).mean(1, keepdim=True) + 1e-8)
    for layer in range(2):
        z = act(dense(weights, f"mapping.layers.{layer}", z, rate=0.01))
    return z


def conv(weights, name, x, **options):
    w = weights[name + ".weight"]
    return F.conv2d(x, w / math.sqrt(w[0].numel()), weights.get(name + ".bias"), **options)


def judge(weights, x):
    y = act(conv(weights, "from_image", x))
    for block in range(2):
        name = f"blocks.{block}"
        side = conv(weights, name + ".skip", blurred(y, 1, 1)[:, :, ::2, ::2]) / math.sqrt(2)
        z = blurred(act(conv(weights, name + ".first", y, padding=1)), 2, 2)
        y = side + act(conv(weights, name + ".second", z, stride=2)) / math.sqrt(2)
    deviation = torch.sqrt(((y - y.mean(0)) ** 2).mean(0) + 1e-8).mean()
    y = act(conv(weights, "conv", torch.cat([y, deviation.expand(len(y), 1, 4, 4)], 1), padding=1))
    return dense(weights, "logit", act(dense(weights, "hidden", y.flatten(1))))


class Double:
    """Weights of both networks by name; one Adam each, whose rate and decays make up for the steps of the lazy penalties."""

    def __init__(self, method):
        self.g, self.d = (
            {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
            for net in (method.g, method.d)
        )
        self.adams = {}
        for side, net, every in (("g", self.g, PATH_EVERY), ("d", self.d, R1_EVERY)):
            share = every / (every + 1)
            betas = (0.0, 0.99**share)
            self.adams[side] = torch.optim.Adam(list(net.values()), 2.5e-3 * share, betas=betas, eps=1e-8)
        self.average = torch.zeros(NOISE, dtype=torch.float64)
        self.path_mean = torch.zeros((), dtype=torch.float64)

    def codes(self, key, name):
        z, other = (keyed_random.normal(key, f"{word} of {name}", NOISE).double() for word in ("z", "second z"))
        first, second = mapped(self.g, z), mapped(self.g, other)
        self.average = 0.995 * self.average + 0.005 * first.detach().mean(0)
        rows = []
        for w, v, (chance, place) in zip(first, second, keyed_random.uniform(key, f"mixing of {name}", 2), strict=True):
            cut = 1 + int(place * (CODES - 1)) if chance < 0.6 else CODES
            rows.append(torch.stack([w] * cut + [v] * (CODES - cut)))
        return torch.stack(rows)

    def generate(self, key, name):
        codes = self.codes(key, name)
        return codes, synthesise(self.g, codes, keyed_random.fold_in(key, f"noise of {name}"))

    def minimise(self, side, loss):
        self.adams[side].zero_grad()
        loss.backward()
        self.adams[side].step()

    def step(self, number, real, key):
        losses = {}
        losses["g/adv"] = F.softplus(-judge(self.d, self.generate(key, "g")[1])).mean()
        self.minimise("g", losses["g/adv"])
        if number % PATH_EVERY == 0:
            some = key[::2]
            codes, images = self.generate(some, "path")
            noise = keyed_random.normal(some, "path length", 3, SIDE, SIDE).double() / SIDE
            (slope,) = torch.autograd.grad((images * noise).sum(), codes, create_graph=True)
            lengths = torch.sqrt((slope**2).sum(2).mean(1))
            self.path_mean = 0.99 * self.path_mean + 0.01 * lengths.detach().mean()
            losses["g/path"] = 2 * PATH_EVERY * ((lengths - self.path_mean) ** 2).mean()
            self.minimise("g", losses["g/path"] + 0 * images.sum())
        fake = self.generate(key, "d")[1].detach()
        losses["d/adv"] = (F.softplus(judge(self.d, fake)).mean() + F.softplus(-judge(self.d, real)).mean()) / 2
        self.minimise("d", losses["d/adv"])
        if number % R1_EVERY == 0:
            shown = real.clone().requires_grad_()
            logits = judge(self.d, shown)
            (slope,) = torch.autograd.grad(logits.sum(), shown, create_graph=True)
            losses["d/r1"] = GAMMA / 2 * R1_EVERY * (slope**2).sum((1, 2, 3)).mean() / 2
            self.minimise("d", losses["d/r1"] + 0 * logits.sum())  # the authors' way to a gradient for every weight
        return losses


def test_whole_steps_are_those_of_the_double():
    cfg = StyleGAN2.resolve_config(config.resolve(StyleGAN2.Config, ("test", SETTINGS)))
    method = StyleGAN2(cfg)
    engine = Engine(
        method, Schedule(100, 0, 0, images=60), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=COUNT, ema_half_life=HALF_LIFE,
    )  # fmt: skip
    double = Double(method)
    for number in range(STEPS):
        key = keyed_random.image_keys(0, torch.arange(engine.images, engine.images + COUNT))
        real = keyed_random.uniform(key, "real", 3, SIDE, SIDE).double() * 2 - 1
        expected, got = double.step(number, real, key), engine.step([{"a": real}])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < TOLERANCE, (number, name)
        for net, twin in ((method.g, double.g), (method.d, double.d)):
            for name, p in net.named_parameters():
                assert (p - twin[name]).abs().max() < TOLERANCE, (number, name)
        assert (method.g.mapping.average - double.average).abs().max() < TOLERANCE
        assert abs(method.path_mean - double.path_mean) < TOLERANCE
    key = torch.arange(2)
    code = mapped(double.g, keyed_random.normal(key, "z", NOISE).double())
    cut = double.average + 0.7 * (code - double.average)
    expected = synthesise(double.g, cut[:, None].expand(-1, CODES, -1), torch.zeros(2, dtype=torch.int64)).clamp(-1, 1)
    method.eval()
    torch.testing.assert_close(
        method.sample_styles(method.styles(key, 0.7)), expected.detach(), rtol=0, atol=1e-7
    )  # the share of `lerp` is float32's


DEFAULTS = {
    "g_width": 512, "d_width": 512, "noise_size": 512, "mapping_layers": 2, "lr": 2.5e-3, "beta2": 0.99, "r1_every": 16,
    "lambda_path": 2, "path_every": 4, "style_mixing": 0.9, "ada_target": 0.6, "adversarial": "non-saturating",
}  # fmt: skip


@pytest.mark.parametrize(
    ("size", "batch", "gamma", "full"), [(1024, 4, 52.4288, 64), (256, 16, 0.8192, 32), (128, 32, 0.1024, 32)]
)
def test_the_default_recipe_is_that_of_the_official_code(size, batch, gamma, full):
    """Its rules of `auto`: batch min(4096 / size, 32), γ = 0.0002 · size² / batch, half-life of 10,000 / 32 images for each."""
    cfg = StyleGAN2.resolve_config(StyleGAN2.Config(crop_size=size))
    assert {name: getattr(cfg, name) for name in DEFAULTS} == DEFAULTS
    assert (cfg.batch_size, cfg.full_width_size, cfg.ema_half_life) == (batch, full, batch * 10_000 / 32)
    assert cfg.lambda_r1 == pytest.approx(gamma)
    updates = StyleGAN2.on_meta(cfg).updates
    for name, share in (("g", 4 / 5), ("d", 16 / 17)):
        assert updates[name].lr == pytest.approx(2.5e-3 * share)
        assert updates[name].options["betas"] == (0.0, pytest.approx(0.99**share))
