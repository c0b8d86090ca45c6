"""DCGAN's noise, samples, virtual batch norm and classes."""

import copy
import math

import pytest
import torch

from translate import keyed_random
from translate.errors import UsageError
from translate.methods.dcgan import DCGAN
from translate.nn.blocks import BatchNorm2d
from translate.trained import folder as model_folder

from .helpers import (
    CLASSES,
    COUNT,
    SIZE,
    VIRTUAL,
    dcgan_batch,
    dcgan_config,
    dcgan_engine,
    keyed_dcgan_batch,
    small_dcgan,
)


def test_noise_is_uniform_from_minus_1_to_1():
    """10 000 draws: mean and variance within 4 standard deviations of 0 and 1/3; one stream for each key."""
    z = small_dcgan(noise_size=1000).latent_code(keyed_random.image_keys(0, torch.arange(10)), None)
    assert z.min() >= -1 and z.max() < 1
    assert abs(z.mean()) < 4 * math.sqrt(1 / 3 / z.numel())
    assert abs(z.var() - 1 / 3) < 4 * math.sqrt((1 / 5 - 1 / 9) / z.numel())
    assert len(set(z[:, 0].tolist())) == 10


@pytest.mark.parametrize(
    "flags", [{}, {"norm": "instance"}, {"norm": "none"}, VIRTUAL, {**VIRTUAL, "classes": CLASSES}], ids=str
)
def test_a_sample_is_the_same_in_any_batch(flags):
    engine = dcgan_engine(**flags)
    for module in engine.method.modules():
        if isinstance(module, BatchNorm2d):
            module.momentum = 1.0  # the running statistics start far from those of so few steps
    engine.step([dcgan_batch()])
    method, key = engine.method.eval(), keyed_random.image_keys(5, torch.arange(5))
    whole = method.sample(key)
    assert whole.shape == (5, 3, SIZE, SIZE)
    assert whole.abs().max() <= 1
    for i in range(5):
        torch.testing.assert_close(method.sample(key[i : i + 1]), whole[i : i + 1], rtol=0, atol=1e-12)
    assert torch.equal(whole, method.sample(key))
    assert (whole[0] - whole[1]).abs().max() > 0


def test_batch_norm_takes_its_running_statistics_in_evaluation():
    method = small_dcgan()
    norms = [module for module in method.modules() if isinstance(module, BatchNorm2d)]
    assert {norm.norm_statistics for norm in norms} == {"running"}
    method.eval()
    before = method.sample(keyed_dcgan_batch()["key"])
    with torch.no_grad():
        method.g.get_submodule("model.0").running_mean.add_(1)
    assert not torch.equal(method.sample(keyed_dcgan_batch()["key"]), before)


@pytest.mark.parametrize("flags", [{}, {**VIRTUAL, "classes": CLASSES}], ids=["batch norm", "virtual"])
def test_a_model_folder_samples_what_the_run_does(flags, tmp_path):
    engine = dcgan_engine("fp32", **flags)
    engine.step([dcgan_batch(dtype=torch.float32)])
    model_folder.write_trained_model(tmp_path, engine.method, title="test", seen=COUNT)
    loaded, key = model_folder.read_model_folder(tmp_path).method.eval(), keyed_random.image_keys(5, torch.arange(3))
    assert loaded.classes == engine.method.classes
    assert torch.equal(loaded.sample(key), engine.method.eval().sample(key))


def test_averaged_weights_sample_with_the_networks_statistics():
    engine = dcgan_engine("fp32", ema_half_life=4)
    for number in range(3):
        engine.step([dcgan_batch(number, dtype=torch.float32)])
    method, key = engine.method.eval(), keyed_random.image_keys(5, torch.arange(3))
    raw, raw_state = method.sample(key), copy.deepcopy(method.g.state_dict())
    with engine.ema.swapped_in():
        averaged, state = method.eval().sample(key), method.g.state_dict()
        same = {name: torch.equal(x, raw_state[name]) for name, x in state.items()}
    assert not torch.equal(raw, averaged)
    assert {value for name, value in same.items() if "running" in name} == {True}
    assert {value for name, value in same.items() if name.endswith("weight")} == {False}
    assert torch.equal(method.sample(key), raw)


def test_the_reference_batch_is_a_function_of_the_seed():
    reference = small_dcgan(**VIRTUAL, classes=CLASSES).g.reference
    assert reference.shape == (5, 9)
    assert torch.equal(reference, small_dcgan(**VIRTUAL, classes=CLASSES).g.reference)
    assert not torch.equal(reference, small_dcgan(**VIRTUAL, classes=CLASSES, seed=1).g.reference)
    assert torch.equal(reference[:, 6:].argmax(1), torch.tensor([0, 1, 2, 0, 1]))


