"""Training with the default recipe goes where the double's training goes, step by step.

In float64, because float32's rounding is amplified step by step whatever the code: two orders of the same sum part.
"""

from collections import deque

import pytest
import torch

from translate import config, keyed_random
from translate.methods import METHODS
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine, step_seed
from translate.training.schedule import Schedule

from . import double

STEPS, EARLY = 20, 8  # early differences have not been amplified yet
IDLE = 1e-7  # their gradient is rounding alone, which Adam turns into steps of up to its rate
STEPS_PER_EPOCH, EPOCHS, DECAY_EPOCHS = 4, 2, 3  # so that the rate falls within the steps
POOL = 3  # so that fakes are swapped within the steps


def engine_of(name, precision="fp64", **settings):
    """The method's default recipe with small networks and images."""
    cls = METHODS[name]
    cfg = cls.resolve_config(config.resolve(cls.Config, ("test", {"g_width": 6, "d_width": 6, **settings})))
    schedule = Schedule(STEPS_PER_EPOCH * cfg.batch_size, EPOCHS, DECAY_EPOCHS)
    return Engine(
        cls(cfg), schedule, seed=cfg.seed, device=torch.device("cpu"), precision=PRECISIONS[precision],
        batch_size=cfg.batch_size,
    )  # fmt: skip


def batch_of(engine):
    """The images of the engine's next step: noise with large patches, as many as it wants."""
    cfg, dtype = engine.method.cfg, engine.precision.weights
    key = keyed_random.image_keys(7, torch.arange(engine.images, engine.images + cfg.batch_size))
    sizes = cfg.crop_size // 8, cfg.crop_size
    batch = {}
    for side, channels in (("a", cfg.input_channels), ("b", cfg.output_channels)):
        coarse, fine = (keyed_random.uniform(key, f"{side} {size}", channels, size, size).to(dtype) for size in sizes)
        batch[side] = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) + fine - 1
    return batch


class Watched:
    """What chance decides in one of our pools, found by comparing what goes in and what comes out."""

    def __init__(self, pool):
        self.size, self.stored = pool.size, []
        self.decisions, self.swaps, self.seen = deque(), 0, 0
        pool.register_forward_hook(self.watch)

    def watch(self, pool, inputs, output):
        for fake, given in zip(inputs[0], output, strict=True):
            if len(self.stored) < self.size:
                self.stored.append(fake.clone())
                continue
            places = [i for i, image in enumerate(self.stored) if torch.equal(image, given)]
            self.seen += 1
            self.swaps += len(places)
            self.decisions.append((bool(places), places[0] if places else 0))
            if places:
                self.stored[places[0]] = fake.clone()

    def __iter__(self):
        return self

    def __next__(self):
        return self.decisions.popleft()


def twin_of(engine):
    """The double's trainer with the engine's initial weights, and its networks by our names."""
    method, cfg = engine.method, engine.method.cfg
    a, b = cfg.input_channels, cfg.output_channels
    nets = {}
    for name, ours in method.named_children():
        if name.startswith("g"):
            channels = (b, a) if name == "g_ba" else (a, b)
            net = double.generator(cfg.generator, *channels, cfg.g_width, cfg.norm, cfg.dropout)
        elif name.startswith("d"):
            channels = {"d": a + b, "d_a": a, "d_b": b}[name]
            net = double.discriminator(cfg.discriminator, channels, cfg.d_width, cfg.norm, cfg.d_layers)
        else:
            continue
        net.to(engine.precision.weights).load_state_dict(ours.state_dict(), strict=True)
        nets[name] = net
    if method.name == "pix2pix":
        return double.Pix2Pix(**nets, epochs=EPOCHS, decay_epochs=DECAY_EPOCHS), nets
    pools = {name: double.Pool(POOL, Watched(method.get_submodule(name))) for name in ("pool_a", "pool_b")}
    return double.CycleGAN(**nets, **pools, epochs=EPOCHS, decay_epochs=DECAY_EPOCHS), nets


def train(engine, twin, steps):
    """Yields the losses of both after each step, in which dropout draws the same masks."""
    for step in range(steps):
        batch = batch_of(engine)
        got = engine.step([batch])
        torch.manual_seed(step_seed(engine.seed, step, rank=0))  # as the engine has done
        expected = twin.step(batch["a"], batch["b"])
        if (step + 1) % STEPS_PER_EPOCH == 0:
            twin.end_epoch()
        yield got, expected


