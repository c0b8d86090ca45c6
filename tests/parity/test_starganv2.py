"""Training of StarGAN v2 goes where the double's training goes, step by step, in float64."""

import pytest
import torch
from torch import nn

from translate import config, keyed_random
from translate.methods.starganv2 import StarGANV2
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from . import starganv2_double as double

STEPS, COUNT, SIDE = 3, 4, 32
WIDTH, MOST, STYLE, LATENT, HIDDEN = 4, 10, 6, 5, 7
WIDTHS = [4, 8, 10, 10]
TOLERANCE = 1e-8  # rounding of float64, which Adam scales up where a gradient nearly vanishes
SIZES = {
    "crop_size": SIDE, "load_size": SIDE, "g_width": WIDTH, "d_width": WIDTH, "max_width": MOST, "style_size": STYLE,
    "latent_size": LATENT, "f_width": HIDDEN, "batch_size": COUNT,
}  # fmt: skip


def engine_of(**flags):
    cfg = StarGANV2.resolve_config(config.resolve(StarGANV2.Config, ("test", {**SIZES, **flags})))
    cfg = StarGANV2.with_labels(cfg, ("cat", "dog", "owl"), exclusive=True)
    return Engine(
        StarGANV2(cfg), Schedule(100, 10, 0), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=COUNT,
    )  # fmt: skip


def block_pairs(ours, theirs):
    residual = ours.residual
    convolutions = [m for m in residual if isinstance(m, nn.Conv2d)]
    norms = [m for m in residual if type(m).__name__ == "AffineInstanceNorm2d"]
    yield from zip(convolutions, (theirs.c1, theirs.c2), strict=True)
    if norms:
        yield from zip(norms, (theirs.n1, theirs.n2), strict=True)
    if theirs.skip is not None:
        yield ours.shortcut[0], theirs.skip


def trunk_pairs(ours, theirs):
    yield ours[0], theirs.rgb
    for block, twin in zip(list(ours)[1:-3], theirs.blocks, strict=True):
        yield from block_pairs(block, twin)
    yield ours[-2], theirs.all


def pairs_of(ours, theirs):
    """The layers with weights of both, by the place that they have."""
    yield ours.g.first, theirs.g.rgb
    for block, twin in zip(ours.g.encode, theirs.g.down, strict=True):
        yield from block_pairs(block, twin)
    for block, twin in zip(ours.g.decode, theirs.g.up, strict=True):
        yield block.norm_1.affine, twin.s1
        yield block.norm_2.affine, twin.s2
        yield block.conv_1, twin.c1
        yield block.conv_2, twin.c2
        if twin.skip is not None:
            yield block.shortcut, twin.skip
    yield ours.g.last[0], theirs.g.norm
    yield ours.g.last[2], theirs.g.out
    yield from zip(list(ours.f.shared)[::2], theirs.f.shared, strict=True)
    for head, twin in zip(ours.f.heads, theirs.f.own, strict=True):
        yield from zip(list(head)[::2], twin, strict=True)
    yield from trunk_pairs(ours.e.trunk, theirs.e.trunk)
    yield from zip(ours.e.heads, theirs.e.heads, strict=True)
    yield from trunk_pairs(ours.d.trunk, theirs.d.trunk)
    yield ours.d.last, theirs.d.head


def twin_of(method):
    nets = (
        double.Generator(WIDTHS[:2], STYLE), double.Mapping(LATENT, HIDDEN, STYLE, 3),
        double.Encoder(WIDTHS, STYLE, 3), double.Critic(WIDTHS, 3),
    )  # fmt: skip
    twin = double.StarGANV2(*(net.double() for net in nets))
    own, total = 0, sum(p.numel() for net in nets for p in net.parameters())
    for ours, theirs in pairs_of(method, twin):
        theirs.load_state_dict({name: p.view_as(theirs.state_dict()[name]) for name, p in ours.state_dict().items()})
        own += sum(p.numel() for p in theirs.parameters())
    assert own == total == sum(p.numel() for p in method.parameters())
    return twin


def batch_of(engine):
    key = keyed_random.image_keys(7, torch.arange(engine.images, engine.images + COUNT))
    a, b = (keyed_random.uniform(key, side, 3, SIDE, SIDE).double() * 2 - 1 for side in "ab")
    pairs = torch.arange(engine.images, engine.images + COUNT) // 2
    return {"a": a, "label": torch.arange(COUNT) % 3, "b": b, "label_b": pairs % 3}


def test_whole_steps_are_those_of_the_double():
    """Codes and references decide the styles; diversity counts ¼ less with each step, which float32 holds."""
    engine = engine_of(diversity_images=4 * COUNT)
    twin = twin_of(engine.method)
    for _ in range(STEPS):
        batch = batch_of(engine)
        key = keyed_random.image_keys(engine.seed, torch.arange(engine.images, engine.images + COUNT))
        codes = tuple(keyed_random.normal(key, name, LATENT).double() for name in ("z", "other z"))
        neighbours = batch["b"][[1, 0, 3, 2]]
        expected = twin.step(batch["a"], batch["label"], (batch["b"], neighbours), batch["label_b"], codes, 4)
        got = engine.step([batch])
        assert got.keys() == expected.keys()
        for name, loss in expected.items():
            assert abs(got[name] - loss) < TOLERANCE, name
        for ours, theirs in pairs_of(engine.method, twin):
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                assert (p.view_as(q) - q).abs().max() < TOLERANCE


DEFAULTS = {
    "lr": 1e-4, "f_lr": 1e-6, "beta2": 0.99, "weight_decay": 1e-4, "batch_size": 8, "images": 800_000, "crop_size": 256,
    "g_width": 64, "d_width": 64, "max_width": 512, "f_width": 512, "latent_size": 16, "style_size": 64, "lambda_r1": 1,
    "lambda_style": 1, "lambda_diversity": 1, "diversity_images": 800_000, "lambda_cycle": 1, "adversarial": "non-saturating",
}  # fmt: skip


def test_the_default_recipe_is_the_authors():
    cfg = StarGANV2.resolve_config(StarGANV2.Config())
    assert {name: getattr(cfg, name) for name in DEFAULTS} == DEFAULTS
    assert 0.5 ** (8 / cfg.ema_half_life) == pytest.approx(0.999, abs=1e-6)


@pytest.mark.parametrize(("flags", "names", "sizes"), [
    ({}, "cat,dog", {"g": 33_892_995, "f": 2_438_272, "e": 20_916_928, "d": 20_852_290}),
    ({}, "cat,dog,owl", {"g": 33_892_995, "f": 3_259_072, "e": 20_949_760, "d": 20_852_803}),
    (
        {"crop_size": 64, "g_width": 32, "d_width": 32, "max_width": 128, "f_width": 128}, "cat,dog",
        {"g": 1_584_579, "f": 167_296, "e": 1_018_784, "d": 1_002_530},
    ),
])  # fmt: skip
def test_the_networks_are_as_large_as_the_authors(flags, names, sizes):
    cfg = StarGANV2.resolve_config(config.resolve(StarGANV2.Config, ("test", {**flags, "domains": names})))
    method = StarGANV2.on_meta(cfg)
    assert {name: sum(p.numel() for p in net.parameters()) for name, net in method.named_children()} == sizes


def test_of_64_pixels_the_default_widths_are_the_authors():
    method = StarGANV2.on_meta(StarGANV2.resolve_config(config.resolve(StarGANV2.Config, ("test", {"crop_size": 64}))))
    assert sum(p.numel() for p in method.g.parameters()) == 32_634_883