def test_virtual_batch_norm_takes_the_place_of_the_generators_norm_alone():
    both = small_dcgan(virtual_batch_norm=True, norm="batch")
    assert not [module for module in both.g.modules() if isinstance(module, BatchNorm2d)]
    assert [module for module in both.d.modules() if isinstance(module, BatchNorm2d)]
    assert both.coupled == "batch norm"
    assert small_dcgan(**VIRTUAL).coupled == ""
    assert "virtual_batch_norm" in DCGAN.network_settings and "reference_size" in DCGAN.network_settings


def test_virtual_batch_norm_survives_a_resume():
    """The state holds the reference batch: another one in its place is overwritten."""
    whole, again = dcgan_engine(**VIRTUAL), dcgan_engine(**VIRTUAL)
    whole.step([dcgan_batch()])
    again.method.g.reference.zero_()
    again.load_state(copy.deepcopy(whole.state()))
    for engine in (whole, again):
        engine.step([dcgan_batch(1)])
    for x, y in zip(whole.method.state_dict().values(), again.method.state_dict().values(), strict=True):
        assert torch.equal(x, y)


def test_the_class_is_beside_the_noise_and_0_where_it_is_not_known():
    method, batch = small_dcgan(classes=CLASSES), keyed_dcgan_batch()
    code = method.latent_code(batch["key"], batch["label"])
    assert torch.equal(code[:, 6:], torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).float())
    assert torch.equal(code[:, :6], small_dcgan().latent_code(batch["key"], None))


def test_without_labels_keys_decide_the_class():
    method, seen = small_dcgan(classes=CLASSES).eval(), []
    method.g.register_forward_hook(lambda _, given, out: seen.append(given[0][:, 6:]))
    key = keyed_random.image_keys(0, torch.arange(300))
    method.sample(key)
    counts = seen[0].sum(0)
    assert counts.sum() == 300
    assert ((counts - 100).abs() < 4 * math.sqrt(300 / 3 * 2 / 3)).all()


@pytest.mark.slow
def test_classes_are_learnt():
    """Bright images of one class, dark ones of another: after 80 steps samples are told apart by their class."""
    engine = dcgan_engine("fp32", classes="dark,bright", batch_size=8, g_width=4, d_width=4, lr=2e-3)
    label = torch.arange(8) % 2
    bright = (label[:, None, None, None] * 1.2 - 0.6).expand(-1, 3, SIZE, SIZE)
    for number in range(80):
        grain = keyed_random.normal(torch.arange(8) + 8 * number, "grain", 3, SIZE, SIZE)
        engine.step([{"a": bright + 0.1 * grain, "label": label}])
    method, key = engine.method.eval(), torch.arange(16)
    dark, light = (method.sample(key, torch.full_like(key, c)).mean().item() for c in (0, 1))
    assert light - dark > 0.6


def test_the_data_say_which_classes_there_are():
    cfg = dcgan_config()
    assert DCGAN.with_labels(cfg, ("cat", "dog"), True).classes == "cat,dog"
    assert DCGAN.with_labels(cfg, (), True).classes is None
    assert DCGAN.with_labels(cfg, ("cat",), True).classes is None  # of one class there is nothing to choose
    assert DCGAN.with_labels(dcgan_config(conditional=False), ("cat", "dog"), True).classes is None
    assert DCGAN.with_labels(dcgan_config(classes="cat,dog"), ("cat", "dog"), True).classes == "cat,dog"
    method = DCGAN(DCGAN.with_labels(cfg, ("cat", "dog"), True))
    assert (method.g.project.in_channels, method.d.model[0].in_channels) == (8, 5)


@pytest.mark.parametrize(
    ("flags", "names", "exclusive", "words"),
    [
        ({}, ("smiling", "young"), False, "attributes; use --conditional off"),
        ({}, ("cat, grey", "dog"), True, "comma"),
        ({"classes": "cat,owl"}, ("cat", "dog"), True, "--classes cat,owl: the data has cat,dog"),
        ({"classes": "cat,owl"}, (), True, "--classes cat,owl: the data has none"),
    ],
)
def test_labels_that_cannot_be_are_refused(flags, names, exclusive, words):
    with pytest.raises(UsageError, match=words):
        DCGAN.with_labels(dcgan_config(**flags), names, exclusive)
