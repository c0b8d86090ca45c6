"""tools/ladder_variants.py: losses of each element by hand; without an element a step is that of the package's method."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from ladder_variants import CycleGANElements, Pix2PixElements, mask_patches
from torch import nn

from translate import config, keyed_random
from translate.api.presets import sized_settings
from translate.errors import UsageError
from translate.methods import METHODS
from translate.methods.cyclegan import CycleGAN
from translate.nn.patchnce import sample_locations
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import SIZE
from ..methods.helpers import START, clock_at, noise_batch

SMALL = {
    "crop_size": SIZE, "load_size": SIZE, "generator": "resize_unet_2levels_1blocks", "g_width": 4, "d_width": 4,
    "batch_size": 2,
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("small_features")
ELEMENTS = {"cyclegan": CycleGANElements, "pix2pix": Pix2PixElements}


def config_of(cls, **flags):
    decided = (
        {"residual": "on", "colour_start": "on"} if issubclass(cls, CycleGAN) else {}
    )  # as by the data of most sets
    settings = {**sized_settings(cls, "modern", {"crop_size": SIZE}), **SMALL, **decided, **flags}
    return cls.resolve_config(config.resolve(cls.Config, ("test", settings)))


def method_of(cls, **flags):
    """A small method of the preset modern in float64; its weights are moved, since a residual output starts at zero."""
    method = cls(config_of(cls, **flags)).double()
    with torch.no_grad():
        for name, p in method.named_parameters():
            key = torch.tensor([keyed_random.derive_key(1, name)])
            p += 0.1 * keyed_random.normal(key, "stir", p.numel()).view(p.shape)
    return method


def steps(method, clock=START, batch=None):
    """{update: losses} of a step, at one set of weights."""
    scheduled = {name: torch.tensor(value) for name, value in method.scheduled_values(clock).items()}
    return dict(method.step(noise_batch(2) if batch is None else batch, clock, scheduled))


@pytest.mark.parametrize("name", ELEMENTS)
def test_the_defaults_are_the_packages(name):
    own, base = config.to_dict(ELEMENTS[name].Config()), config.to_dict(METHODS[name].Config())
    assert {setting: own.get(setting) for setting in base} == base


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("cyclegan", {}),
        ("pix2pix", {}),
        ("cyclegan", {"pairs": "names", "lambda_lowpass": 2.0}),
        *((name, {"adversarial": "relativistic", "norm": "instance"}) for name in ELEMENTS),
    ],
    ids=["cyclegan", "pix2pix", "cyclegan-pairs", "cyclegan-relativistic", "pix2pix-relativistic"],
)
def test_without_an_element_a_step_is_the_packages(name, flags):
    """To the last bit: the same weights, passes and draws."""
    known = noise_batch(2, seed=4)
    batch = {**noise_batch(2), "pair_a": known["a"], "pair_b": known["b"]}
    own, base = (steps(method_of(cls, **flags), batch=batch) for cls in (ELEMENTS[name], METHODS[name]))
    assert {update: list(losses) for update, losses in own.items()} == {
        update: list(losses) for update, losses in base.items()
    }
    assert all(torch.equal(own[update][loss], base[update][loss]) for update in base for loss in base[update])


@pytest.mark.parametrize("name", ELEMENTS)
def test_the_optimizers_have_both_betas(name):
    method = method_of(ELEMENTS[name], beta1=0.0)
    assert {update.options["betas"] for update in method.updates.values()} == {(0.0, 0.99)}
    assert {update.role for update in method.updates.values()} == {"generator", "discriminator"}
    assert {u.options["betas"] for u in method_of(ELEMENTS[name]).updates.values()} == {(0.5, 0.99)}


# The adversarial loss.


def test_the_pixel_discriminator_at_half_weight():
    """Of three heads and the pixel discriminator: (l1 + l2 + l3 + ½ l4) / 3.5 by hinge."""
    method, batch = method_of(CycleGANElements, pixel_weight=0.5), noise_batch(2)
    found = steps(method)
    fake = method.g_ab(batch["a"])
    seen, real = method.view(batch, "b", fake, "fake b"), method.view(batch, "b", batch["b"], "real b")
    on_fake, on_real = method.d_b(seen), method.d_b(real)
    g = [-logits.mean() for logits in on_fake]
    d = [(1 - x).clamp(min=0).mean() + (1 + y).clamp(min=0).mean() for x, y in zip(on_real, on_fake, strict=True)]
    torch.testing.assert_close(found["g"]["adv_ab"], (g[0] + g[1] + g[2] + g[3] / 2) / 3.5)
    torch.testing.assert_close(found["d"]["adv_b"], (d[0] + d[1] + d[2] + d[3] / 2) / 3.5)


def test_the_relativistic_loss_of_weighted_heads():
    """softplus of real − fake for the generator, and of fake − real for the discriminator."""
    flags = {"pixel_weight": 0.5, "adversarial": "relativistic", "lambda_map_penalty": 1.0}
    method, batch = method_of(Pix2PixElements, **flags), noise_batch(2)
    found = steps(method)
    real = method.view(batch, batch["b"], "real")
    on_fake, on_real = method.d(method.view(batch, method.g(batch["a"]), "real")), method.d(real)
    gaps = [x - y for x, y in zip(on_real, on_fake, strict=True)]
    weights = torch.tensor([1, 1, 1, 0.5], dtype=torch.float64) / 3.5
    g, d = (torch.stack([F.softplus(sign * gap).mean() for gap in gaps]) @ weights for sign in (1, -1))
    torch.testing.assert_close(found["g"]["adv"], g)
    torch.testing.assert_close(found["d"]["adv"], d)


def linear_heads(net, images):
    """Replace the heads and the pixel discriminator by 1×1 convolutions; return ‖w‖² of each, without a condition's weights."""
    squares = []
    for i, head in enumerate(net.heads):
        net.heads[i] = nn.Conv2d(head[0].in_channels, 1, 1).double()
        squares.append(net.heads[i].weight[0, : head[0].in_channels // images].square().sum())
    net.pixel = nn.Conv2d(net.pixel[0].in_channels, 1, 1).double()
    return [*squares, net.pixel.weight.square().sum()]


@pytest.mark.parametrize(("adversarial", "terms"), [("hinge", 1), ("relativistic", 2)])
@pytest.mark.parametrize("name", ELEMENTS)
def test_the_penalty_of_linear_heads_is_the_square_of_their_weights(name, adversarial, terms):
    """½ γ · 16 · mean of ‖w‖² over heads, at real images, and as much again at fake ones where the loss is relativistic.

    In the preset modern generators have batch norm, which the package's penalty refuses.
    """
    method = method_of(ELEMENTS[name], adversarial=adversarial, lambda_map_penalty=3.0)
    assert method.cfg.norm == "batch"
    nets = {"penalty": method.d} if name == "pix2pix" else {"penalty_a": method.d_a, "penalty_b": method.d_b}
    squares = {loss: linear_heads(net, 2 if name == "pix2pix" else 1) for loss, net in nets.items()}
    losses = steps(method)["d"]
    for loss in nets:
        torch.testing.assert_close(losses[loss], terms * 0.5 * 3 * 16 * torch.stack(squares[loss]).mean())


def test_the_penalty_is_due_every_16_steps_and_trains_the_heads_alone():
    method = method_of(CycleGANElements, lambda_map_penalty=1.0)
    phases = [method.phase(clock_at(step, 2)) for step in range(33)]
    assert [step for step, phase in enumerate(phases) if phase] == [0, 16, 32]
    losses = steps(method)["d"]
    assert "penalty_a" not in steps(method, clock_at(1, 2))["d"]
    losses["penalty_a"].backward()
    reached = {name for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached and all(name.startswith(("d_a.heads", "d_a.pixel")) for name in reached)


def test_the_penalty_of_nonlinear_heads():
    """Of all pixels of all maps one after another, each head by itself."""
    method, batch = method_of(CycleGANElements, lambda_map_penalty=1.0), noise_batch(1)
    found = dict(method.step(batch, START, {}))["d"]["penalty_b"]
    net, view = method.d_b, method.view(batch, "b", batch["b"], "real b")
    parts = []
    for layer, x in [*zip(net.heads, view.maps, strict=True), (net.pixel, view.image)]:
        jacobian = torch.autograd.functional.jacobian(lambda y, layer=layer: layer(y).sum(), x.detach())
        parts.append(jacobian.square().sum() / (x.shape[2] * x.shape[3]))
    torch.testing.assert_close(found, 0.5 * 16 * torch.stack(parts).mean())


# Losses of CycleGAN.


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def test_patchnce_by_hand():
    """CUT, eq. 2 and 3: −log softmax of cosines / 0.07, of the same location among 64 of the image; mean over layers."""
    method, batch = method_of(CycleGANElements, lambda_nce=2.0), noise_batch(2)
    found = steps(method)["g"]

    def maps_of(net, x):
        outputs = []
        for layer in [*net.model[0].downs, net.model[0].bottom]:
            x = layer(x)
            outputs.append(x)
        return outputs

    sources, queries = maps_of(method.g_ab, batch["a"]), maps_of(method.g_ba, method.g_ab(batch["a"]))
    places, losses = sample_locations(batch["key"], "nce a", sources, 64), []
    assert [p.shape[1] for p in places] == [64, 64, 64]
    for i, (source, query) in enumerate(zip(sources, queries, strict=True)):
        of_image = []
        for n in range(2):
            k = unit(method.f_a.heads[i](source[n].flatten(1)[:, places[i][n]].T))
            q = unit(method.f_b.heads[i](query[n].flatten(1)[:, places[i][n]].T))
            cosines = q @ k.T / 0.07
            of_image.append((cosines.logsumexp(1) - cosines.diagonal()).mean())
        losses.append(torch.stack(of_image).mean())
    torch.testing.assert_close(
        found["nce_a"], 2 * torch.stack(losses).mean(), rtol=1e-5, atol=1e-6
    )  # 1e-7 in the norms
    assert found["nce_b"] > 0


def test_patchnce_costs_no_pass_and_trains_its_heads():
    """Each generator sees two batches in a step, as without: its running statistics move twice."""
    method = method_of(CycleGANElements, lambda_nce=1.0)
    losses = steps(method)["g"]
    counts = {int(x) for name, x in method.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {2}
    (losses["nce_a"] + losses["nce_b"]).backward()
    for network in method.updates["g"].networks:
        assert any(p.grad is not None and p.grad.any() for p in method.get_submodule(network).parameters()), network
    assert method.updates["g"].networks == ("g_ab", "g_ba", "f_a", "f_b")
    assert not [hook for module in method.modules() for hook in module._forward_hooks]


def prepared(**flags):
    """A method whose colour maps have been set, and then trained away from there; the maps as they were."""
    method = method_of(CycleGANElements, lambda_anchor=2.0, **flags)
    bright = noise_batch(4)
    with torch.no_grad():
        method.prepare([{"a": bright["a"] / 4 - 0.5, "b": bright["b"] / 5 + 0.5}])
    start = {to: nn.Conv2d(3, 3, 1).double() for to in "ab"}
    for to in "ab":
        start[to].load_state_dict(method.generator_for(to).colour.state_dict())
        with torch.no_grad():
            method.generator_for(to).colour.weight += 1
    return method, start


def test_the_anchor_by_hand():
    """2 · mean |difference of the means of 8×8 pixels|, to the colour map at the start, not to that of the trained network."""
    method, start = prepared()
    batch, found = noise_batch(2), steps(method)["g"]
    for to, source, net in (("b", "a", method.g_ab), ("a", "b", method.g_ba)):
        pairs = [
            x.view(2, 3, SIZE // 8, 8, SIZE // 8, 8).mean((3, 5))
            for x in (net(batch[source]), start[to](batch[source]))
        ]
        torch.testing.assert_close(found[f"anchor_{to}"], 2 * (pairs[0] - pairs[1]).abs().mean())


def test_the_anchor_is_let_go_by_images():
    method = method_of(CycleGANElements, lambda_anchor=2.0, anchor_images=100)
    weights = [method.scheduled_values(replace(START, images=n))["anchor"] for n in (0, 25, 100, 150)]
    assert weights == [2.0, 1.5, 0.0, 0.0]
    assert method.scheduled_values(replace(START, progress=0.5)) == {"anchor": 2.0}
    assert method_of(CycleGANElements).scheduled_values(START) == {}
    for_good = method_of(CycleGANElements, lambda_anchor=2.0)
    assert for_good.scheduled_values(replace(START, images=10**9)) == {"anchor": 2.0}
    assert not steps(method, replace(START, images=100))["g"]["anchor_a"].any()


def test_the_anchor_is_saved_with_the_state_and_not_trained():
    method, start = prepared()
    state = method.state_dict()
    for to in "ab":
        torch.testing.assert_close(state[f"anchor_{to}"][:, :3], start[to].weight[:, :, 0, 0])
        torch.testing.assert_close(state[f"anchor_{to}"][:, 3], start[to].bias)
    assert not [name for name, _ in method.named_parameters() if "anchor" in name]


def test_inpainting_by_hand():
    """Mean |x − (x̂ + f(x̂))|, where each 8×8 patch of x̂ is one of x or 0; the colour map and the discriminators wait."""
    method, batch = method_of(CycleGANElements, inpainting_images=10), noise_batch(2)
    for p in (method.g_ab.model[0].out[1].weight, method.g_ab.model[0].out[1].bias):
        nn.init.zeros_(p)  # f = 0: all that is missing is what is masked
    found = steps(method, replace(START, images=8))
    assert list(found) == ["g"] and list(found["g"]) == ["inpainting_a", "inpainting_b"]
    patches = batch["a"].view(2, 3, SIZE // 8, 8, SIZE // 8, 8).abs().sum((1, 3, 5))
    hidden = keyed_random.uniform(batch["key"], "mask a", 1, SIZE // 8, SIZE // 8)[:, 0] < 0.4
    assert 0 < hidden.sum() < hidden.numel()
    torch.testing.assert_close(found["g"]["inpainting_a"], patches[hidden].sum() / batch["a"].numel())
    sum(found["g"].values()).backward()
    assert method.g_ba.model[0].downs[0][1].weight.grad.any()
    assert all(p.grad is None for net in (method.g_ab.colour, method.g_ba.colour, method.d_a) for p in net.parameters())


def test_inpainting_ends_after_its_images():
    method = method_of(CycleGANElements, inpainting_images=10)
    assert [method.phase(replace(START, images=n)) for n in (0, 9, 10)] == ["inpainting", "inpainting", ""]
    assert list(steps(method, replace(START, images=10))) == ["g", "d"]


def test_two_fifths_of_the_patches_are_masked():
    """Of 4,000 patches, within four standard errors: 4 · √(0.4 · 0.6 / 4000) = 0.031."""
    key = keyed_random.image_keys(0, torch.arange(250))
    masked = mask_patches(torch.ones(250, 1, SIZE, SIZE), key, "mask")
    assert abs(1 - masked.mean() - 0.4) < 0.031


@pytest.mark.parametrize(
    ("name", "flags", "named"),
    [
        ("cyclegan", {"pool_size": 5}, "--preset modern"),
        ("cyclegan", {"colour_start": False, "lambda_anchor": 1.0}, "--colour-start on"),
        ("cyclegan", {"residual": False, "colour_start": False, "inpainting_images": 5}, "--residual on"),
        ("cyclegan", {"inpainting_images": 5, "lambda_nce": 1.0}, "--lambda-nce"),
        ("cyclegan", {"generator": "unet_16", "residual": False, "colour_start": False, "lambda_nce": 1.0}, "resize_unet"),
        ("pix2pix", {"discriminator": "projected", "pixel_weight": 0.5}, "has none of pixels"),
        ("pix2pix", {"discriminator": "basic", "lambda_map_penalty": 1.0}, "need projected"),
        ("pix2pix", {"adversarial": "relativistic", "lambda_penalty": 1.0, "lambda_map_penalty": 1.0}, "leave --lambda"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_with_a_remedy(name, flags, named):
    with pytest.raises(UsageError, match=named):
        method_of(ELEMENTS[name], **flags)


COMBINED = {
    "cyclegan": {
        "pixel_weight": 0.5,
        "lambda_map_penalty": 1.0,
        "lambda_anchor": 1.0,
        "anchor_images": 8,
        "beta1": 0.0,
    },
    "pix2pix": {"pixel_weight": 0.5, "lambda_map_penalty": 1.0, "beta1": 0.0},
}


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        pytest.param("cyclegan", COMBINED["cyclegan"], marks=pytest.mark.slow),
        ("pix2pix", COMBINED["pix2pix"]),
        ("cyclegan", {**COMBINED["cyclegan"], "lambda_nce": 1.0}),
        ("cyclegan", {**COMBINED["cyclegan"], "inpainting_images": 4}),
    ],
    ids=["cyclegan", "pix2pix", "cyclegan-nce", "cyclegan-inpainting"],
)  # fmt: skip
def test_the_engine_trains_elements_together(name, flags):
    """Losses are finite, each phase yields the same updates, and every network has moved."""
    cls = ELEMENTS[name]
    cfg = config_of(cls, **flags)
    method = cls(cfg)
    before = {key: p.detach().clone() for key, p in method.named_parameters()}
    schedule = Schedule(10, 0, 0, images=1000)
    engine = Engine(
        method,
        schedule,
        seed=0,
        device=torch.device("cpu"),
        precision=PRECISIONS["fp32"],
        batch_size=2,
        ema_half_life=10,
    )
    for step in range(5):
        batch = {side: x.float() for side, x in noise_batch(2, 2 * step).items() if side != "key"}
        losses = engine.step([batch])
        assert all(torch.isfinite(x) for x in losses.values())
    networks = {key.split(".")[0] for key, p in method.named_parameters() if not torch.equal(p, before[key])}
    assert networks == {network for update in method.updates.values() for network in update.networks}
    assert engine.find_divergence(weights=True) is None
