import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from torch import tensor

from translate.nn import losses
from translate.nn.losses import ADVERSARIAL, MAX_LOGIT

from .helpers import assert_value, random_logits

SMOOTHING = [name for name, cost in ADVERSARIAL.items() if cost.supports_label_smoothing]
LOG2 = math.log(2)


def slope(loss, x):
    """The derivative of a loss with respect to each element of x."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def g_of(name, real):
    """The generator's cost as a function of the fake logits alone."""
    cost = ADVERSARIAL[name]
    return (lambda fake: cost.generator_loss(real, fake)) if cost.relativistic else cost.generator_loss


# Values by hand.


@pytest.mark.parametrize("distance", [losses.l1, losses.cycle_consistency, losses.identity_loss])
def test_distances_are_the_mean_of_absolute_differences(distance):
    x, y = tensor([[1.0, -1.0], [0.5, 0.0]]), tensor([[0.0, 1.0], [0.5, -1.0]])
    assert_value(distance(x, y), (1 + 2 + 0 + 1) / 4)
    assert_value(distance(y, x), 1.0)
    assert_value(distance(x, x), 0.0)
    assert_value(slope(lambda z: distance(z, y), x), [[1 / 4, -1 / 4], [0, 1 / 4]])


def test_lowpass_l1_by_hand():
    """Blocks with means 3 and 1 apart; a change that leaves the means, and pixels beyond the blocks, count nothing."""
    x, y = torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8)
    x[..., :4] = 3
    x[..., 4:] = tensor([0.0, 2.0, -1.0, 3.0])
    assert_value(losses.lowpass_l1(x, y), (3 + 1) / 2)
    assert_value(losses.lowpass_l1(F.pad(x, (0, 3, 0, 2), value=9), F.pad(y, (0, 3, 0, 2))), (3 + 1) / 2)
    checkerboard = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    assert_value(losses.lowpass_l1(checkerboard[None, None], torch.zeros(1, 1, 8, 8)), 0)
    with pytest.raises(ValueError, match="images of 4×3 pixels"):
        losses.lowpass_l1(x[..., :3], y[..., :3])


def test_feature_matching_by_hand():
    """A sum over layers, a mean in each: layers of all sizes count alike."""
    x = [torch.ones(1, 2, 4, 4), torch.full((1, 3, 1, 1), 5.0)]
    y = [torch.zeros(1, 2, 4, 4), torch.full((1, 3, 1, 1), 3.0)]
    assert_value(losses.feature_matching(x, y), 1 + 2)
    with pytest.raises(ValueError, match="zip"):
        losses.feature_matching(x, y[:1])


def test_the_perceptual_loss_compares_maps_and_trains_the_output_alone():
    x, target = tensor([2.0, -1.0]).requires_grad_(), tensor([1.0, 1.0]).requires_grad_()
    value = losses.perceptual_loss(lambda z: [3 * z, z.square()], x, target)
    assert_value(value, (3 + 6) / 2 + (3 + 0) / 2)
    value.backward()
    assert target.grad is None
    assert x.grad is not None


def test_lsgan_by_hand():
    real, fake = tensor([1.0, 3.0]), tensor([0.0, 2.0, 1.0])
    assert_value(losses.lsgan_g(fake), ((0 - 1) ** 2 + (2 - 1) ** 2 + 0) / 3)
    assert_value(losses.lsgan_d(real, fake), 0.5 * ((0 + 2**2) / 2 + (0 + 2**2 + 1) / 3))
    assert_value(losses.lsgan_d(real, fake, 0.9), 0.5 * ((0.1**2 + 2.1**2) / 2 + 5 / 3))


def test_non_saturating_by_hand():
    """sigmoid(log 3) = 3/4 and sigmoid(0) = 1/2."""
    real, fake = tensor([math.log(3)]), tensor([0.0])
    assert_value(losses.non_saturating_g(fake), LOG2)
    assert_value(losses.non_saturating_d(real, fake), 0.5 * (-math.log(3 / 4) - math.log(1 / 2)))
    smoothed = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    assert_value(losses.non_saturating_d(real, fake, 0.9), 0.5 * (smoothed + LOG2))


def test_minimax_by_hand():
    assert_value(losses.minimax_g(tensor([math.log(3), 0.0])), (math.log(1 / 4) + math.log(1 / 2)) / 2)


