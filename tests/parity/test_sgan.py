"""Training of a semi-supervised GAN goes where a second one goes that is written here from the rules of the authors' code."""

import pytest
import torch
import torch.nn.functional as F

from translate import config, keyed_random
from translate.methods.sgan import SGAN
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

COUNT, STEPS = 6, 3
TOLERANCE = 1e-8  # Adam divides by the gradient's own size, and so enlarges rounding where that is small
SIZES = {"batch_size": COUNT, "classes": "x,y,z", "lr": 1e-3}
CASES = {
    "conv": {"networks": "conv", "crop_size": 32, "load_size": 32, "g_width": 2, "d_width": 3},
    "dense": {"networks": "dense", "crop_size": 6, "load_size": 6, "g_width": 5, "d_width": 8, "input_channels": 1},
}


class Double:
    """Both networks as functions of a dictionary of tensors with the names of ours; noise is drawn by the keys of images."""

    def __init__(self, method):
        self.p = {name: x.clone() for name, x in method.state_dict().items()}
        self.is_conv = method.cfg.networks == "conv"
        trained = {name for name, _ in method.named_parameters()}
        self.adam = {}
        for side in "gd":
            own = [x.requires_grad_() for name, x in self.p.items() if name in trained and name.startswith(f"{side}.")]
            self.adam[side] = torch.optim.Adam(own, 1e-3, (0.5, 0.999))

    def weight(self, name, axis=0, length=None):
        v = self.p[f"{name}.weight"].transpose(0, axis)
        norms = v.reshape(len(v), -1).square().sum(1).sqrt()
        shape = (-1, *[1] * (v.ndim - 1))
        length = self.p[f"{name}.length"] if length is None else length
        return (v * (length / norms).view(shape)).transpose(0, axis)

    def classify(self, x, key):
        last = None
        if self.is_conv:
            for n in range(9):
                if n % 3 == 0:
                    p = 0.5 if n else 0.2
                    x = x * (keyed_random.uniform(key, f"dropout {n}", *x.shape[1:]) >= p) / (1 - p)
                stride, pad = (2 if n in (2, 5) else 1), (1 if n < 6 else 0)
                x = F.conv2d(x, self.weight(f"d.layers.{n}"), self.p[f"d.layers.{n}.bias"], stride, pad)
                x = torch.where(x > 0, x, 0.2 * x)
            last = x = x.mean((2, 3))
        else:
            x = (x.flatten(1) + 1) / 2
            for n in range(5):
                x = x + (0.5 if n else 0.3) * keyed_random.normal(key, f"noise {n}", x.shape[1]).double()
                x = (x @ self.weight(f"d.layers.{n}").T + self.p[f"d.layers.{n}.bias"]).relu()
            last = x + 0.5 * keyed_random.normal(key, "noise last", x.shape[1]).double()
        return x, last @ self.weight("d.last").T + self.p["d.last.bias"]

    def norm(self, name, x):
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = (-1, *[1] * (x.ndim - 2))
        mean, var, count = x.mean(axes), x.var(axes, correction=0), x.numel() / x.shape[1]
        for key, value in (("mean", mean), ("var", var * count / (count - 1))):
            self.p[f"{name}.running_{key}"] = 0.9 * self.p[f"{name}.running_{key}"] + 0.1 * value.detach()
        return (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt() + self.p[f"{name}.shift"].view(shape)

    def generate(self, z):
        if not self.is_conv:
            for layer, n in (("first", 0), ("second", 1)):
                z = F.softplus(self.norm(f"g.norms.{n}", z @ self.p[f"g.{layer}.weight"].T))
            z = z @ self.weight("g.last", length=1.0).T + self.p["g.last.bias"]
            return 2 / (1 + (-z).exp()).view(-1, 1, 6, 6) - 1
        x = self.norm("g.first_norm", z @ self.p["g.first.weight"].T).relu().view(len(z), -1, 4, 4)
        for n in (0, 3):
            x = self.norm(
                f"g.model.{n + 1}", F.conv_transpose2d(x, self.p[f"g.model.{n}.weight"], None, 2, 2, 1)
            ).relu()
        return F.conv_transpose2d(x, self.weight("g.model.6", axis=1), self.p["g.model.6.bias"], 2, 2, 1).tanh()

    def update(self, side, loss):
        for x in self.p.values():
            x.grad = None
        loss.backward()
        self.adam[side].step()

    def step(self, images, labelled, label, keys, noise):
        for_d, for_g = keys[::2], keys[1::2]
        fold = keyed_random.fold_in
        lab = self.classify(labelled[::2], fold(for_d, "labelled"))[1]
        real = self.classify(images[::2], for_d)[1].exp().sum(1)
        fake = self.classify(self.generate(noise(for_d, "z d")).detach(), fold(for_d, "fake"))[1].exp().sum(1)
        of_class = -(lab.log_softmax(1)[torch.arange(COUNT // 2), label[::2]]).mean()
        adversarial = -0.5 * (real / (real + 1)).log().mean() - 0.5 * (1 / (fake + 1)).log().mean()
        self.update("d", of_class + adversarial)
        made = self.classify(self.generate(noise(for_g, "z g")), fold(for_g, "fake"))[0].mean(0)
        seen = self.classify(images[1::2], for_g)[0].mean(0).detach()
        matching = (made - seen).abs().mean() if self.is_conv else (made - seen).square().mean()
        self.update("g", matching)
        return {"d/class": of_class, "d/adv": adversarial, "g/feature_matching": matching}


@pytest.mark.parametrize("case", CASES)
def test_whole_steps_are_those_of_the_double(case):
    cfg = SGAN.resolve_config(config.resolve(SGAN.Config, ("test", {**SIZES, **CASES[case]})))
    engine = Engine(
        SGAN(cfg), Schedule(100, 10, 0), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"], batch_size=COUNT
    )  # fmt: skip
    shape = cfg.input_channels, cfg.crop_size, cfg.crop_size

    def images(name, key):
        return keyed_random.uniform(key, name, *shape).double() * 2 - 1

    prepared = images("prepared", torch.arange(20))
    engine.prepare([{"a": prepared}])
    twin = Double(engine.method)
    for number in range(STEPS):
        key = keyed_random.image_keys(engine.seed, torch.arange(number * COUNT, (number + 1) * COUNT))
        real, labelled, label = images("real", key), images("labelled", key), torch.arange(COUNT) // 2
        expected = twin.step(
            real, labelled, label, key, lambda key, name: keyed_random.uniform(key, name, 100).double()
        )
        got = engine.step([{"a": real, "labelled_a": labelled, "labelled_label": label}])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < TOLERANCE, name
    for name, x in engine.method.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert (x - twin.p[name]).abs().max() < TOLERANCE, name
