"""StarGAN v2: what trains what, styles in a step and in conversion, settings that fit together."""

import re

import pytest
import torch

from translate import config, keyed_random
from translate.errors import DataError, UsageError
from translate.methods.starganv2 import StarGANV2
from translate.nn.networks.starganv2 import PreActivationBlock, select_by_label, widths_after
from translate.runtime.precision import PRECISIONS
from translate.trained.folder import read_model_folder, write_trained_model
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from .helpers import START, clock_at, noise_batch

NAMES = ("autumn", "summer", "winter")
SMALL = {
    "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "max_width": 8, "f_width": 6, "latent_size": 5,
    "style_size": 7, "batch_size": 4,
}  # fmt: skip


def settings(**flags):
    cfg = StarGANV2.resolve_config(config.resolve(StarGANV2.Config, ("test", {**SMALL, **flags})))
    return StarGANV2.with_labels(cfg, NAMES, exclusive=True)


def method_of(**flags):
    return StarGANV2(settings(**flags)).double()


def batch_of(count=4):
    batch = noise_batch(count)
    return {**batch, "label": torch.arange(count) % 3, "label_b": torch.arange(count) // 2 % 3}


def scheduled_of(method, clock=START):
    return {name: torch.tensor(value) for name, value in method.scheduled_values(clock).items()}


def steps_of(method, batch):
    return [(name, dict(losses)) for name, losses in method.step(batch, START, scheduled_of(method))]


def gradients(losses, network):
    loss = torch.stack(list(losses.values())).sum()
    return torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, retain_graph=True)


def test_a_step_has_the_authors_order_and_references_train_the_generator_alone():
    method = method_of()
    (d1, latent_d), (d2, reference_d), (g1, latent), (g2, reference) = steps_of(method, batch_of())
    assert [d1, d2, g1, g2] == ["d", "d", "g", "g"]
    assert list(latent_d) == ["adv_latent", "r1_latent"] and list(reference_d) == ["adv_reference", "r1_reference"]
    terms = ("adv", "style", "diversity", "cycle")
    assert list(latent) == [f"{term}_latent" for term in terms]
    assert list(reference) == [f"{term}_reference" for term in terms]
    assert all(g is not None for net in (method.g, method.f, method.e) for g in gradients(latent, net))
    assert all(g is not None for g in gradients(reference, method.g))
    assert all(g is None for net in (method.f, method.e) for g in gradients(reference, net))


def test_networks_that_a_yield_does_not_train_keep_weights_and_moments():
    """The second yield of the generator's update changes it alone, by the same optimizer."""
    cfg = settings(f_lr=1e-5)
    engine = Engine(
        StarGANV2(cfg), Schedule(10, 0, 0, images=1000), seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp64"],
        batch_size=4,
    )  # fmt: skip
    apply, seen = engine._apply, []

    def watched(update):
        apply(update)
        state = engine.optimizers["g"].state
        seen.append([int(state[next(engine.method.get_submodule(net).parameters())].get("step", 0)) for net in "gfe"])

    engine._apply = watched
    batch = batch_of()
    batch.pop("key")
    engine.step([batch])
    assert seen == [[0, 0, 0], [0, 0, 0], [1, 1, 1], [2, 1, 1]]
    rates = {group["factor"]: group["lr"] for group in engine.optimizers["g"].param_groups}
    assert rates == pytest.approx({1.0: 1e-4, 0.1: 1e-5})


def test_two_images_share_references_and_each_has_its_own_first():
    method, batch = method_of(), batch_of(6)
    first, second = method.target_styles(batch, "reference")
    expected = method.e(batch["b"], batch["label_b"])
    assert torch.equal(first, expected)
    assert torch.equal(second, expected[[1, 0, 3, 2, 5, 4]])


def test_random_codes_are_two_for_each_image():
    method, batch = method_of(), batch_of()
    first, second = method.target_styles(batch, "latent")
    z = keyed_random.normal(batch["key"], "z", 5)
    assert torch.equal(first, method.f(z, batch["label_b"]))
    assert (first != second).any(1).all()


def test_a_label_selects_its_head():
    heads = [torch.full((3, 2), float(n)) for n in (5, 6, 7)]
    assert select_by_label(heads, torch.tensor([2, 0, 1])).tolist() == [[7, 7], [5, 5], [6, 6]]


def test_an_image_s_logit_and_style_are_those_of_its_domain():
    method, batch = method_of(), batch_of()
    x, label = batch["a"], batch["label"]
    for net in (method.d, method.e):
        by_domain = torch.stack([net(x, torch.full_like(label, n)) for n in range(3)])
        assert torch.equal(net(x, label), by_domain[label, torch.arange(4)])
        assert not torch.equal(by_domain[0], by_domain[1])


def test_widths_double_up_to_the_most():
    assert widths_after(4, 3, 10) == [4, 8, 10, 10]
    assert widths_after(64, 2, 16) == [64, 64, 64]


def test_a_residual_block_of_zero_weights_is_its_shortcut_over_root_two():
    block = PreActivationBlock(3, 3, "none", halves=True)
    for parameter in block.parameters():
        parameter.data.zero_()
    x = torch.arange(48.0).view(1, 3, 4, 4)
    torch.testing.assert_close(block(x), torch.nn.functional.avg_pool2d(x, 2) / 2**0.5)


