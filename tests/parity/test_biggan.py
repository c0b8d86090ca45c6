"""Training of BigGAN goes where a second one goes that is written here from the paper and the rules of the authors' code."""

import pytest
import torch
import torch.nn.functional as F

from translate import config, keyed_random
from translate.methods.biggan import BigGAN
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

COUNT, STEPS, NOISE = 4, 3, 8
TOLERANCE = 1e-8  # Adam divides by the gradient's own size, and so enlarges rounding where that is small
SIZES = {
    "crop_size": 32, "load_size": 32, "g_width": 2, "d_width": 2, "noise_size": NOISE, "batch_size": COUNT, "classes": "x,y,z",
    "n_critic": 2, "lambda_orthogonal": 0.1, "lr": 1e-3, "d_lr": 2e-3,
}  # fmt: skip


class Double:
    """BigGAN as functions of a dictionary of tensors, which has the names of ours and nothing else of it."""

    def __init__(self, state, hierarchical, shared, attention):
        self.p = {name: x.clone() for name, x in state.items()}
        self.hierarchical, self.shared, self.attention = hierarchical, shared, attention
        self.weights = {
            name: x.requires_grad_() for name, x in self.p.items() if name.endswith(("weight", "bias", "gamma"))
        }
        self.adam = {
            side: torch.optim.Adam(
                [x for name, x in self.weights.items() if name.startswith(f"{side}.")], rate, (0.0, 0.999), 1e-6
            )
            for side, rate in (("g", 1e-3), ("d", 2e-3))
        }

    def iterate(self, side):
        with torch.no_grad():
            for name in [name for name in self.p if name.startswith(f"{side}.") and name.endswith(".u")]:
                w = self.p[name[:-1] + "weight"].reshape(len(self.p[name]), -1)
                v = self.p[name] @ w
                v = v / v.norm()
                u = w @ v
                self.p[name], self.p[name[:-1] + "v"] = u / u.norm(), v

    def normal(self, name):
        w, u, v = (self.p[f"{name}.{part}"] for part in ("weight", "u", "v"))
        return w / (u @ w.reshape(len(u), -1) @ v)

    def conv(self, name, x, pad=0):
        return F.conv2d(x, self.normal(name), self.p.get(f"{name}.bias"), padding=pad)

    def batch_norm(self, name, x):
        mean, var, count = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0), x.numel() / x.shape[1]
        for key, value in (("mean", mean), ("var", var * count / (count - 1))):
            running = self.p[f"{name}.running_{key}"]
            self.p[f"{name}.running_{key}"] = 0.9 * running + 0.1 * value.detach()
        return (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()

    def conditional(self, name, x, y):
        table = self.normal if self.shared else lambda layer: self.p[f"{layer}.weight"]
        gain, shift = (y @ table(f"{name}.{part}").T for part in ("gain", "shift"))
        return self.batch_norm(name, x) * (1 + gain[:, :, None, None]) + shift[:, :, None, None]

    def attend(self, name, x):
        n, _, h, w = x.shape
        query = self.conv(f"{name}.query", x).reshape(n, -1, h * w)
        key, value = (
            F.max_pool2d(self.conv(f"{name}.{part}", x), 2).reshape(n, -1, h * w // 4) for part in ("key", "value")
        )
        share = torch.einsum("ncq,nck->nqk", query, key).softmax(2)
        seen = torch.einsum("nqk,nck->ncq", share, value).reshape(n, -1, h, w)
        return x + self.p[f"{name}.gamma"] * self.conv(f"{name}.out", seen)

    def generate(self, z, label):
        self.iterate("g")
        y = label @ self.p["g.shared.weight"].T if self.shared else label
        parts = z.split(NOISE // 4, 1) if self.hierarchical else [z]
        x = (parts[0] @ self.normal("g.first").T + self.p["g.first.bias"]).reshape(len(z), -1, 4, 4)
        for n in range(3):
            condition = torch.cat([y, parts[n + 1]], 1) if self.hierarchical else y
            block = f"g.blocks.{n}"
            h = self.conditional(f"{block}.norm1", x, condition).relu()
            h = self.conv(f"{block}.conv1", h.repeat_interleave(2, 2).repeat_interleave(2, 3), 1)
            h = self.conv(f"{block}.conv2", self.conditional(f"{block}.norm2", h, condition).relu(), 1)
            x = h + self.conv(f"{block}.shortcut", x.repeat_interleave(2, 2).repeat_interleave(2, 3))
            if self.attention == 8 * 2**n:
                x = self.attend("g.attention", x)
        x = (
            self.batch_norm("g.last.0", x) * self.p["g.last.0.weight"][:, None, None]
            + self.p["g.last.0.bias"][:, None, None]
        )
        return self.conv("g.last.2", x.relu(), 1).tanh()

    def judge(self, x, label):
        self.iterate("d")
        place = 0
        for n in range(4):
            block, halves = f"d.layers.{place}", n < 2
            h = self.conv(f"{block}.conv2", self.conv(f"{block}.conv1", x if n == 0 else x.relu(), 1).relu(), 1)
            side = self.conv(f"{block}.shortcut", x) if f"{block}.shortcut.weight" in self.p else x
            x = F.avg_pool2d(h + side, 2) if halves else h + side
            place += 1
            if halves and self.attention == 16 // 2**n:
                x = self.attend(f"d.layers.{place}", x)
                place += 1
        h = x.relu().sum((2, 3))
        score = h @ self.normal("d.last").T + self.p["d.last.bias"]
        return score[:, 0] + ((label @ self.normal("d.embedding").T) * h).sum(1)

    def update(self, side, losses):
        for x in self.weights.values():
            x.grad = None
        sum(losses.values()).backward()
        self.adam[side].step()

    def step(self, number, real, label, z_d, z_g):
        both = self.judge(torch.cat([self.generate(z_d, label).detach(), real]), torch.cat([label, label]))
        found = {"d/adv": (1 + both[:COUNT]).relu().mean() + (1 - both[COUNT:]).relu().mean()}
        self.update("d", found)
        if number % 2 == 1:
            losses = {"g/adv": -self.judge(self.generate(z_g, label), label).mean(), "g/orthogonal": self.orthogonal()}
            self.update("g", losses)
            found |= losses
        return found

    def orthogonal(self):
        total = 0.0
        for name, x in self.weights.items():
            is_table = name == "g.shared.weight" if self.shared else (".gain." in name or ".shift." in name)
            if name.startswith("g.") and x.ndim > 1 and not is_table:
                w = x.reshape(len(x), -1)
                total = total + 0.1 * 0.5 * ((w @ w.T) * (1 - torch.eye(len(w)))).square().sum()
        return total


@pytest.mark.parametrize(
    ("hierarchical", "shared", "attention"), [(True, 3, 16), (False, 0, 0)], ids=["paper", "script for 32 pixels"]
)
def test_whole_steps_are_those_of_the_double(hierarchical, shared, attention):
    flags = {"hierarchical": hierarchical, "shared_size": shared, "attention": attention}
    cfg = BigGAN.resolve_config(config.resolve(BigGAN.Config, ("test", {**SIZES, **flags})))
    engine = Engine(
        BigGAN(cfg), Schedule(100, 10, 0), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"], batch_size=COUNT
    )  # fmt: skip
    with torch.no_grad():
        for name, p in engine.method.named_parameters():
            if name.endswith(("gamma", "bias")):
                p.add_(0.3)
    twin = Double(engine.method.state_dict(), hierarchical, shared, attention)
    for number in range(STEPS):
        key = keyed_random.image_keys(engine.seed, torch.arange(number * COUNT, (number + 1) * COUNT))
        real = keyed_random.uniform(key, "real", 3, 32, 32).double() * 2 - 1
        label = torch.arange(COUNT) % 3
        draws = (keyed_random.normal(key, name, NOISE).double() for name in ("z d", "z g"))
        expected = twin.step(number, real, F.one_hot(label, 3).double(), *draws)
        got = engine.step([{"a": real, "label": label}])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < TOLERANCE, name
    for name, x in engine.method.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert (x - twin.p[name]).abs().max() < TOLERANCE, name
