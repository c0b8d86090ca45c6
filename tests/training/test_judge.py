"""What is logged of the discriminators: their mean outputs on real and on made images, without a trace in the training."""

import json

import pytest
import torch

import translate
from translate import config, runtime
from translate.methods import METHODS
from translate.methods.base import Method, Update
from translate.training.engine import Engine
from translate.training.judge import Judge
from translate.training.schedule import Schedule

SIZE = 32
OUTPUTS = {"cyclegan": {"real_a", "fake_a", "real_b", "fake_b"}, "pix2pix": {"real", "fake"}}


def tiny(name, **flags):
    small = {"crop_size": SIZE, "load_size": SIZE, "g_width": 4, "d_width": 4, **flags}
    if name == "cyclegan":
        small |= {"generator": "resnet_3blocks", "pool_size": 3}
    return METHODS[name](METHODS[name].check(config.resolve(METHODS[name].Config, ("test", small))))


def at(method, precision="fp32"):
    schedule = Schedule(10, 0, 0, images=8)
    kept = runtime.PRECISIONS[precision]
    return Engine(method, schedule, seed=0, device=torch.device("cpu"), precision=kept, batch_size=1)


def sample(count=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(count, 3, SIZE, SIZE, generator=generator).to(dtype) * 2 - 1 for name in "ab"}


class Means(torch.nn.Module):
    """A discriminator whose output is the brightness of each quarter of an image: of all, in the mean."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), SIZE // 2)


class Darker(torch.nn.Module):
    def forward(self, x):
        return x - 0.25


@pytest.mark.parametrize("name", METHODS)
def test_means_by_hand(name, monkeypatch):
    """Generators that make all darker by 0.25; discriminators that give the brightness of what they see."""
    method, batch = tiny(name), sample()
    for attribute in dict.fromkeys(method.translators.values()):
        setattr(method, attribute, Darker())
    for attribute in [child for child, _ in method.named_children() if child.startswith("d")]:
        setattr(method, attribute, Means())
    monkeypatch.setattr(method, "generator_for", lambda to: method.get_submodule(method.translators[to]))
    method.updates = {}
    scalars, advice = Judge(batch)(at(method))
    a, b = (float(batch[domain].mean()) for domain in "ab")
    expected = {
        "cyclegan": {"real_a": a, "fake_a": b - 0.25, "real_b": b, "fake_b": a - 0.25},
        "pix2pix": {"real": (a + b) / 2, "fake": (a + a - 0.25) / 2},
    }[name]
    assert scalars == pytest.approx({f"judge/{key}": value for key, value in expected.items()}, abs=1e-6)
    assert advice == []


class Silent(Method):
    """A method without discriminators."""

    name, layout = "silent", "paired"

    def __init__(self):
        super().__init__(None)
        self.g = torch.nn.Conv2d(3, 3, 1)
        self.updates = {"g": Update(("g",))}


def test_a_method_without_discriminators_says_nothing():
    assert Judge(sample())(at(Silent())) == ({}, [])


@pytest.mark.parametrize("name", METHODS)
def test_a_look_leaves_no_trace(name):
    """Buffers (batch norm's, the pool's), the generator of dropout, the mode and gradients: as before, bit for bit."""
    engine = at(tiny(name, norm="batch"))
    engine.step([sample(1)])
    before = {key: tensor.clone() for key, tensor in engine.method.state_dict().items()}
    draws = torch.get_rng_state()
    scalars, _ = Judge(sample())(engine)
    assert {key.removeprefix("judge/") for key in scalars} == OUTPUTS[name]
    assert engine.method.training
    assert torch.equal(draws, torch.get_rng_state())
    for key, tensor in engine.method.state_dict().items():
        assert torch.equal(tensor, before[key]), key


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_other_precisions_say_the_same(precision):
    """To the few digits that bf16 has."""
    found = [
        Judge(sample(dtype=runtime.PRECISIONS[name].weights))(at(tiny("cyclegan"), name))[0]
        for name in ("fp32", precision)
    ]
    assert found[1] == pytest.approx(found[0], rel=0.05, abs=0.01)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_logs_it_with_the_point_after_each_look(name, request, tmp_path):
    root = request.getfixturevalue(f"{METHODS[name].layout}_root")
    small = {"crop_size": SIZE, "load_size": SIZE, "g_width": 4, "d_width": 4, "device": "cpu", "images": 6}
    if name == "cyclegan":
        small |= {"generator": "resnet_3blocks", "pool_size": 3}
    for watch in ("on", "off"):
        run = translate.train(
            name, root, run=tmp_path / watch, say=lambda line: None, log_every=1, sample_every=4, watch=watch, **small
        )
        points = [json.loads(line) for line in (run.path / "stats.jsonl").read_text().splitlines()]
        looks = [point["images"] for point in points if any(key.startswith("judge/") for key in point)]
        assert looks == ([1, 4, 6] if watch == "on" else [])
