"""What is logged of the discriminators: their mean outputs on real and on made images, without a trace in the training."""

import math

import pytest
import torch

from translate.methods import METHODS
from translate.methods.base import Method, Update
from translate.nn.base import Discriminator
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.monitors.discriminator_outputs import DiscriminatorOutputMonitor
from translate.training.schedule import Schedule

from ...helpers import SIZE, batch_like, numbered_keys, small_config


def tiny(name, **flags):
    return METHODS[name](small_config(name, **flags))


def at(method, precision="fp32"):
    schedule = Schedule(10, 0, 0, images=8)
    kept = PRECISIONS[precision]
    return Engine(method, schedule, seed=0, device=torch.device("cpu"), precision=kept, batch_size=1)


def sample(name, count=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(count, 3, SIZE, SIZE, generator=generator).to(dtype) * 1.4 - 0.7 for _ in "ab")
    return batch_like(name, *images)  # which stay in [-1, 1] where they become darker


def expected(name, a, b=0.0, darker=0.25):
    """Mean outputs of discriminators that give the brightness of what they see, where domains a and b are so bright, and what
    is made of an image is so much darker than it, and than grey (0) if it is made of noise."""
    cls = METHODS[name]
    match cls.layout:
        case "paired" if (
            cls.has_noise
        ):  # one sees outputs from encoded codes, one those from random ones, without the input
            return {
                f"{kind}_{code}": b if kind == "real" else a - darker
                for kind in ("real", "fake")
                for code in ("encoded", "random")
            }
        case "paired" | "photos":  # the discriminator sees the input too
            return {"real": (a + b) / 2, "fake": (a + a - darker) / 2}
        case "unpaired" if len(cls.generator_names) == 2:
            return {"real_a": a, "fake_a": b - darker, "real_b": b, "fake_b": a - darker}
        case "unpaired":
            return {"real": b, "fake": a - darker}
        case "domains":
            return {"real": a, "fake": a - darker}
        case "images" | "captions":
            return {"real": a, "fake": -darker}


class Means(torch.nn.Module):
    """A discriminator whose output is the brightness of each quarter of an image: of all, in the mean."""

    def forward(self, x, *more):
        return torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), SIZE // 2)


class ClassMeans(Means):
    """A classifier of two classes, alike, whose logits add up to the brightness of an image: the logarithm of Z."""

    def forward(self, x, *more):
        brightness = super().forward(x).mean((1, 2, 3))
        return None, brightness[:, None].expand(-1, 2) - math.log(2)


class Darker(torch.nn.Module):
    """Images (N, 3 and more, H, W) of which the first channels become darker; codes (N, Z) become dark grey images.

    Small images become larger, which keeps their mean. It is whole at the level of 32 pixels, and styles are its codes.
    Whatever stands for a text, tokens or their encoding, gives dark grey images too.
    """

    grown = 3, None

    def mapping(self, code):
        return code

    def truncate(self, code, share):
        return code

    def spread(self, code):
        return code

    def augmentation(self, text):
        """Means and log variances of conditions, which decide nothing here."""
        return torch.zeros(len(text), 1), torch.zeros(len(text), 1)

    def forward(self, x, *codes):
        if x.ndim == 2:
            return torch.zeros(len(x), 3, SIZE, SIZE) - 0.25
        return torch.nn.functional.interpolate(x[:, :3], (SIZE, SIZE)) - 0.25


@pytest.mark.parametrize("name", METHODS)
def test_means_by_hand(name, monkeypatch):
    """Generators that make all darker by 0.25; discriminators that give the brightness of what they see."""
    method, batch = tiny(name), sample(name)
    judges = [child for child, net in method.named_children() if isinstance(net, Discriminator)]
    for attribute in {*method.generator_names.values(), *method.sampling_networks}:
        setattr(method, attribute, Darker())
    for attribute in judges:
        setattr(method, attribute, ClassMeans() if method.learns_from_labels else Means())
    monkeypatch.setattr(method, "generator_for", lambda to: method.get_submodule(method.generator_names[to]))
    method.updates = {}
    scalars, advice = DiscriminatorOutputMonitor(batch)(at(method))
    shown = method.sample_pairs({**batch, "key": numbered_keys(3)})
    brightness = [float(shown[domain].mean()) for domain in "ab" if domain in shown]
    means = {f"judge/{key}": value for key, value in expected(name, *brightness).items()}
    assert scalars == pytest.approx(means, abs=1e-4)  # a bicubic enlargement keeps the mean but at its borders
    assert advice == []


def test_outputs_of_several_heads_are_means_over_them(monkeypatch):
    method = tiny("pix2pix")
    heads = [torch.full((3, 1, 2, 2), 1.0), torch.full((3, 1, 5, 5), 4.0)]
    monkeypatch.setattr(method, "discriminator_outputs", lambda batch: {"real": heads, "fake": torch.zeros(3, 1)})
    assert DiscriminatorOutputMonitor(sample("pix2pix"))(at(method))[0] == {"judge/real": 2.5, "judge/fake": 0}


class Silent(Method):
    """A method without discriminators."""

    name, layout = "silent", "paired"

    def __init__(self):
        super().__init__(None)
        self.g = torch.nn.Conv2d(3, 3, 1)
        self.updates = {"g": Update(("g",))}


def test_a_method_without_discriminators_says_nothing():
    assert DiscriminatorOutputMonitor(sample("pix2pix"))(at(Silent())) == ({}, [])


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_look_leaves_no_trace(name):
    """Buffers (batch norm's, the pool's), the generator of dropout, the mode and gradients: as before, bit for bit."""
    engine = at(tiny(name, norm="batch"))
    engine.step([sample(name, engine.method.cfg.batch_size)])
    before = {key: tensor.clone() for key, tensor in engine.method.state_dict().items()}
    draws = torch.get_rng_state()
    scalars, _ = DiscriminatorOutputMonitor(sample(name))(engine)
    assert {key.removeprefix("judge/") for key in scalars} == expected(name, 0.0).keys()
    assert engine.method.training
    assert torch.equal(draws, torch.get_rng_state())
    for key, tensor in engine.method.state_dict().items():
        assert torch.equal(tensor, before[key]), key


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_other_precisions_say_the_same(precision):
    """To the few digits that bf16 has."""
    found = [
        DiscriminatorOutputMonitor(sample("cyclegan", dtype=PRECISIONS[name].weights))(at(tiny("cyclegan"), name))[0]
        for name in ("fp32", precision)
    ]
    assert found[1] == pytest.approx(found[0], rel=0.05, abs=0.01)