def test_maximum_likelihood_by_hand():
    """Odds of 3 to 1 and of 1 to 1; D/(1 − D) of probabilities ¾ and ½."""
    fake = tensor([math.log(3), 0.0], dtype=torch.float64)
    assert_value(losses.maximum_likelihood_g(fake), -(3 + 1) / 2)
    probability = fake.sigmoid()
    assert_value(losses.maximum_likelihood_g(fake), -(probability / (1 - probability)).mean())
    assert_value(slope(losses.maximum_likelihood_g, fake), [-3 / 2, -1 / 2])  # −exp(logit)/N


def test_relativistic_by_hand():
    """Leads of the real one of log 3 and 0: probabilities of ¾ and ½ that it is the real one."""
    real, fake = tensor([1 + math.log(3), -2.0]), tensor([1.0, -2.0])
    assert_value(losses.relativistic_d(real, fake), (-math.log(3 / 4) - math.log(1 / 2)) / 2)
    assert_value(losses.relativistic_g(real, fake), (-math.log(1 / 4) - math.log(1 / 2)) / 2)
    assert_value(slope(lambda x: losses.relativistic_g(real, x), fake), [-3 / 4 / 2, -1 / 2 / 2])
    assert_value(slope(lambda x: losses.relativistic_d(x, fake), real), [-1 / 4 / 2, -1 / 2 / 2])


def test_hinge_by_hand():
    real, fake = tensor([2.0, 0.5, -1.0]), tensor([-2.0, -0.5, 1.0, 0.0])
    assert_value(losses.hinge_g(fake), -(-2 - 0.5 + 1 + 0) / 4)
    assert_value(losses.hinge_d(real, fake), (0 + 0.5 + 2) / 3 + (0 + 0.5 + 2 + 1) / 4)


def test_wasserstein_by_hand():
    real, fake = tensor([2.0, 4.0]), tensor([1.0, -3.0])
    assert_value(losses.wasserstein_g(fake), 1.0)
    assert_value(losses.wasserstein_d(real, fake), -1.0 - 3.0)


# The same by torch's own functions.


@pytest.mark.parametrize("target", [1.0, 0.9, 0.5])
def test_non_saturating_is_cross_entropy_with_logits(target):
    real, fake = random_logits(2, 1, 5, 5), random_logits(3, 1, 4, 4, seed=1)
    bce = F.binary_cross_entropy_with_logits
    on_real, on_fake = bce(real, torch.full_like(real, target)), bce(fake, torch.zeros_like(fake))
    assert_value(losses.non_saturating_d(real, fake, target), 0.5 * (on_real + on_fake))
    assert_value(losses.non_saturating_g(fake), bce(fake, torch.ones_like(fake)))
    assert_value(losses.minimax_g(fake), -on_fake)


def test_relativistic_is_cross_entropy_of_the_lead():
    real, fake = random_logits(2, 1, 5, 5), random_logits(2, 1, 5, 5, seed=1)
    bce = F.binary_cross_entropy_with_logits
    assert_value(losses.relativistic_d(real, fake), bce(real - fake, torch.ones_like(real)))
    assert_value(losses.relativistic_g(real, fake), bce(real - fake, torch.zeros_like(real)))


@pytest.mark.parametrize("target", [1.0, 0.9, 0.5])
def test_lsgan_is_the_mean_square_error(target):
    real, fake = random_logits(2, 1, 5, 5), random_logits(3, 1, 4, 4, seed=1)
    on_real, on_fake = F.mse_loss(real, torch.full_like(real, target)), F.mse_loss(fake, torch.zeros_like(fake))
    assert_value(losses.lsgan_d(real, fake, target), 0.5 * (on_real + on_fake))
    assert_value(losses.lsgan_g(fake), F.mse_loss(fake, torch.ones_like(fake)))


