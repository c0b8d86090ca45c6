"""BicycleGAN: what trains what, codes and styles in conversion, settings that fit together."""

import math
from dataclasses import replace

import pytest
import torch

from translate import config, keyed_random
from translate.errors import UsageError
from translate.methods.bicyclegan import BicycleGAN
from translate.nn.losses import gaussian_kl
from translate.trained import folder as model_folder

from .helpers import START, noise_batch

SMALL = {"crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 4, "e_width": 4, "dropout": False}


def settings(**flags):
    return BicycleGAN.resolve_config(config.resolve(BicycleGAN.Config, ("test", {**SMALL, **flags})))


def method_of(**flags):
    return BicycleGAN(settings(**flags)).double()


def gradients(loss, network):
    return torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, retain_graph=True)


def test_the_encoder_never_learns_from_the_code_of_a_random_output():
    """All else of the generator's update teaches both."""
    method = method_of()
    _, losses = next(method.step(noise_batch(), START, {}))
    assert all(gradient is None for gradient in gradients(losses["z"], method.e))
    assert all(gradient is not None for gradient in gradients(losses["z"], method.g))
    for name in ("adv_encoded", "l1"):
        assert any(gradient is not None and gradient.any() for gradient in gradients(losses[name], method.e)), name
    assert all(gradient is None for gradient in gradients(losses["adv_random"], method.e))