def assert_equal_losses(got, expected, tolerance):
    assert got.keys() == expected.keys()
    for name, loss in expected.items():
        assert abs(got[name] - loss) <= tolerance * max(1, abs(loss)), name


def assert_equal_weights(engine, nets, tolerance):
    for name, theirs in nets.items():
        weights, idle = dict(engine.method.get_submodule(name).named_parameters()), double.idle_biases(theirs)
        for key, expected in theirs.named_parameters():
            difference = (weights[key] - expected).abs().max()
            assert difference <= (IDLE if key in idle else tolerance), f"{name}.{key}"


SMALL_CYCLEGAN = {"crop_size": 32, "generator": "resnet_3blocks", "pool_size": POOL}
RECIPES = {
    "cyclegan": ("cyclegan", SMALL_CYCLEGAN),
    "cyclegan, batch of 2": ("cyclegan", {**SMALL_CYCLEGAN, "batch_size": 2}),
    "cyclegan, batch norm": ("cyclegan", {**SMALL_CYCLEGAN, "norm": "batch"}),
    "pix2pix": ("pix2pix", {"crop_size": 64}),  # where the U-Net has one level with dropout
    "pix2pix, batch of 2": ("pix2pix", {"crop_size": 64, "batch_size": 2}),
    "pix2pix without dropout": ("pix2pix", {"crop_size": 64, "dropout": False}),
}
recipes = pytest.mark.parametrize(("name", "settings"), RECIPES.values(), ids=RECIPES)


COMMON = {
    "discriminator": "basic", "g_width": 64, "d_width": 64, "lr": 2e-4, "batch_size": 1, "crop_size": 256, "flip": True,
    "epochs": 100, "decay_epochs": 100, "input_channels": 3, "output_channels": 3,
}  # fmt: skip
DEFAULTS = {
    "cyclegan": {
        "generator": "resnet_9blocks", "norm": "instance", "dropout": False, "adversarial": "lsgan", "pool_size": 50,
        "lambda_cycle": 10, "lambda_identity": 0.5,
    },
    "pix2pix": {
        "generator": "unet_256", "norm": "batch", "dropout": True, "adversarial": "non-saturating", "lambda_l1": 100,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_default_recipe_is_the_reference_s(name):
    cls = METHODS[name]
    cfg = config.to_dict(cls.resolve_config(cls.Config()))
    expected = COMMON | DEFAULTS[name]
    assert {key: cfg[key] for key in expected} == expected
    assert cls.presets["paper"] == {}


@pytest.mark.slow
@recipes
def test_training_in_float64_goes_the_same_way(name, settings):
    engine = engine_of(name, **settings)
    twin, nets = twin_of(engine)
    rates = set()
    for step, (got, expected) in enumerate(train(engine, twin, STEPS), start=1):
        tolerance = 1e-10 if step <= EARLY else 1e-6
        rates.add(engine.optimizers["g"].param_groups[0]["lr"])
        assert_equal_losses(got, expected, tolerance)
        assert_equal_weights(engine, nets, tolerance)
    assert len(rates) == 1 + DECAY_EPOCHS
    for pool in (twin.pool_a, twin.pool_b) if name == "cyclegan" else ():
        assert 0 < pool.decisions.swaps < pool.decisions.seen


@recipes
def test_the_first_losses_in_float32_are_the_same(name, settings):
    engine = engine_of(name, "fp32", **settings)
    twin, _ = twin_of(engine)
    for got, expected in train(engine, twin, 1):
        assert_equal_losses(got, expected, 1e-5)


@pytest.mark.parametrize("recipe", ["cyclegan, batch norm", "pix2pix", "pix2pix, batch of 2"])
def test_running_statistics_are_the_same(recipe):
    """They tell in which order a network saw what: nothing in training reads them, but a conversion may."""
    name, settings = RECIPES[recipe]
    engine = engine_of(name, **settings)
    twin, nets = twin_of(engine)
    for _ in train(engine, twin, 4):
        pass
    for net, theirs in nets.items():
        buffers = dict(engine.method.get_submodule(net).named_buffers())
        assert buffers.keys() == dict(theirs.named_buffers()).keys() != set()
        for key, expected in theirs.named_buffers():
            torch.testing.assert_close(buffers[key], expected, rtol=1e-10, atol=1e-10, msg=f"{net}.{key}")
