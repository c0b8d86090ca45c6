"""SPADE: rates, losses of its updates, codes of styles in conversion, settings that do not go together."""

import pytest
import torch

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods.spade import SPADE

from .helpers import START, noise_batch

SMALL = {"crop_size": 32, "load_size": 32, "g_width": 2, "d_width": 2}


def resolve(**flags):
    return SPADE.resolve_config(config.resolve(SPADE.Config, (config.FLAGS, {**SMALL, **flags})))


def small_spade(**flags):
    return SPADE(resolve(**flags)).double()


def losses_of(method, batch, update):
    """The losses of an update; between updates no weight changes."""
    return next(losses for name, losses in method.step(batch, START, {}) if name == update)


def test_the_sides_have_rates_of_their_own():
    method = SPADE.on_meta(resolve(lr=3e-4))
    assert {name: update.lr for name, update in method.updates.items()} == {"g": 1.5e-4, "d": 6e-4}
    assert all(update.options == {"betas": (0.0, 0.9)} for update in method.updates.values())


def test_defaults_are_the_authors():
    cfg = SPADE.resolve_config(config.resolve(SPADE.Config))
    assert (cfg.epochs, cfg.decay_epochs, cfg.load_size, cfg.crop_size, cfg.batch_size) == (50, 0, None, 256, 1)
    assert (cfg.generator, cfg.norm, cfg.adversarial) == ("spade", "batch", "hinge")


def test_feature_matching_is_the_mean_over_scales_of_the_sums_over_layers():
    method, batch = small_spade(), noise_batch()
    method.d.eval()  # so that this pass and that of the step have the same singular values
    fake = method.g.eval()(batch["a"])
    maps = [method.d.features_and_logits(torch.cat([batch["a"], x], 1))[0] for x in (fake, batch["b"])]
    expected = sum((x - y).abs().mean() for of_scale in zip(*maps, strict=True) for x, y in zip(*of_scale, strict=True))
    losses = losses_of(method, batch, "g")
    torch.testing.assert_close(losses["feature_matching"], 10 * expected / 2, rtol=1e-12, atol=0)
    assert set(losses) == {"adv", "feature_matching"}
    assert set(losses_of(small_spade(lambda_feature_matching=0), batch, "g")) == {"adv"}


def test_the_divergence_of_codes_from_a_normal_distribution_is_zero_at_it():
    method, batch = small_spade(vae=True, lambda_kld=2.0), noise_batch()
    for linear in (method.e.mean, method.e.log_variance):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    assert losses_of(method, batch, "g")["kld"] == 0
    torch.nn.init.constant_(method.e.mean.bias, 3.0)
    assert losses_of(method, batch, "g")["kld"].item() == pytest.approx(2 * 256 * 3**2 / 2)


def test_codes_come_from_the_key_in_conversion():
    method, batch = small_spade(vae=True).eval(), noise_batch(3)
    key = batch["key"]
    with torch.no_grad():
        made = method.translate(batch["a"], "b", key)
        assert torch.equal(made, method.translate(batch["a"], "b", key))
        assert not torch.equal(made, method.translate(batch["a"], "b", key + 1))
        torch.testing.assert_close(made[1:2], method.translate(batch["a"][1:2], "b", key[1:2]), rtol=0, atol=1e-12)
        mean = method.translate(batch["a"], "b")
        zeros = torch.zeros(3, 256, dtype=torch.float64)
        torch.testing.assert_close(mean, method.g(batch["a"], zeros), rtol=0, atol=0)
    assert not method.generator_sees_image_alone
    assert SPADE.on_meta(resolve()).generator_sees_image_alone


def test_the_style_of_an_example_is_the_mean_of_its_code():
    method, batch = small_spade(vae=True).eval(), noise_batch(3)
    a, b, key = batch["a"], batch["b"], batch["key"]
    with torch.no_grad():
        style = method.encode_style(b[:1], "b")
        assert torch.equal(style, method.e(b[:1])[0])
        assert torch.equal(method.translate_in_style(a, "b", style), method.g(a, style.expand(3, -1)))
        code = keyed_random.normal(key, "code", 256)
        assert torch.equal(method.translate_in_style(a, "b", code, key), method.translate(a, "b", key))
    assert (method.style_networks, method.ema, method.updates["g"].networks) == (("e",), ("g", "e"), ("g", "e"))


def test_without_codes_there_are_no_styles():
    method, batch = small_spade(), noise_batch()
    assert (method.style_networks, method.has_noise, method.ema) == ((), False, ("g",))
    for call in (
        lambda: method.encode_style(batch["b"], "b"),
        lambda: method.translate_in_style(batch["a"], "b", torch.zeros(1, 256)),
    ):
        with pytest.raises(UsageError, match="spade has no encoder of styles"):
            call()


def test_draws_of_codes_have_the_mean_and_the_variance_of_the_encoder():
    method = small_spade(vae=True)
    batch = {"key": keyed_random.image_keys(0, torch.arange(200))}
    shape = (200, 256)
    codes = method.draw_code(batch, torch.full(shape, 3.0), torch.full(shape, 4.0).log(), "g")
    assert codes.mean() == pytest.approx(3, abs=0.05)  # of 51,200 draws: five standard errors
    assert codes.std() == pytest.approx(2, abs=0.04)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"crop_size": 33, "load_size": 33}, "--crop-size 33"),
        ({"discriminator": "basic"}, "--lambda-feature-matching 0"),
        ({"vae": True, "generator": "unet_32"}, "--vae on: unet_32 takes no code"),
        ({"vae": True, "preprocess": "none"}, "--vae on: learns codes at one size"),
        ({"vae": True, "gradient_checkpointing": True}, "--gradient-checkpointing on"),
        ({"generator": "spade", "crop_size": 40, "load_size": 40}, "--crop-size 40"),
    ],
)
def test_settings_that_do_not_go_together_are_named(flags, words):
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        resolve(**flags)
    assert words in str(caught.value)


def test_other_discriminators_judge_without_feature_matching():
    method = small_spade(discriminator="basic", lambda_feature_matching=0)
    assert [name for name, _ in method.step(noise_batch(), START, {})] == ["g", "d"]
