"""pix2pix: a step by hand, the pairs that its discriminator sees, and its recipe."""

import pytest
import torch
import torch.nn.functional as F

from translate import config
from translate.errors import UsageError
from translate.methods.pix2pix import Pix2Pix, Pix2PixConfig

from ..helpers import small_config
from .helpers import START, noise_batch


def method_of(**flags):
    """Return a small pix2pix in float64, without what would make two passes differ."""
    flags = {"norm": "instance", "dropout": False, "generator": "unet_32", **flags}
    return Pix2Pix(small_config("pix2pix", **flags)).double()


def test_a_step_by_hand():
    """eq. 1 and 4: cross-entropy of pairs, halved for the discriminator, and 100 times the L1 distance."""
    method, batch = method_of(), noise_batch()
    a, b = batch["a"], batch["b"]
    (first, d_losses), (second, g_losses) = method.step(batch, START, {})
    fake = method.g(a)
    on_real, on_fake = (method.d(torch.cat([a, image], 1)) for image in (b, fake))
    assert (first, second) == ("d", "g")
    expected = 0.5 * (F.softplus(-on_real).mean() + F.softplus(on_fake).mean())
    torch.testing.assert_close(d_losses["adv"], expected)
    torch.testing.assert_close(g_losses["adv"], F.softplus(-on_fake).mean())
    torch.testing.assert_close(g_losses["l1"], 100 * (fake - b).abs().mean())
    assert (set(d_losses), set(g_losses)) == ({"adv"}, {"adv", "l1"})


def test_the_discriminators_loss_does_not_reach_the_generator():
    method = method_of()
    _, losses = next(method.step(noise_batch(), START, {}))
    losses["adv"].backward()
    assert all(p.grad is None for p in method.g.parameters())
    assert any(p.grad.abs().max() > 0 for p in method.d.parameters())


def test_a_gradient_penalty_is_of_the_pair():
    method, batch = method_of(adversarial="wgan-gp"), noise_batch()
    _, losses = next(method.step(batch, START, {}))
    fake = method.g(batch["a"]).detach()
    pairs = [torch.cat([batch["a"], image], 1) for image in (batch["b"], fake)]
    torch.testing.assert_close(
        losses["penalty"], method.adversarial_loss.penalty(method.d.forward, *pairs, batch["key"])
    )


def test_augmentation_moves_both_images_of_a_pair_and_leaves_the_inputs_colours():
    batch = noise_batch()
    plain = torch.cat([batch["a"], batch["b"]], 1)
    coloured = method_of(diffaugment="color").view(batch, batch["b"], "real")
    assert torch.equal(coloured[:, :3], plain[:, :3])
    assert not torch.equal(coloured[:, 3:], plain[:, 3:])
    cut = method_of(diffaugment="cutout").view(batch, batch["b"], "real")
    assert torch.equal((cut == 0).all(1), (cut[:, :3] == 0).all(1))
    assert (cut == 0).any()


def test_the_grid_shows_input_output_and_truth():
    method, batch = method_of().eval(), noise_batch()
    columns = method.preview(batch)
    assert list(columns) == ["input", "output", "truth"]
    assert torch.equal(columns["output"], method.translate(batch["a"], "b", batch["key"]))


def test_the_discriminator_is_monitored_on_real_and_fake_pairs():
    method, batch = method_of().eval(), noise_batch()
    outputs = method.discriminator_outputs(batch)
    assert torch.equal(outputs["real"], method.d(torch.cat([batch["a"], batch["b"]], 1)))
    assert outputs.keys() == {"real", "fake"}


def test_the_default_recipe_is_the_references():
    cfg = Pix2Pix.resolve_config(Pix2PixConfig())
    assert (cfg.generator, cfg.discriminator, cfg.norm, cfg.dropout) == ("unet_256", "basic", "batch", True)
    assert (cfg.adversarial, cfg.lambda_l1, cfg.lr, cfg.batch_size) == ("non-saturating", 100, 2e-4, 1)
    assert (cfg.epochs, cfg.decay_epochs, cfg.crop_size, cfg.default_load_size) == (100, 100, 256, 286)
    method = Pix2Pix.on_meta(cfg)
    assert {name: update.networks for name, update in method.updates.items()} == {"d": ("d",), "g": ("g",)}
    assert {tuple(update.options["betas"]) for update in method.updates.values()} == {(0.5, 0.999)}


@pytest.mark.parametrize("crop", [33, 250])
def test_a_crop_that_no_u_net_takes_is_refused(crop):
    with pytest.raises(UsageError, match=f"--crop-size {crop}.*--crop-size"):
        Pix2Pix.resolve_config(config.resolve(Pix2PixConfig, ("test", {"crop_size": crop})))


@pytest.mark.parametrize("shared", [True, False])
def test_features_are_matched_under_the_change_that_the_discriminator_sees(shared):
    """One draw for input, output and truth, so that three passes through the network suffice."""
    flags = {
        "share_augmentation": shared,
        "diffaugment": "translation",
        "lambda_features": 2.0,
        "discriminator": "projected",
    }
    method, batch = method_of(**flags), noise_batch()
    seen = []
    for network in {id(net): net for net in (method.d.features, method.content.features)}.values():
        network.register_forward_hook(lambda *_: seen.append(1))
    _, (_, losses) = method.step(batch, START, {})
    assert len(seen) == (3 if shared else 8)
    fake, b = method.g(batch["a"]), batch["b"]
    if shared:
        fake, b = (method.view(batch, image, "real").image[:, 3:] for image in (fake, b))
    maps = zip(method.content.features(fake), method.content.features(b), strict=True)
    torch.testing.assert_close(losses["features"], 2 * sum((x - y).abs().mean() for x, y in maps))


def test_the_condition_of_a_view_is_that_of_the_view_beside_it():
    method, batch = method_of(share_augmentation=True, discriminator="projected"), noise_batch()
    real = method.view(batch, batch["b"], "real")
    fake = method.g(batch["a"])
    for one, other in zip(
        method.d(method.view(batch, fake, "real", real)), method.d(method.view(batch, fake, "real")), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
