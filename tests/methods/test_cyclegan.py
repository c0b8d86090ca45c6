"""CycleGAN: a step by hand, its image pools, and its recipe."""

import pytest
import torch

from translate.errors import UsageError
from translate.methods.cyclegan import CycleGAN, CycleGANConfig

from ..helpers import small_config
from .helpers import START, noise_batch


def method_of(**flags):
    return CycleGAN(small_config("cyclegan", **flags)).double()


def test_a_step_by_hand():
    """eq. 3 with least squares (sec. 4), λ = 10, and the identity loss with half of it (sec. 5.2)."""
    method, batch = method_of(pool_size=0), noise_batch(1)
    a, b = batch["a"], batch["b"]
    (first, g_losses), (second, d_losses) = method.step(batch, START, {})
    fake_b, fake_a = method.g_ab(a), method.g_ba(b)
    expected = {
        "adv_ab": (method.d_b(fake_b) - 1).square().mean(),
        "adv_ba": (method.d_a(fake_a) - 1).square().mean(),
        "cycle_a": 10 * (method.g_ba(fake_b) - a).abs().mean(),
        "cycle_b": 10 * (method.g_ab(fake_a) - b).abs().mean(),
        "identity_a": 5 * (method.g_ba(a) - a).abs().mean(),
        "identity_b": 5 * (method.g_ab(b) - b).abs().mean(),
    }
    assert (first, second) == ("g", "d")
    assert list(g_losses) == list(expected)
    for name, loss in expected.items():
        torch.testing.assert_close(g_losses[name], loss, msg=name)
    for name, d, real, fake in (("adv_a", method.d_a, a, fake_a), ("adv_b", method.d_b, b, fake_b)):
        expected_loss = 0.5 * ((d(real) - 1).square().mean() + d(fake).square().mean())
        torch.testing.assert_close(d_losses[name], expected_loss, msg=name)


def test_without_the_identity_loss_domains_may_have_other_channels():
    method = method_of(lambda_identity=0.0, input_channels=1, pool_size=0)
    batch = noise_batch(1)
    batch["a"] = batch["a"][:, :1]
    _, losses = next(method.step(batch, START, {}))
    assert set(losses) == {"adv_ab", "adv_ba", "cycle_a", "cycle_b"}


def test_discriminators_see_fakes_of_the_pools():
    """The first images fill the pools; later ones are exchanged for images of them, or shown themselves."""
    method = method_of(pool_size=2)
    for step in range(6):
        for _ in method.step(noise_batch(1, step), START, {}):
            pass
        assert int(method.pool_a.count) == int(method.pool_b.count) == min(step + 1, 2)
    assert (method.pool_a.images != 0).any() and (method.pool_b.images != 0).any()


def test_the_discriminators_losses_do_not_reach_the_generators():
    method = method_of(pool_size=2)
    *_, (_, losses) = method.step(noise_batch(1), START, {})
    sum(losses.values()).backward()
    assert all(p.grad is None for net in (method.g_ab, method.g_ba) for p in net.parameters())
    assert all(p.grad is not None for net in (method.d_a, method.d_b) for p in net.parameters())


def test_the_default_recipe_is_the_references():
    cfg = CycleGAN.resolve_config(CycleGANConfig())
    assert (cfg.generator, cfg.discriminator, cfg.norm, cfg.dropout) == ("resnet_9blocks", "basic", "instance", False)
    assert (cfg.adversarial, cfg.lambda_cycle, cfg.lambda_identity, cfg.pool_size) == ("lsgan", 10, 0.5, 50)
    assert (cfg.epochs, cfg.decay_epochs, cfg.lr, cfg.batch_size) == (100, 100, 2e-4, 1)
    assert (cfg.crop_size, cfg.default_load_size) == (256, 286)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"input_channels": 1}, "--lambda-identity 0"),
        ({"preprocess": "none"}, "--pool-size 0"),
        ({"crop_size": 30}, "multiples of 4"),
        ({"norm": "batch", "adversarial": "wgan-gp"}, "--norm instance"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_remedy(flags, named):
    with pytest.raises(UsageError, match=named):
        method_of(**flags)


SHARED = {"share_augmentation": True, "pool_size": 0, "diffaugment": "translation,cutout", "lambda_identity": 0.0}


def test_both_losses_see_one_random_change_of_a_generated_image():
    """With the draws of the discriminator's loss: what the generators fool is what the discriminators then judge."""
    method, batch = method_of(**SHARED), noise_batch(2)
    (_, g_losses), (_, d_losses) = method.step(batch, START, {})
    fake_b, fake_a = method.g_ab(batch["a"]), method.g_ba(batch["b"])
    for to, d, fake in (("ab", method.d_b, fake_b), ("ba", method.d_a, fake_a)):
        domain = to[1]
        on_fake = d(method.augment(batch, fake, f"fake {domain}"))
        on_real = d(method.augment(batch, batch[domain], f"real {domain}"))
        torch.testing.assert_close(g_losses[f"adv_{to}"], (on_fake - 1).square().mean())
        expected = 0.5 * ((on_real - 1).square().mean() + on_fake.square().mean())
        torch.testing.assert_close(d_losses[f"adv_{domain}"], expected)


@pytest.mark.parametrize(("flags", "passes"), [({}, 4), ({"share_augmentation": False}, 6), ({"pool_size": 2}, 6)])
def test_the_features_of_a_generated_image_are_computed_once(flags, passes):
    """Of two fakes and two real images; a discriminator that is shown another change, or an older fake, looks again."""
    method = method_of(**{**SHARED, "discriminator": "projected", **flags})
    assert method.frozen_networks == ("d_a.features", "d_b.features")
    seen = []
    for d in (method.d_a, method.d_b):
        d.features.register_forward_hook(lambda *_: seen.append(1))
    for _, losses in method.step(noise_batch(2), START, {}):
        sum(losses.values()).backward()
    assert len(seen) == passes
    assert all(p.grad is not None for p in method.parameters())
