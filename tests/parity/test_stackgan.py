"""Training of StackGAN goes where the double's training goes, step by step, in float64."""

import pytest
import torch

from translate import config, keyed_random
from translate.caption_tokens import BUCKETS, tokenise
from translate.methods.stackgan import StackGAN
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from . import stackgan_double as double

STEPS, COUNT, SIDE = 3, 4, 32
WIDTH, NOISE, CONDITION, TEXT, HIDDEN = 4, 5, 6, 7, 8
TOLERANCE = 1e-8  # rounding of float64, which Adam scales up where a gradient nearly vanishes
SIZES = {
    "crop_size": SIDE, "load_size": SIDE, "g_width": WIDTH, "d_width": WIDTH, "noise_size": NOISE,
    "condition_size": CONDITION, "text_size": TEXT, "text_width": HIDDEN, "batch_size": COUNT,
}  # fmt: skip


def engine_of(**flags):
    cfg = StackGAN.resolve_config(config.resolve(StackGAN.Config, ("test", {**SIZES, **flags})))
    return Engine(
        StackGAN(cfg), Schedule(100, 10, 0), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=COUNT,
    )  # fmt: skip


def twin_of(method):
    """The same weights, by their order in the networks, which is that of the layers."""
    nets = (
        double.Generator(WIDTH, NOISE, CONDITION, TEXT), double.Critic(WIDTH, CONDITION), double.Text(BUCKETS, HIDDEN, TEXT),
    )  # fmt: skip
    g, d, t = (net.double() for net in nets)
    for p, q in pairs_of(method, double.StackGAN(g, d, t)):
        q.data.copy_(p.detach().view_as(q))
    return double.StackGAN(g, d, t)


def pairs_of(method, twin):
    """The parameters of both, by the place that they have."""
    for ours, theirs in ((method.g, twin.g), (method.d, twin.d), (method.t, twin.t)):
        yield from zip(ours.parameters(), theirs.parameters(), strict=True)


def test_whole_steps_are_those_of_the_double():
    engine = engine_of()
    twin = twin_of(engine.method)
    tokens = torch.tensor([tokenise(text) for text in ("a red apple", "two pears", "a green apple on a plate", "x")])
    for _ in range(STEPS):
        key = keyed_random.image_keys(engine.seed, torch.arange(engine.images, engine.images + COUNT))
        x = keyed_random.uniform(key, "image", 3, SIDE, SIDE).double() * 2 - 1
        z, eps = (
            keyed_random.normal(key, name, size).double() for name, size in (("z", NOISE), ("augmentation", CONDITION))
        )
        expected = twin.step(x, tokens, z, eps)
        got = engine.step([{"a": x, "label": tokens}])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < TOLERANCE, name
        for p, q in pairs_of(engine.method, twin):
            assert (p.view_as(q) - q).abs().max() < TOLERANCE


def test_whole_steps_of_stage_two_are_those_of_the_double():
    """In the discriminator's step both heads count, real images by ½ each, fakes and wrong texts by ⅓."""
    engine = engine_of(stage=2, crop_size=2 * SIDE, load_size=2 * SIDE, blocks=1, init_from="stage-one")
    method = engine.method.train()  # stage I stays in evaluation mode
    nets = (
        double.Generator(WIDTH, NOISE, CONDITION, TEXT, doublings=2), double.Text(BUCKETS, HIDDEN, TEXT),
        double.Refiner(WIDTH, CONDITION, TEXT), double.Critic(WIDTH, CONDITION, 4, alone=True),
    )  # fmt: skip
    twin = double.StageTwo(*(net.double() for net in nets))
    for number, q in enumerate(
        tensors_of(method.g1)
    ):  # statistics of a stage I that has learnt, above 0 as variances are
        q.detach().uniform_(0.1, 0.9, generator=torch.Generator().manual_seed(number))
    for net, own in zip(nets, (method.g1, method.t, method.g, method.d), strict=True):
        for q, p in zip(tensors_of(net), tensors_of(own), strict=True):
            q.data.copy_(p.detach().view_as(q))
    tokens = torch.tensor([tokenise(text) for text in ("a red apple", "two pears", "a green apple on a plate", "x")])
    for _ in range(STEPS):
        key = keyed_random.image_keys(engine.seed, torch.arange(engine.images, engine.images + COUNT))
        x = keyed_random.uniform(key, "image", 3, 2 * SIDE, 2 * SIDE).double() * 2 - 1
        draws = (("z", NOISE), ("augmentation", CONDITION), ("augmentation of stage II", CONDITION))
        expected = twin.step(x, tokens, *(keyed_random.normal(key, name, size).double() for name, size in draws))
        got = engine.step([{"a": x, "label": tokens}])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < TOLERANCE, name
        for network, theirs in ((method.g, twin.g), (method.d, twin.d)):
            for p, q in zip(network.parameters(), theirs.parameters(), strict=True):
                assert (p.view_as(q) - q).abs().max() < TOLERANCE


def tensors_of(network):
    """The weights and statistics of a network, layer by layer; those of stage I are no parameters."""
    names = ("table", "weight", "bias", "running_mean", "running_var")
    found = (getattr(layer, name, None) for layer in network.modules() for name in names)
    return [tensor for tensor in found if isinstance(tensor, torch.Tensor)]


@pytest.mark.parametrize(("flags", "sizes"), [
    ({}, {"g": 20_020_832, "d": 12_407_425}),
    ({"stage": 2, "crop_size": 256}, {"g": 37_130_480, "d": 159_889_538}),
    ({"g_width": 128, "d_width": 64}, {"g": 10_301_248, "d": 5_715_713}),
    ({"g_width": 128, "d_width": 64, "blocks": 4, "stage": 2, "crop_size": 256}, {"g": 26_290_080, "d": 71_269_122}),
])  # fmt: skip
def test_the_networks_are_as_large_as_the_authors(flags, sizes):
    given = {**flags, "init_from": "stage-one"} if "stage" in flags else flags
    method = StackGAN.on_meta(StackGAN.resolve_config(config.resolve(StackGAN.Config, ("test", given))))
    assert {name: sum(p.numel() for p in method.get_submodule(name).parameters()) for name in sizes} == sizes


DEFAULTS = {
    "lr": 2e-4, "batch_size": 128, "epochs": 120, "decay_epochs": 0, "halve_lr_epochs": 20, "crop_size": 64, "g_width": 192,
    "d_width": 96, "noise_size": 100, "condition_size": 128, "text_size": 1024, "blocks": 2, "lambda_kl": 2,
    "adversarial": "non-saturating", "norm": "batch", "default_load_size": 76,
}  # fmt: skip


def test_the_default_recipe_is_the_authors():
    cfg = StackGAN.resolve_config(StackGAN.Config())
    assert {name: getattr(cfg, name) for name in DEFAULTS} == DEFAULTS
