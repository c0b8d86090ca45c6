"""DualGAN against a second one, written from the authors' rules in plain tensors, and its recipe point by point."""

import pytest
import torch
import torch.nn.functional as F

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods.dualgan import DualGAN, DualGANConfig
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from .helpers import clock_at

SIZE = 32
SMALL = {"crop_size": SIZE, "g_width": 2, "d_width": 2, "batch_size": 2}


def config_of(**flags):
    return DualGAN.resolve_config(config.resolve(DualGANConfig, ("test", {**SMALL, **flags})))


def images(step, count=2):
    """A batch of the step: noise in [−1, 1]."""
    key = keyed_random.image_keys(5, torch.arange(count * step, count * step + count))
    return {side: keyed_random.uniform(key, side, 3, SIZE, SIZE).double() * 2 - 1 for side in "ab"}


# The second DualGAN. TensorFlow's rules, on dicts of weights.


def convolution(x, w, b):
    """Stride 2 and "SAME": half the size, rounded up; of the zeros that are missing, the larger half goes behind."""
    pads = []
    for length in x.shape[:1:-1]:
        missing = max((-(-length // 2) - 1) * 2 + w.shape[2] - length, 0)
        pads += [missing // 2, missing - missing // 2]
    return F.conv2d(F.pad(x, pads), w, b, stride=2)


def transposed(x, w, b):
    """The gradient of the convolution from a map of twice the size to this one."""
    large = x.new_zeros(len(x), w.shape[1], 2 * x.shape[2], 2 * x.shape[3], requires_grad=True)
    with torch.enable_grad():
        (y,) = torch.autograd.grad(convolution(large, w, None), large, x, create_graph=True)
    return y + b[:, None, None]


def norm(x, scale, shift):
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True)
    return (x - mean) * (variance + 1e-6).rsqrt() * scale[:, None, None] + shift[:, None, None]


def leaky(x):
    return torch.maximum(x, 0.2 * x)


class Weights(dict):
    """A network's parameters by name."""

    def __init__(self, net):
        super().__init__({name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()})
        self.square = {name: torch.ones_like(p) for name, p in self.items()}

    def of(self, layer):
        return self[f"{layer}.weight"], self[f"{layer}.bias"]

    def generate(self, x):
        encoded, level, outer = [convolution(x, *self.of("model.model.0"))], "model.model.1.model", []
        while f"{level}.6.weight" in self:
            encoded.append(norm(convolution(leaky(encoded[-1]), *self.of(f"{level}.1")), *self.of(f"{level}.2")))
            outer.append(level)
            level += ".3.model"
        innermost = norm(convolution(leaky(encoded[-1]), *self.of(f"{level}.1")), *self.of(f"{level}.2"))
        y = norm(transposed(innermost.relu(), *self.of(f"{level}.4")), *self.of(f"{level}.5"))
        for level in reversed(outer):
            y = torch.cat([y, encoded.pop()], 1)
            y = norm(transposed(y.relu(), *self.of(f"{level}.5")), *self.of(f"{level}.6"))
        y = torch.cat([y, encoded.pop()], 1)
        return transposed(y.relu(), *self.of("model.model.3")).tanh()

    def judge(self, x):
        y, place = leaky(convolution(x, *self.of("model.0"))), 2
        while f"model.{place}.weight" in self:
            y = leaky(norm(convolution(y, *self.of(f"model.{place}")), *self.of(f"model.{place + 1}")))
            place += 3
        return y.flatten(1) @ self["last.weight"].T + self["last.bias"]

    def move(self, rate=5e-5):
        """RMSProp of TensorFlow 1."""
        with torch.no_grad():
            for name, p in self.items():
                self.square[name] = 0.9 * self.square[name] + 0.1 * p.grad**2
                p -= rate * p.grad / (self.square[name] + 1e-10).sqrt()
                p.grad = None

    def forget(self):
        for p in self.values():
            p.grad = None


class Twin:
    """The authors' loop: both critics, then both generators, each by one optimizer step on the sum of their losses."""

    def __init__(self, method, *, n_critic=1, clip=0.0, penalty=10.0, classic=False):
        self.nets = {name: Weights(net) for name, net in method.named_children()}
        self.n_critic, self.clip, self.penalty, self.classic = n_critic, clip, penalty, classic

    def update(self, names, losses):
        for net in self.nets.values():
            net.forget()
        sum(losses.values()).backward()
        for name in names:
            self.nets[name].move()

    def step(self, number, a, b, key):
        g_ab, g_ba, d_a, d_b = (self.nets[name] for name in ("g_ab", "g_ba", "d_a", "d_b"))
        fakes = {"a": g_ba.generate(b).detach(), "b": g_ab.generate(a).detach()}
        losses = {}
        for domain, real, d in (("a", a, d_a), ("b", b, d_b)):
            on_real, on_fake = d.judge(real), d.judge(fakes[domain])
            if self.classic:
                two = F.binary_cross_entropy_with_logits
                loss = (two(on_real, torch.ones_like(on_real)) + two(on_fake, torch.zeros_like(on_fake))) / 2
            else:
                loss = on_fake.mean() - on_real.mean()
            losses[f"d/adv_{domain}"] = loss
            if self.penalty:
                share = keyed_random.uniform(key, "gradient penalty", 1, 1, 1).double()
                mixed = (real * share + fakes[domain] * (1 - share)).requires_grad_()
                (slope,) = torch.autograd.grad(d.judge(mixed).sum(), mixed, create_graph=True)
                steep = slope.square().sum((1, 2, 3)).sqrt()
                losses[f"d/penalty_{domain}"] = self.penalty * ((steep - 1) ** 2).mean()
        self.update(("d_a", "d_b"), losses)
        if self.clip:
            with torch.no_grad():
                for p in (*d_a.values(), *d_b.values()):
                    p.copy_(p.clip(-self.clip, self.clip))
        if number % self.n_critic == self.n_critic - 1:
            for _ in range(2 if self.classic else 1):
                last = self.generators(a, b)
            losses |= last
        return losses

    def generators(self, a, b):
        g_ab, g_ba, d_a, d_b = (self.nets[name] for name in ("g_ab", "g_ba", "d_a", "d_b"))
        fake_b, fake_a = g_ab.generate(a), g_ba.generate(b)
        fool = (lambda x: F.softplus(-x).mean()) if self.classic else (lambda x: -x.mean())
        losses = {
            "g/adv_ab": fool(d_b.judge(fake_b)),
            "g/adv_ba": fool(d_a.judge(fake_a)),
            "g/cycle_a": 500 * (g_ba.generate(fake_b) - a).abs().mean(),
            "g/cycle_b": 500 * (g_ab.generate(fake_a) - b).abs().mean(),
        }
        self.update(("g_ab", "g_ba"), losses)
        return losses


RECIPES = {
    "the default": ({}, {}),
    "clipped critics": (
        {"n_critic": 2, "clip": 0.01, "lambda_penalty": 0.0}, {"n_critic": 2, "clip": 0.01, "penalty": 0},
    ),
    "classic": ({"adversarial": "non-saturating"}, {"classic": True, "penalty": 0}),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "rules"), RECIPES.values(), ids=RECIPES)
def test_training_goes_where_the_authors_rules_lead(flags, rules):
    cfg = config_of(**flags)
    schedule = Schedule(per_epoch=10, epochs=50, decay_epochs=0)
    engine = Engine(
        DualGAN(cfg), schedule, seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"], batch_size=2
    )
    twin = Twin(engine.method, **rules)
    for number in range(3):
        batch = images(number)
        key = keyed_random.image_keys(0, torch.arange(2 * number, 2 * number + 2))
        expected = twin.step(number, batch["a"], batch["b"], key)
        got = engine.step([batch])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < 1e-10 * max(1, abs(loss)), name
        for name, theirs in twin.nets.items():
            for key, p in engine.method.get_submodule(name).named_parameters():
                assert (p - theirs[key]).abs().max() < 1e-10, f"{name}.{key}"


# The recipe.


def yields(method, steps):
    """The updates of each step, as one string."""
    return ["".join(name for name, _ in method.step(batch_of(method, n), clock_at(n, 2), {})) for n in range(steps)]


def batch_of(method, step):
    return {**{k: v.float() for k, v in images(step).items()}, "key": torch.tensor([1, 2])}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, ["dg", "dg"]),
        ({"adversarial": "hinge", "n_critic": 3}, ["d", "d", "dg", "d"]),
        ({"adversarial": "non-saturating"}, ["dgg", "dgg"]),
        ({"adversarial": "lsgan", "g_steps": 3}, ["dggg"]),
    ],
)
def test_critics_first_then_generators(flags, expected):
    assert yields(DualGAN(config_of(**flags)), len(expected)) == expected


