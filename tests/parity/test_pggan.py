"""Training of PGGAN goes where a double in plain PyTorch goes, step by step, in float64, through all levels and fades.

The double is written from the published rules alone: its networks are functions of weights by name, its schedule is a table.
What chance decides, the noise and the mixes of the penalty, is fed.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from translate import config, keyed_random
from translate.methods.pggan import PGGAN
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

WIDTH, NOISE, HALF_LIFE = 6, 5, 30
HE = math.sqrt(2)
TOLERANCE = 1e-9  # rounding of float64, through Adam, whose first steps divide gradients by their own size
SETTINGS = {
    "crop_size": 16, "load_size": 16, "g_width": WIDTH, "d_width": WIDTH, "noise_size": NOISE, "batch_size": 4,
    "max_batch_size": 8, "stable_images": 8, "fade_images": 16, "ema_half_life": HALF_LIFE,
}  # fmt: skip
TABLE = [  # side in pixels, α while it fades in (a fraction that float32 holds), images of the step; by hand from the settings
    (4, None, 8), (8, 0.0, 8), (8, 0.5, 8), (8, None, 8),
    (16, 0.0, 4), (16, 0.25, 4), (16, 0.5, 4), (16, 0.75, 4), (16, None, 4), (16, None, 4),
]  # fmt: skip
NEW_MOMENTS = (1, 3, 4, 8)
"""Steps before which a fade begins or ends."""


def scaled(weights, name, gain=HE):
    w = weights[name + ".weight"]
    return w * gain / math.sqrt(w[0].numel())


def conv(weights, name, x, gain=HE):
    w = scaled(weights, name, gain)
    return F.conv2d(x, w, weights[name + ".bias"], padding=w.shape[-1] // 2)


def act(x):
    return torch.maximum(x, 0.2 * x)


def norm(x):
    return x / torch.sqrt((x**2).mean(1, keepdim=True) + 1e-8)


def up(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def down(x):
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def generate(weights, z, side, alpha):
    first = weights["blocks.0.0.weight"]  # (noise, channels, 4, 4)
    x = torch.tensordot(norm(z), first, 1) * math.sqrt(2) / 4 / math.sqrt(len(first))
    x = norm(act(x + weights["blocks.0.0.bias"].view(-1, 1, 1)))
    x = norm(act(conv(weights, "blocks.0.3", x)))
    levels = int(math.log2(side)) - 2
    before = x
    for level in range(1, levels + 1):
        before = x
        for layer in (1, 4):
            x = norm(act(conv(weights, f"blocks.{level}.{layer}", up(x) if layer == 1 else x)))
    image = conv(weights, f"to_image.{levels}", x, gain=1)
    return (
        image
        if alpha is None
        else (1 - alpha) * up(conv(weights, f"to_image.{levels - 1}", before, gain=1)) + alpha * image
    )


def judge(weights, x, alpha):
    levels = int(math.log2(x.shape[-1])) - 2
    y = act(conv(weights, f"from_image.{levels}.0", x))
    for level in range(levels, 0, -1):
        y = act(conv(weights, f"blocks.{level}.0", y))
        y = down(act(conv(weights, f"blocks.{level}.2", y)))
        if level == levels and alpha is not None:
            y = (1 - alpha) * act(conv(weights, f"from_image.{level - 1}.0", down(x))) + alpha * y
    planes = []
    for start in range(0, len(y), 4):
        group = y[start : start + 4]
        deviation = torch.sqrt(((group - group.mean(0)) ** 2).mean(0) + 1e-8).mean()
        planes += [deviation.expand(1, 1, 4, 4)] * len(group)
    y = act(conv(weights, "blocks.0.1", torch.cat([y, torch.cat(planes)], 1))).flatten(1)
    y = act(y @ scaled(weights, "blocks.0.4").T + weights["blocks.0.4.bias"])
    return y @ scaled(weights, "blocks.0.6", gain=1).T + weights["blocks.0.6.bias"]


class Double:
    """Weights of both networks by name, their average, and Adam without a first moment."""

    def __init__(self, method):
        self.g, self.d = (
            {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
            for net in (method.g, method.d)
        )
        self.average = {name: p.detach().clone() for name, p in self.g.items()}
        self.images = 0
        self.forget()

    def forget(self):
        self.adam_g, self.adam_d = (
            torch.optim.Adam(list(net.values()), 1e-3, betas=(0.0, 0.99), eps=1e-8) for net in (self.g, self.d)
        )

    def step(self, real, side, alpha, z_d, z_g, mix):
        if alpha is not None:
            real = (1 - alpha) * up(down(real)) + alpha * real
        fake = generate(self.g, z_d, side, alpha).detach()
        on_real, on_fake = judge(self.d, real, alpha), judge(self.d, fake, alpha)
        mixed = (mix * real + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(judge(self.d, mixed, alpha).sum(), mixed, create_graph=True)
        losses = {
            "d/adv": on_fake.mean() - on_real.mean(),
            "d/penalty": 10 * ((slope.pow(2).sum((1, 2, 3)).sqrt() - 1) ** 2).mean(),
            "d/drift": 0.001 * (on_real**2).mean(),
        }
        self.adam_d.zero_grad()
        sum(losses.values()).backward()
        self.adam_d.step()
        losses["g/adv"] = -judge(self.d, generate(self.g, z_g, side, alpha), alpha).mean()
        self.adam_g.zero_grad()
        losses["g/adv"].backward()
        self.adam_g.step()
        self.images += len(real)
        decay = 0.5 ** (len(real) / min(HALF_LIFE, 0.05 * self.images))
        for name, p in self.g.items():
            self.average[name] += (1 - decay) * (p.detach() - self.average[name])
        return losses


@pytest.fixture(scope="module")
def runs():
    """An engine and its double after all steps of the table, and the largest differences of losses and weights."""
    cfg = PGGAN.resolve_config(config.resolve(PGGAN.Config, ("test", SETTINGS)))
    method = PGGAN(cfg)
    engine = Engine(
        method, Schedule(100, 0, 0, images=60), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=4, ema_half_life=HALF_LIFE, stages=PGGAN.stages(cfg, 60, 60),
    )  # fmt: skip
    double, worst = Double(method), {"loss": 0.0, "weight": 0.0, "average": 0.0}
    for number, (side, alpha, count) in enumerate(TABLE):
        if number in NEW_MOMENTS:
            double.forget()
        key = keyed_random.image_keys(0, torch.arange(engine.images, engine.images + count))
        real = keyed_random.uniform(key, "real", 3, side, side).double() * 2 - 1
        z_d, z_g = (keyed_random.normal(key, name, NOISE).double() for name in ("z of d", "z of g"))
        mix = keyed_random.uniform(key, "gradient penalty", 1, 1, 1).double()
        expected = double.step(real, side, alpha, z_d, z_g, mix)
        got = engine.step([{"a": real}])
        assert got.keys() == expected.keys()
        worst["loss"] = max(worst["loss"], *(abs(got[name] - loss).item() for name, loss in expected.items()))
        for net, twin in ((method.g, double.g), (method.d, double.d)):
            for name, p in net.named_parameters():
                worst["weight"] = max(worst["weight"], (p - twin[name]).abs().max().item())
        for name, p in engine.ema.networks["g"].named_parameters():
            worst["average"] = max(worst["average"], (p - double.average[name]).abs().max().item())
    return engine, worst


def test_whole_steps_are_those_of_the_double(runs):
    engine, worst = runs
    assert engine.images == sum(count for _, _, count in TABLE)
    assert max(worst.values()) < TOLERANCE, worst


def test_samples_of_the_averages_are_of_the_last_level(runs):
    engine, _ = runs
    with engine.ema.swapped_in():
        assert engine.method.eval().sample(torch.arange(2)).shape == (2, 3, 16, 16)


DEFAULTS = {
    "g_width": 512, "d_width": 512, "noise_size": 512, "lr": 1e-3, "beta2": 0.99, "adversarial": "wgan-gp", "flip": False,
    "lambda_penalty": None, "lambda_drift": None, "stable_images": 600_000, "fade_images": 600_000, "max_batch_size": 128,
}  # fmt: skip


def test_the_default_recipe_is_the_authors():
    """Batches by the table of their code for one GPU: 4 to 16 px 128, 32 px 64, 64 px 32, 128 px 16."""
    cfg = PGGAN.resolve_config(PGGAN.Config(load_size=128))
    assert {name: getattr(cfg, name) for name in DEFAULTS} == DEFAULTS
    stages = PGGAN.stages(cfg, 12_000_000, 12_000_000)
    assert {stage.crop_size: stage.batch_size for stage in stages} == {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16}
    assert 0.5 ** (16 / cfg.ema_half_life) == pytest.approx(0.999, abs=1e-6)
    method = PGGAN.on_meta(cfg)
    assert (method.adversarial_loss.penalty_weight, method.drift) == (10, 0.001)
    assert {update.options["betas"] for update in method.updates.values()} == {(0, 0.99)}
