"""Tests of `translate.methods.input_perturbation`: adversarial training and noise on the middle images of cycles."""

import pytest
import torch
from torch import nn

from translate import keyed_random
from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.input_perturbation import LEVEL, InputPerturbation, check_input_perturbation, keys_of_inputs
from translate.nn.base import Generator
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import SIZE, assert_equal_state, batch_like, small_config

KEY = keyed_random.image_keys(7, torch.arange(64))
TRANSLATING = sorted(name for name, cls in METHODS.items() if not cls.sampling_networks)
EVERY_DAY = ("pix2pix", "cyclegan", "stargan")


class Gain(Generator):
    """2 x + a small square, so that the farthest change of each value has a known sign where x is not zero."""

    multiple_of = minimum = 1
    receptive_radius = 0

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))
        self.given = []

    def forward(self, x):
        self.given.append(x.detach())
        return self.gain * x


def inputs_of(perturbation, step, key=KEY):
    """Run a step and return what it yields."""
    return list(perturbation.apply(step, key))


def run_once(x, attack="off", noise=0.0, epsilon=2.0, key=KEY):
    """Return the image that a generator gets for x, and its passes."""
    net = Gain()

    def step():
        yield "g", net(x)

    inputs_of(InputPerturbation({"g": (net, x.shape[1])}, attack, epsilon, noise), step(), key)
    return net.given[-1], net


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_half_of_the_images_move_by_epsilon_at_most_and_the_others_stay(attack):
    x = torch.rand(64, 1, 4, 4) - 0.5
    given, _ = run_once(x, attack)
    changes = (given - x).abs().amax(dim=(1, 2, 3))
    moved = changes > 0
    assert 20 <= moved.sum() <= 44  # of 64, drawn with the chance of one half
    assert changes.max() <= 2 * LEVEL * (1 + 1e-5)
    if attack == "pgd":  # a gain moves every value to the bound
        torch.testing.assert_close((given - x)[moved].abs().mean(), torch.tensor(2 * LEVEL), rtol=1e-3, atol=0)
    assert run_once(x, attack)[0].equal(given)


def test_only_middle_images_get_noise_of_the_given_size():
    net, x = Gain(), torch.zeros(64, 1, 8, 8)

    def step():
        yield "g", net(net(x))

    inputs_of(InputPerturbation({"g": (net, 1)}, "off", 0.0, 0.1), step())
    first, middle = net.given
    assert first.equal(x)
    assert middle.std() == pytest.approx(0.1, rel=0.05)  # 4096 draws: 4 standard errors
    assert abs(middle.mean()) < 0.01


def test_passes_without_gradients_and_further_channels_stay():
    net, x = Gain(), torch.rand(8, 3, 4, 4) - 0.5

    def step():
        with torch.no_grad():
            net(x)
        yield "g", net(x)

    inputs_of(InputPerturbation({"g": (net, 2)}, "fgsm", 2.0, 0.0), step(), KEY[:8])
    assert net.given[0].equal(x)
    assert net.given[-1][:, 2].equal(x[:, 2])
    assert not net.given[-1][:, :2].equal(x[:, :2])


def test_an_image_is_perturbed_in_the_same_way_in_any_batch():
    x = torch.rand(8, 1, 4, 4) - 0.5
    whole, _ = run_once(x, "fgsm", key=KEY[:8])
    parts = [run_once(x[i : i + 2], "fgsm", key=KEY[i : i + 2])[0] for i in range(0, 8, 2)]
    assert torch.cat(parts).equal(whole)


def test_keys_follow_the_images_of_a_part_and_of_several_sets():
    assert keys_of_inputs(KEY, 64).equal(KEY)
    assert keys_of_inputs(KEY, 32).equal(KEY[::2])
    assert keys_of_inputs(KEY, 128)[:64].equal(KEY)
    assert len(keys_of_inputs(KEY, 128).unique()) == 128


def test_an_attack_leaves_no_trace_on_the_network():
    net = Gain()
    net.norm = nn.BatchNorm2d(1)
    net.norm.eval()

    def step():
        yield "g", net(torch.ones(2, 1, 2, 2))

    inputs_of(InputPerturbation({"g": (net, 1)}, "pgd", 2.0, 0.0), step(), KEY[:2])
    assert net.training
    assert not net.norm.training
    assert not net.inputs_apart
    assert not net._forward_pre_hooks
    assert net.gain.grad is None


def engine(name, **flags):
    cfg = small_config(name, batch_size=2, **flags)
    check_input_perturbation(METHODS[name], cfg)
    schedule = Schedule(per_epoch=10, epochs=0, decay_epochs=0, images=1000)
    method = METHODS[name](cfg)
    return Engine(
        method, schedule, seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp32"], batch_size=cfg.batch_size
    )


def batches(name, engine, parts=1):
    key = keyed_random.image_keys(7, torch.arange(engine.images, engine.images + 2))
    a, b = (keyed_random.uniform(key, side, 3, SIZE, SIZE) * 2 - 1 for side in "ab")
    batch = batch_like(name, a, b, engine.images)
    return [{k: v[i * (2 // parts) : (i + 1) * (2 // parts)] for k, v in batch.items()} for i in range(parts)]


def flags_of(name):
    return {"adversarial_training": "fgsm", **({"cycle_noise": 0.1} if METHODS[name].has_cycle else {})}


@pytest.mark.parametrize("name", EVERY_DAY)
def test_a_training_with_it_resumes_bit_for_bit_and_differs_from_one_without(name):
    flags = flags_of(name)
    whole, cut, without = engine(name, **flags), engine(name, **flags), engine(name)
    for each in (whole, cut, without):
        each.step(batches(name, each))
    torch.manual_seed(3)
    resumed = engine(name, **flags)
    resumed.load_state(cut.state())
    for each in (whole, resumed, without):
        each.step(batches(name, each))
    assert_equal_state(whole.state(), resumed.state())
    with pytest.raises(AssertionError):
        assert_equal_state(whole.state(), without.state())


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSLATING)
def test_every_translating_method_trains_with_it(name):
    trained = engine(name, **flags_of(name))
    for _ in range(2):
        losses = trained.step(batches(name, trained))
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("name", EVERY_DAY)
def test_off_is_the_step_itself(name):
    method = METHODS[name](small_config(name))
    batch = {**batches(name, engine(name))[0], "key": KEY[:2]}
    step = method.training_step(batch, None, {})
    assert step.gi_code is type(method).step.__code__
    step.close()


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("dcgan", {"adversarial_training": "fgsm"}, "--adversarial-training fgsm: dcgan makes images of noise"),
        ("pix2pix", {"cycle_noise": 0.1}, "--cycle-noise 0.1: pix2pix translates no output back"),
        (
            "pix2pix",
            {"adversarial_training": "pgd", "label_count": 3},
            "--adversarial-training pgd: the inputs are label",
        ),
        ("cyclegan", {"cycle_noise": 0.1, "compile": True}, "--compile on: does not work with perturbed inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(name, flags, words):
    with pytest.raises(UsageError, match=words):
        check_input_perturbation(METHODS[name], small_config(name, **flags))