def test_each_branch_has_a_phase_of_its_own():
    method = DualGAN(config_of(n_critic=2, adversarial="relativistic", penalty_every=3))
    phases = [method.phase(clock_at(step, 2)) for step in range(6)]
    taken = [(step % 2 == 1, step % 3 == 0) for step in range(6)]
    assert len(set(zip(phases, taken, strict=True))) == len(set(phases)) == len(set(taken))


def test_clipping_reaches_critics_alone_and_all_of_them():
    method = DualGAN(config_of(clip=0.005))
    step = method.step(batch_of(method, 0), clock_at(0, 2), {})
    next(step)
    assert max(p.abs().max() for p in method.d_a.parameters()) > 0.5  # norm scales are about 1
    next(step)
    assert max(p.abs().max() for d in (method.d_a, method.d_b) for p in d.parameters()) <= 0.005
    assert max(p.abs().max() for p in method.g_ab.parameters()) > 0.5


def test_the_default_recipe_is_the_authors():
    cfg = DualGAN.resolve_config(DualGANConfig())
    assert (cfg.generator, cfg.discriminator, cfg.norm, cfg.dropout) == ("dual_unet_256", "dualgan", "instance", False)
    assert (cfg.lambda_a, cfg.lambda_b, cfg.lr, cfg.batch_size, cfg.n_critic) == (500, 500, 5e-5, 1, 1)
    assert (cfg.epochs, cfg.decay_epochs, cfg.crop_size, cfg.default_load_size, cfg.flip) == (50, 0, 256, 256, True)
    method = DualGAN.on_meta(cfg)
    assert method.adversarial_loss.penalty_weight == 10
    assert {(u.optimizer, u.options["decay"], u.lr) for u in method.updates.values()} == {("rmsprop", 0.9, 5e-5)}


@pytest.mark.parametrize(("crop", "generator"), [(256, 256), (512, 256), (128, 128), (96, 32), (32, 32)])
def test_smaller_crops_lose_levels_and_are_not_cropped_at_random(crop, generator):
    cfg = DualGAN.resolve_config(config.resolve(DualGANConfig, ("test", {"crop_size": crop})))
    assert cfg.generator == f"dual_unet_{generator}"
    assert cfg.default_load_size == crop


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"crop_size": 33}, "--crop-size 32"),
        ({"crop_size": 96, "generator": "dual_unet_64"}, "multiples of 64"),
        ({"preprocess": "none"}, "another --discriminator"),
        ({"preprocess": "none", "discriminator": "dualgan_patch"}, "another --adversarial"),
        ({"norm": "batch"}, "--norm instance"),
    ],
)
def test_what_cannot_work_is_refused_with_a_remedy(flags, named):
    with pytest.raises(UsageError, match=named):
        config_of(**flags)


def test_whole_images_of_any_size_can_be_judged_by_patches():
    flags = {"preprocess": "none", "discriminator": "dualgan_patch", "adversarial": "lsgan"}
    assert config_of(**flags).discriminator == "dualgan_patch"
