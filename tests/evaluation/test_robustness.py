"""Tests of `translate.evaluation.robustness`."""

import pytest
import torch

from translate.evaluation import robustness
from translate.evaluation.input_checks import to_uint8_batch
from translate.evaluation.robustness import fgsm


def mid(count, seed=0):
    """Images with room for four levels on both sides."""
    return torch.randint(20, 236, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("gain", [0.5, -2.0])
def test_a_gain_multiplies_the_attack(gain):
    """|G(x′) − G(x)| = |gain| ε at every value."""
    for levels, change in zip((1, 2, 4), fgsm(mid(3), lambda x: gain * x).values(), strict=True):
        torch.testing.assert_close(change, torch.full((3,), abs(gain) * levels).double(), rtol=1e-4, atol=0)


def test_a_mean_is_moved_as_far_as_linearity_allows():
    """G is the mean at every pixel: the start moves it by ε/2 times the signs' mean, the step by all of ε/2 that way."""
    x = mid(4)
    signs = robustness._signs(to_uint8_batch(x, ""), 0)
    expected = 0.5 * signs.mean(dim=(1, 2, 3)).abs() + 0.5

    def mean(x):
        return x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x)

    for levels, change in zip((1, 2, 4), fgsm(x, mean).values(), strict=True):
        torch.testing.assert_close(change, levels * expected.double(), rtol=1e-3, atol=0)


def test_the_attack_finds_what_chance_does_not():
    """Differences of neighbours, amplified: the gradient's step moves the output farther than signs at random do."""

    def sharpened(x):
        return (4 * (x - x.roll(1, 3)) + 4 * (x - x.roll(1, 2))).clamp(-1, 1)

    x = (mid(4) // 8) + 110
    clean = x.float() / 127.5 - 1
    signs = robustness._signs(x, 3)
    at_random = ((sharpened(clean + 4 / 127.5 * signs) - sharpened(clean)).abs() * 127.5).mean(dim=(1, 2, 3))
    attacked = fgsm(x, sharpened)["fgsm_4"]
    assert (attacked > at_random).all()
    assert attacked.mean() > 1.1 * at_random.mean()


def test_inputs_stay_images_and_what_ignores_them_does_not_move():
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    assert fgsm(white, lambda x: x)["fgsm_4"] < 4  # half the signs point beyond white
    seen = []
    fgsm(white, lambda x: seen.append(x.detach()) or x)
    assert max(x.abs().max() for x in seen) <= 1
    assert fgsm(mid(2), lambda x: 0 * x)["fgsm_4"].tolist() == [0, 0]


def test_order_batch_and_gradient_mode_play_no_part():
    x = mid(3)
    whole = fgsm(x, lambda x: x.square())
    for key, values in fgsm(x.flip(0), lambda x: x.square()).items():
        torch.testing.assert_close(values.flip(0), whole[key])
    singles = [fgsm(image[None], lambda x: x.square())["fgsm_2"] for image in x]
    torch.testing.assert_close(torch.cat(singles), whole["fgsm_2"])
    with torch.no_grad():
        torch.testing.assert_close(fgsm(x, lambda x: x.square()), whole)


def test_a_translator_in_inference_mode_is_refused():
    with pytest.raises(ValueError, match="no gradient"):
        fgsm(mid(1), torch.no_grad()(lambda x: 2 * x))


def test_keys_are_those_of_the_defaults():
    assert tuple(robustness.robustness(mid(1), lambda x: x).values) == robustness.KEYS


def test_a_gain_makes_every_attack_as_large_as_noise_of_the_same_size():
    """G is 2 x: no change of ±ε moves it farther than 2 ε, and all end there; (2 ε)² is disrupted where it is above 0.05."""
    values = robustness.robustness(mid(2), lambda x: 2 * x).values
    for levels in (1, 2, 4, 8):
        expected = torch.full((2,), (2 * levels * 2 / 255) ** 2).double()
        for attack in ("noise", "pgd10", "pgd40"):
            torch.testing.assert_close(values[f"robustness_{attack}_{levels}"], expected, rtol=0.02, atol=0)
            assert values[f"robustness_{attack}_{levels}_disrupted"].equal((expected > 0.05).double())
    strong = robustness.robustness(mid(2), lambda x: 8 * x).values
    assert strong["robustness_noise_8_disrupted"].tolist() == [1, 1]
    assert strong["robustness_noise_2_disrupted"].tolist() == [0, 0]


def test_attacks_on_a_mean_go_as_far_as_the_bound_and_noise_does_not():
    def mean(x):
        return x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x)

    values = robustness.robustness(mid(3), mean).values
    for levels in (1, 2, 4, 8):
        bound = torch.full((3,), (levels * 2 / 255) ** 2).double()
        torch.testing.assert_close(values[f"robustness_pgd40_{levels}"], bound, rtol=1e-3, atol=0)
        assert (values[f"robustness_noise_{levels}"] < bound / 4).all()
        assert (values[f"robustness_fgsm_{levels}"] <= bound * 1.001).all()


def test_a_target_is_approached_by_epsilon():
    """G is x: every value comes nearer to black by ε, so that (x + 1)² falls to (x + 1 − ε)²."""
    x = mid(2)
    distance = x.double() * 2 / 255
    values = robustness.robustness(x, lambda x: x).values
    for levels in (1, 8):
        left = (distance - levels * 2 / 255).square().mean(dim=(1, 2, 3)) / distance.square().mean(dim=(1, 2, 3))
        torch.testing.assert_close(values[f"robustness_target_{levels}"], 1 - left, rtol=0.02, atol=0)
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert robustness.robustness(black, lambda x: x).values["robustness_target_8"].tolist() == [0]


def test_of_several_starts_the_farthest_output_counts():
    """The sine has many maxima within the bounds, so that another start finds another of them."""
    x = mid(3)

    def bent(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(60 * x)

    one, three = (robustness.robustness(x, bent, steps=(1,), restarts=n) for n in (1, 3))
    for levels in (1, 2, 4, 8):
        assert (three.values[f"robustness_pgd1_{levels}"] >= one.values[f"robustness_pgd1_{levels}"]).all()
        torch.testing.assert_close(three.values[f"robustness_fgsm_{levels}"], one.values[f"robustness_fgsm_{levels}"])
    assert (three.values["robustness_pgd1_8"] > one.values["robustness_pgd1_8"]).any()
    assert (three.attacked - (x.float() / 127.5 - 1)).abs().max() <= 8 * 2 / 255 + 1e-6


def test_attacks_do_not_depend_on_the_batch():
    x = mid(3)
    whole = robustness.robustness(x, lambda x: x.square(), steps=(2,), restarts=2)
    single = robustness.robustness(x[1:2], lambda x: x.square(), steps=(2,), restarts=2)
    for key, values in whole.values.items():
        torch.testing.assert_close(values[1:2], single.values[key], rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(whole.attacked[1:2], single.attacked)
    assert (whole.attacked - (x.float() / 127.5 - 1)).abs().max() <= 8 * 2 / 255 + 1e-6