def test_the_divergence_is_that_of_normal_distributions():
    """½ (σ² + μ² − 1 − ln σ²) for each number: ⅛ where μ is ½ and σ 1, ½ (e − 2) where μ is 0 and σ² is e."""
    mean, log_variance = torch.tensor([[0.5, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    expected = (0.125 + (math.e - 2) / 2 + 2) / 2
    torch.testing.assert_close(gaussian_kl(mean, log_variance), torch.tensor(expected))
    assert gaussian_kl(torch.zeros(3, 2), torch.zeros(3, 2)) == 0


def test_only_images_of_even_number_are_translated():
    """The others are what d2 takes for real: their inputs decide nothing, their outputs only its loss."""
    method = method_of()

    def losses_of(batch):
        step = method.step(batch, START, {})
        return [dict(losses) for _, losses in step]

    plain = losses_of(noise_batch(4))
    other = noise_batch(4)
    other["a"][1::2] = 0
    assert losses_of(other) == plain
    other["b"][1::2] = 0
    of_g, of_d = losses_of(other)
    assert of_g == plain[0]
    assert [name for name in of_d if of_d[name] != plain[1][name]] == ["adv_random"]


QUICK = {**SMALL, **{name: BicycleGAN.presets["quick"][name] for name in ("discriminator", "norm", "norm_statistics")}}
RESIZE = {**QUICK, "generator": "resize_unet_2levels_1blocks", "d_width": 16}


def test_with_projected_discriminators_losses_are_means_over_heads():
    """For logits of zero the hinge loss is 1 of real and 1 of made images, and 0 of the generator, for any number of heads."""
    method = method_of(**RESIZE, adversarial="hinge")
    for d in (method.d, method.d2):
        d.forward = lambda x: [0 * x[:, :1]] * 4
    (_, of_g), (_, of_d) = method.step(noise_batch(4), START, {})
    assert {name: loss.item() for name, loss in of_d.items()} == {"adv_encoded": 2.0, "adv_random": 2.0}
    assert of_g["adv_encoded"] == of_g["adv_random"] == 0
    assert method.frozen_networks == ("d.features", "d2.features")
    plain = method_of()
    assert (plain.adversarial_weight, plain.discriminator_weight, plain.frozen_networks) == (2.0, 2.0, ())


def test_a_resize_unet_keeps_its_codes_in_conversion_and_in_a_model_folder(tmp_path):
    """An image alone has the statistics of training, so that the planes of its code are not taken away."""
    method, x = method_of(**RESIZE).float().eval(), noise_batch(1)["a"].float()
    model_folder.write_trained_model(tmp_path, method, title="test", seen=0)
    loaded = model_folder.read_model_folder(tmp_path).method.eval()
    codes = [torch.full((1, 8), value) for value in (-1.0, 0.0, 1.0)]
    with torch.no_grad():
        outputs = [method.translate_in_style(x, "b", code) for code in codes]
        assert all(not torch.equal(y, z) for n, y in enumerate(outputs) for z in outputs[:n])
        assert torch.equal(loaded.translate_in_style(x, "b", codes[2]), outputs[2])
        assert torch.equal(loaded.encode_style(x, "b"), method.encode_style(x, "b"))


# Conversion.


def test_a_key_draws_a_code_and_a_style_is_one():
    method, x = method_of().eval(), noise_batch(3)["a"]
    key = torch.tensor([5, 6, 7])
    z = keyed_random.normal(key, "z", 8).double()
    with torch.no_grad():
        assert torch.equal(method.translate(x, "b", key), method.g(x, z))
        assert torch.equal(method.translate_in_style(x, "b", z, key), method.translate(x, "b", key))
        assert torch.equal(method.translate(x, "b"), method.g(x, torch.zeros(3, 8)))
        code = method.encode_style(x[:1], "b")
        assert torch.equal(code, method.e(x[:1])[0])
        assert torch.equal(method.translate_in_style(x, "b", code), method.g(x, code.expand(3, -1)))


def test_dropout_is_for_training_alone():
    """In conversion the code is all the noise, as in the authors' tests."""
    method, x = (
        method_of(crop_size=64, load_size=64, dropout=True).eval(),
        torch.zeros(1, 3, 64, 64, dtype=torch.float64),
    )
    z = torch.ones(1, 8, dtype=torch.float64)
    with torch.no_grad():
        first, second = (method.translate_in_style(x, "b", z, torch.tensor([key])) for key in (1, 2))
        assert torch.equal(first, second)
        method.train()
        assert not torch.equal(method.g(x, z), method.g(x, z))


def test_the_grid_shows_the_truth_its_reconstruction_and_samples():
    method, batch = method_of().eval(), noise_batch()
    with torch.no_grad():
        columns = method.preview(batch)
        assert torch.equal(
            columns["encoded"], method.translate_in_style(batch["a"], "b", method.encode_style(batch["b"], "b"))
        )
    assert list(columns) == ["input", "truth", "encoded", *(f"sample {n}" for n in range(1, 5))]
    samples = [columns[f"sample {n}"] for n in range(1, 5)]
    assert all(not torch.equal(x, y) for n, x in enumerate(samples) for y in samples[:n])


# Settings.


@pytest.mark.parametrize(
    ("crop", "levels", "layers"),
    [(256, 8, 3), (512, 8, 3), (128, 7, 3), (96, 5, 3), (64, 6, 3), (32, 5, 2), (16, 4, 1)],
)
def test_networks_lose_levels_with_the_crop(crop, levels, layers):
    cfg = settings(crop_size=crop, load_size=crop)
    assert (cfg.g_levels, cfg.d_layers) == (levels, layers)
    method = BicycleGAN.on_meta(cfg)
    assert method.size_rule == {"multiple_of": 2**levels, "minimum": 2**levels}
    x = torch.zeros(1, 3, crop, crop, device="meta")
    assert method.translate(x, "b").shape == x.shape
    assert len(method.d(x)) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"crop_size": 50}, "--crop-size 50: no U-Net takes this size; use a multiple of 32, such as --crop-size 32"),
        ({"crop_size": 8}, "--crop-size 8: the discriminators of bicyclegan need at least 11; use --crop-size 32"),
        ({"g_levels": 6}, "--g-levels 6: takes multiples of 64, not --crop-size 32; use --g-levels 5"),
        ({"d_layers": 3}, "--d-layers 3: needs crops of at least 47, not --crop-size 32; use --d-layers 2"),
        ({"batch_size": 3}, "--batch-size 3 with --accumulate 1: .* use --batch-size 2 or a multiple"),
        ({"batch_size": 4, "accumulate": 4}, "--batch-size 4 with --accumulate 4: .* use --batch-size 8 or a multiple"),
        (
            {**RESIZE, "norm": "instance"},
            "--generator resize_unet_2levels_1blocks: .* use --norm batch --norm-statistics running",
        ),
        ({**RESIZE, "norm_statistics": "sample"}, "statistics of one image remove; use --norm batch"),
        ({**RESIZE, "crop_size": 34}, "--crop-size 34: .* takes multiples of 4 from 8 up; use --crop-size 32"),
        (
            {**RESIZE, "crop_size": 12, "discriminator": "projected"},
            "--crop-size 12: the projected discriminator needs at least 16; .* or --discriminator multiscale",
        ),
        ({"preprocess": "none"}, "--preprocess none .* leave it out"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(flags, message):
    with pytest.raises(UsageError, match=message) as error:
        settings(**flags)
    assert "\n" not in str(error.value)


def test_a_resolved_config_stays_as_it_is():
    cfg = settings()
    assert BicycleGAN.resolve_config(replace(cfg)) == cfg