# What holds for every adversarial cost.


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_are_means_over_all_elements(name):
    """Repeating the logits, or giving them another shape, changes nothing."""
    cost, real, fake = ADVERSARIAL[name], random_logits(2, 1, 3, 3), random_logits(2, 1, 3, 3, seed=1)
    thrice = fake.repeat(3, 1, 1, 1)
    assert_value(g_of(name, real.repeat(3, 1, 1, 1).flatten())(thrice.flatten()), g_of(name, real)(fake))
    assert_value(
        cost.discriminator_loss(real.repeat(3, 1, 1, 1), thrice if cost.relativistic else fake.flatten()),
        cost.discriminator_loss(real, fake),
    )
    assert g_of(name, real)(fake).shape == cost.discriminator_loss(real, fake).shape == ()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_halves(name):
    cost, real, fake = ADVERSARIAL[name], random_logits(4, 1, 3, 3), random_logits(4, 1, 3, 3, seed=1)
    halves = list(zip(real.split(2), fake.split(2), strict=True))
    assert_value(cost.discriminator_loss(real, fake), sum(cost.discriminator_loss(*half) for half in halves) / 2)
    assert_value(g_of(name, real)(fake), sum(g_of(name, r)(f) for r, f in halves) / 2)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_gradients_are_those_of_finite_differences(name):
    """Logits from −3 to 3 that lie on none of the hinge's kinks."""
    real, fake = (random_logits(5, seed=seed).clamp(-3, 3).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(ADVERSARIAL[name].discriminator_loss, (real, fake))
    assert torch.autograd.gradcheck(g_of(name, real), (fake,))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_g_wants_higher_and_d_wants_lower_logits_of_fakes(name):
    cost, between = ADVERSARIAL[name], torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert (slope(g_of(name, between), between) < 0).all()
    assert (slope(lambda fake: cost.discriminator_loss(between, fake), between) > 0).all()
    assert (slope(lambda real: cost.discriminator_loss(real, between), between) < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_and_gradients_are_finite_at_extreme_logits(name, dtype):
    cost, extreme = ADVERSARIAL[name], tensor([-100.0, 100.0], dtype=dtype)
    for loss in (
        g_of(name, extreme),
        lambda x: cost.discriminator_loss(x, extreme),
        lambda x: cost.discriminator_loss(extreme, x),
    ):
        assert loss(extreme).isfinite()
        assert slope(loss, extreme).isfinite().all()


@pytest.mark.parametrize("name", SMOOTHING)
def test_label_smoothing_is_one_sided(name):
    d, real, fake = ADVERSARIAL[name].discriminator_loss, random_logits(8), random_logits(8, seed=1)
    assert_value(slope(lambda x: d(real, x, 0.9), fake), slope(lambda x: d(real, x), fake))
    assert not torch.allclose(slope(lambda x: d(x, fake, 0.9), real), slope(lambda x: d(x, fake), real))
    assert_value(d(real, fake, 1.0), d(real, fake))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_row_says_what_its_functions_take(name):
    cost = ADVERSARIAL[name]
    assert ("target" in inspect.signature(cost.discriminator_loss).parameters) == cost.supports_label_smoothing
    assert list(inspect.signature(cost.generator_loss).parameters) == (
        ["real", "fake"] if cost.relativistic else ["fake"]
    )


# Where the discriminator's costs are least.


@pytest.mark.parametrize(
    ("name", "target", "real", "fake", "least"),
    [
        ("lsgan", 1.0, 1.0, 0.0, 0.0),
        ("lsgan", 0.9, 0.9, 0.0, 0.0),
        ("hinge", 1.0, 1.5, -1.5, 0.0),
        ("non-saturating", 1.0, 50.0, -50.0, 0.0),
        # cross-entropy to 0.9 is least where sigmoid = 0.9, and is then the entropy of a coin of 0.9
        ("non-saturating", 0.9, math.log(9), -50.0, 0.5 * (-0.9 * math.log(0.9) - 0.1 * math.log(0.1))),
    ],
)
def test_least_cost_of_a_discriminator(name, target, real, fake, least):
    cost = ADVERSARIAL[name]
    real, fake = tensor([real], dtype=torch.float64), tensor([fake], dtype=torch.float64)
    label = (target,) if cost.supports_label_smoothing else ()
    assert_value(cost.discriminator_loss(real, fake, *label), least)
    assert_value(slope(lambda x: cost.discriminator_loss(x, fake, *label), real), [0.0])
    assert_value(slope(lambda x: cost.discriminator_loss(real, x, *label), fake), [0.0])
    for dr, df in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        assert (
            cost.discriminator_loss(real + dr, fake + df, *label) >= cost.discriminator_loss(real, fake, *label) - 1e-12
        )


@pytest.mark.parametrize(
    ("name", "logit", "value"),
    [
        ("non-saturating", 0.0, LOG2),
        ("minimax", 0.0, LOG2),
        ("maximum-likelihood", 0.0, LOG2),
        ("lsgan", 0.5, 0.25),
        ("relativistic", 7.0, LOG2),
    ],
)
def test_a_discriminator_that_cannot_tell_says_half(name, logit, value):
    """Where real and fake are the same image, the best logit is that of a probability of ½ (Goodfellow, prop. 1)."""
    d, best = ADVERSARIAL[name].discriminator_loss, tensor([logit], dtype=torch.float64)
    assert_value(d(best, best), value)
    assert_value(slope(lambda x: d(x, x), best), [0.0])


def test_hinge_asks_nothing_beyond_the_margin():
    real, fake = tensor([1.1, 7.0]), tensor([-1.1, -7.0])
    assert_value(slope(lambda x: losses.hinge_d(x, fake), real), [0, 0])
    assert_value(slope(lambda x: losses.hinge_d(real, x), fake), [0, 0])


def test_wasserstein_is_antisymmetric_and_blind_to_a_shift():
    real, fake = random_logits(5), random_logits(7, seed=1)
    assert_value(losses.wasserstein_d(real, fake), -losses.wasserstein_d(fake, real))
    assert_value(losses.wasserstein_d(real + 3, fake + 3), losses.wasserstein_d(real, fake))


def test_relativistic_looks_at_the_lead_alone_and_swaps_sides():
    real, fake = random_logits(2, 1, 3, 3), random_logits(2, 1, 3, 3, seed=1)
    for cost in (losses.relativistic_g, losses.relativistic_d):
        assert_value(cost(real + 3, fake + 3), cost(real, fake))
    assert_value(losses.relativistic_g(real, fake), losses.relativistic_d(fake, real))


def test_relativistic_pairs_image_by_image_and_patch_by_patch():
    """Pairs in another order change nothing; other pairs do."""
    real, fake, order = random_logits(3, 1, 2, 2), random_logits(3, 1, 2, 2, seed=1), tensor([2, 0, 1])
    for cost in (losses.relativistic_g, losses.relativistic_d):
        assert_value(cost(real[order], fake[order]), cost(real, fake))
        assert_value(cost(real.flip(2), fake.flip(2)), cost(real, fake))
        assert not torch.allclose(cost(real[order], fake), cost(real, fake))
        assert not torch.allclose(cost(real.flip(2), fake), cost(real, fake))


def test_maximum_likelihood_goes_on_straight_where_the_odds_are_beyond_evidence():
    """Up to the limit −exp(logit)/N; above it the tangent: value and slope meet there, and no gradient is lost."""
    limit = math.exp(MAX_LOGIT)
    fake = tensor([MAX_LOGIT - 1e-6, MAX_LOGIT, MAX_LOGIT + 1e-6, MAX_LOGIT + 5], dtype=torch.float64)
    assert_value(slope(losses.maximum_likelihood_g, fake), [-limit * (1 - 1e-6) / 4] + 3 * [-limit / 4])
    assert_value(losses.maximum_likelihood_g(fake[1:2]), -limit)
    assert_value(losses.maximum_likelihood_g(fake[3:]), -limit * 6)


def test_maximum_likelihood_and_minimax_and_non_saturating_pull_at_different_fakes():
    """Slopes by hand, per logit l: −eˡ, −σ(l), −σ(−l) (NIPS 2016 tutorial, fig. 16)."""
    for logit in (-10.0, 0.0, 4.0):
        fake = tensor([logit], dtype=torch.float64)
        sigmoid = 1 / (1 + math.exp(-logit))
        pulls = [
            slope(ADVERSARIAL[name].generator_loss, fake).item()
            for name in ("maximum-likelihood", "minimax", "non-saturating")
        ]
        assert pulls == pytest.approx([-math.exp(logit), -sigmoid, sigmoid - 1], rel=1e-9)


def test_an_optimal_discriminator_gives_fakes_odds_of_one_on_average():
    """Σ p_g · p_data/p_g = Σ p_data = 1: however far ahead it is, as long as the fakes cover all that is real."""
    data, made = tensor([0.7, 0.2, 0.1]).double(), tensor([0.1, 0.4, 0.5]).double()
    best = (data / made).log()
    counts = (10 * made).round().long()
    assert_value(losses.maximum_likelihood_g(best.repeat_interleave(counts)), -1.0)


def test_the_minimax_game_is_zero_sum_and_fades_where_the_other_cost_does_not():
    fake = tensor([-10.0], dtype=torch.float64)
    of_d = slope(lambda x: losses.non_saturating_d(random_logits(3), x), fake)
    assert_value(slope(losses.minimax_g, fake), -2 * of_d)  # d's cost is halved
    assert_value(slope(losses.minimax_g, fake), [-1 / (1 + math.exp(10))])  # −sigmoid(−10), nearly nothing
    assert_value(slope(losses.non_saturating_g, fake), [-1 / (1 + math.exp(-10))])  # −sigmoid(10), nearly −1


KEYS = torch.arange(100, 103)


# The zero-centred penalty. It takes the mean of an image's logits, the gradient penalty their sum.