def test_the_weight_of_diversity_falls_to_zero_with_the_images_seen():
    method = method_of(diversity_images=80, lambda_diversity=2.0)
    weights = [method.scheduled_values(clock_at(step))["lambda_diversity"] for step in (0, 5, 10, 20, 30)]
    assert weights == [2, 1.5, 1, 0, 0]
    assert method_of(diversity_images=0).scheduled_values(clock_at(10**6)) == {"lambda_diversity": 1}


def test_outputs_that_differ_more_cost_less():
    method, batch = method_of(), batch_of()
    with torch.no_grad():
        style, other = method.target_styles(batch, "latent")
        distance = (method.g(batch["a"], style) - method.g(batch["a"], other)).abs().mean()
        loss = method.generator_losses(batch, "latent", torch.tensor(0.5))["diversity_latent"]
    torch.testing.assert_close(loss, -0.5 * distance)


@pytest.mark.parametrize(("adversarial", "r1", "penalty"), [
    ("non-saturating", 1.0, False), ("wgan-gp", 0.0, True), ("relativistic", 0.0, True),
])  # fmt: skip
def test_r1_gives_way_to_the_penalty_of_an_adversarial_loss(adversarial, r1, penalty):
    method = method_of(adversarial=adversarial)
    assert method.cfg.lambda_r1 == r1
    with torch.enable_grad():
        losses = method.discriminator_losses(batch_of(), "latent", 0)
    assert ("r1_latent" in losses, "penalty_latent" in losses) == (bool(r1), penalty)


# Conversion.


def test_a_key_draws_a_style_and_an_image_has_one():
    method, x = method_of().eval(), batch_of()["a"]
    key = torch.tensor([5, 6, 7, 8])
    label = torch.full((4,), 2)
    style = method.f(keyed_random.normal(key, "z", 5), label)
    with torch.no_grad():
        assert torch.equal(method.translate(x, "winter", key), method.g(x, style).clamp(-1, 1))
        assert torch.equal(method.translate_in_style(x, "winter", style), method.translate(x, "winter", key))
        code = method.encode_style(x[:1], "winter")
        assert torch.equal(code, method.e(x[:1], label[:1]))
        assert torch.equal(method.translate_in_style(x, "winter", code), method.g(x, code.expand(4, -1)).clamp(-1, 1))
        mean = method.f(torch.zeros(4, 5), label)
        assert torch.equal(method.translate(x, "winter"), method.translate_in_style(x, "winter", mean))


def test_a_model_folder_translates_as_the_method(tmp_path):
    method = StarGANV2(settings()).eval()
    write_trained_model(tmp_path, method, title="seasons", seen=0)
    loaded = read_model_folder(tmp_path).method.eval()
    x, key = batch_of()["a"].float(), torch.tensor([5, 6, 7, 8])
    with torch.no_grad():
        assert torch.equal(loaded.translate(x, "winter", key), method.translate(x, "winter", key))
        assert torch.equal(loaded.encode_style(x, "summer"), method.encode_style(x, "summer"))


def test_an_example_is_read_as_of_the_target_domain_and_of_one_alone():
    method, x = method_of().eval(), batch_of()["a"][:1]
    assert not torch.equal(method.encode_style(x, "autumn"), method.encode_style(x, "summer"))
    with pytest.raises(UsageError, match="--style with --to all: an image is an example of one domain"):
        method.encode_style(x, "all")


def test_targets_are_the_domains_by_name():
    method = method_of()
    assert method.target_domains("summer") == ("summer",) and method.target_domains("all") == NAMES
    with pytest.raises(UsageError, match=r"translates to autumn, summer, winter or all, not to 'b'$"):
        method.target_domains("b")


def test_the_grid_shows_domains_twice_and_the_style_of_the_next_image():
    method, batch = method_of().eval(), batch_of()
    columns = method.preview(batch)
    assert list(columns) == [
        "input", *(f"to {name}{again}" for name in NAMES for again in ("", " again")), "reference", "in its style", "cycle",
    ]  # fmt: skip
    code = method.e(batch["a"][3:], batch["label"][3:])
    torch.testing.assert_close(columns["in its style"][:1], method.translate_in_style(batch["a"][:1], "autumn", code))


# Settings.


@pytest.mark.parametrize(("flags", "said"), [
    ({"crop_size": 48}, "is trained on crops of a power of two from 16 pixels up; use --crop-size 32"),
    ({"crop_size": 8}, "use --crop-size 16"),
    ({"batch_size": 3}, "two images at a time references of one domain; use --batch-size 2 or a multiple"),
    ({"batch_size": 4, "accumulate": 4}, "use --batch-size 8"),
    ({"input_channels": 1}, "give --input-channels and --output-channels the same value"),
    ({"range_b": "0:1"}, "leave --range-b out"),
    ({"preprocess": "none"}, "--preprocess none keeps images of many sizes"),
    ({"lr": 0.0}, "--f-lr 1e-06: is a part of --lr, which is 0; give --f-lr 0 too"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_one_line(flags, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        settings(**flags)


def test_labels_are_domains():
    cfg = StarGANV2.resolve_config(StarGANV2.Config())
    with pytest.raises(UsageError, match="starganv2 needs domains, of which an image has one"):
        StarGANV2.with_labels(cfg, ("smiling",), exclusive=False)
    with pytest.raises(DataError, match="'all' cannot be the name of a domain"):
        StarGANV2.with_labels(cfg, ("all", "b"), exclusive=True)
    with pytest.raises(UsageError, match="--domains autumn,summer,winter: the data has a,b; start a new run"):
        StarGANV2.with_labels(settings(), ("a", "b"), exclusive=True)
