import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn, tensor

from translate.nn import losses
from translate.nn.losses import ADVERSARIAL, gradient_penalty

SMOOTHING = [name for name, cost in ADVERSARIAL.items() if cost.smooths]
LOG2 = math.log(2)


def logits(*shape, seed=0, scale=3.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def slope(loss, x):
    """The derivative of a loss with respect to each element of x."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def same(value, expected):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), rtol=1e-6, atol=1e-9)


# Values by hand.


@pytest.mark.parametrize("distance", [losses.l1, losses.cycle, losses.identity])
def test_distances_are_the_mean_of_absolute_differences(distance):
    x, y = tensor([[1.0, -1.0], [0.5, 0.0]]), tensor([[0.0, 1.0], [0.5, -1.0]])
    same(distance(x, y), (1 + 2 + 0 + 1) / 4)
    same(distance(y, x), 1.0)
    same(distance(x, x), 0.0)
    same(slope(lambda z: distance(z, y), x), [[1 / 4, -1 / 4], [0, 1 / 4]])


def test_lsgan_by_hand():
    real, fake = tensor([1.0, 3.0]), tensor([0.0, 2.0, 1.0])
    same(losses.lsgan_g(fake), ((0 - 1) ** 2 + (2 - 1) ** 2 + 0) / 3)
    same(losses.lsgan_d(real, fake), 0.5 * ((0 + 2**2) / 2 + (0 + 2**2 + 1) / 3))
    same(losses.lsgan_d(real, fake, 0.9), 0.5 * ((0.1**2 + 2.1**2) / 2 + 5 / 3))


def test_non_saturating_by_hand():
    """sigmoid(log 3) = 3/4 and sigmoid(0) = 1/2."""
    real, fake = tensor([math.log(3)]), tensor([0.0])
    same(losses.non_saturating_g(fake), LOG2)
    same(losses.non_saturating_d(real, fake), 0.5 * (-math.log(3 / 4) - math.log(1 / 2)))
    smoothed = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    same(losses.non_saturating_d(real, fake, 0.9), 0.5 * (smoothed + LOG2))


def test_minimax_by_hand():
    same(losses.minimax_g(tensor([math.log(3), 0.0])), (math.log(1 / 4) + math.log(1 / 2)) / 2)


def test_hinge_by_hand():
    real, fake = tensor([2.0, 0.5, -1.0]), tensor([-2.0, -0.5, 1.0, 0.0])
    same(losses.hinge_g(fake), -(-2 - 0.5 + 1 + 0) / 4)
    same(losses.hinge_d(real, fake), (0 + 0.5 + 2) / 3 + (0 + 0.5 + 2 + 1) / 4)


def test_wasserstein_by_hand():
    real, fake = tensor([2.0, 4.0]), tensor([1.0, -3.0])
    same(losses.wasserstein_g(fake), 1.0)
    same(losses.wasserstein_d(real, fake), -1.0 - 3.0)


# The same by torch's own functions.


@pytest.mark.parametrize("target", [1.0, 0.9, 0.5])
def test_non_saturating_is_cross_entropy_with_logits(target):
    real, fake = logits(2, 1, 5, 5), logits(3, 1, 4, 4, seed=1)
    bce = F.binary_cross_entropy_with_logits
    on_real, on_fake = bce(real, torch.full_like(real, target)), bce(fake, torch.zeros_like(fake))
    same(losses.non_saturating_d(real, fake, target), 0.5 * (on_real + on_fake))
    same(losses.non_saturating_g(fake), bce(fake, torch.ones_like(fake)))
    same(losses.minimax_g(fake), -on_fake)


@pytest.mark.parametrize("target", [1.0, 0.9, 0.5])
def test_lsgan_is_the_mean_square_error(target):
    real, fake = logits(2, 1, 5, 5), logits(3, 1, 4, 4, seed=1)
    on_real, on_fake = F.mse_loss(real, torch.full_like(real, target)), F.mse_loss(fake, torch.zeros_like(fake))
    same(losses.lsgan_d(real, fake, target), 0.5 * (on_real + on_fake))
    same(losses.lsgan_g(fake), F.mse_loss(fake, torch.ones_like(fake)))


# What holds for every adversarial cost.


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_are_means_over_all_elements(name):
    """Repeating the logits, or giving them another shape, changes nothing."""
    cost, real, fake = ADVERSARIAL[name], logits(2, 1, 3, 3), logits(2, 1, 3, 3, seed=1)
    same(cost.g(fake.repeat(3, 1, 1, 1).flatten()), cost.g(fake))
    same(cost.d(real.repeat(3, 1, 1, 1), fake.flatten()), cost.d(real, fake))
    assert cost.g(fake).shape == cost.d(real, fake).shape == ()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_g_wants_higher_and_d_wants_lower_logits_of_fakes(name):
    cost, between = ADVERSARIAL[name], torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert (slope(cost.g, between) < 0).all()
    assert (slope(lambda fake: cost.d(between, fake), between) > 0).all()
    assert (slope(lambda real: cost.d(real, between), between) < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_and_gradients_are_finite_at_extreme_logits(name, dtype):
    cost, extreme = ADVERSARIAL[name], tensor([-100.0, 100.0], dtype=dtype)
    for loss in (cost.g, lambda x: cost.d(x, extreme), lambda x: cost.d(extreme, x)):
        assert loss(extreme).isfinite()
        assert slope(loss, extreme).isfinite().all()


@pytest.mark.parametrize("name", SMOOTHING)
def test_label_smoothing_is_one_sided(name):
    d, real, fake = ADVERSARIAL[name].d, logits(8), logits(8, seed=1)
    same(slope(lambda x: d(real, x, 0.9), fake), slope(lambda x: d(real, x), fake))
    assert not torch.allclose(slope(lambda x: d(x, fake, 0.9), real), slope(lambda x: d(x, fake), real))
    same(d(real, fake, 1.0), d(real, fake))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_only_costs_that_smooth_take_a_label(name):
    assert ("target" in inspect.signature(ADVERSARIAL[name].d).parameters) == ADVERSARIAL[name].smooths


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
    label = (target,) if cost.smooths else ()
    same(cost.d(real, fake, *label), least)
    same(slope(lambda x: cost.d(x, fake, *label), real), [0.0])
    same(slope(lambda x: cost.d(real, x, *label), fake), [0.0])
    for dr, df in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        assert cost.d(real + dr, fake + df, *label) >= cost.d(real, fake, *label) - 1e-12


@pytest.mark.parametrize(
    ("name", "logit", "value"),
    [("non-saturating", 0.0, LOG2), ("minimax", 0.0, LOG2), ("lsgan", 0.5, 0.25)],
)
def test_a_discriminator_that_cannot_tell_says_half(name, logit, value):
    """Where real and fake are the same image, the best logit is that of a probability of ½ (Goodfellow, prop. 1)."""
    d, best = ADVERSARIAL[name].d, tensor([logit], dtype=torch.float64)
    same(d(best, best), value)
    same(slope(lambda x: d(x, x), best), [0.0])


def test_hinge_asks_nothing_beyond_the_margin():
    real, fake = tensor([1.1, 7.0]), tensor([-1.1, -7.0])
    same(slope(lambda x: losses.hinge_d(x, fake), real), [0, 0])
    same(slope(lambda x: losses.hinge_d(real, x), fake), [0, 0])


def test_wasserstein_is_antisymmetric_and_blind_to_a_shift():
    real, fake = logits(5), logits(7, seed=1)
    same(losses.wasserstein_d(real, fake), -losses.wasserstein_d(fake, real))
    same(losses.wasserstein_d(real + 3, fake + 3), losses.wasserstein_d(real, fake))


def test_the_minimax_game_is_zero_sum_and_fades_where_the_other_cost_does_not():
    fake = tensor([-10.0], dtype=torch.float64)
    of_d = slope(lambda x: losses.non_saturating_d(logits(3), x), fake)
    same(slope(losses.minimax_g, fake), -2 * of_d)  # d's cost is halved
    same(slope(losses.minimax_g, fake), [-1 / (1 + math.exp(10))])  # −sigmoid(−10), nearly nothing
    same(slope(losses.non_saturating_g, fake), [-1 / (1 + math.exp(-10))])  # −sigmoid(10), nearly −1


# The gradient penalty.


KEYS = torch.arange(100, 103)


def images(count=3, seed=0):
    return logits(count, 2, 2, 1, seed=seed, scale=1.0)


def linear(weight):
    """A critic whose gradient is `weight` everywhere: logits are parts of the product that add up."""
    return lambda x: weight * x


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0.5, 0.0), (1.5, 4.0), (0.0, 1.0)],  # norms of four equal weights: 1, 3, 0; (norm − 1)²: 0, 4, 1
)
def test_penalty_of_a_linear_critic_by_hand(size, expected):
    weight = torch.full((1, 2, 2, 1), size, dtype=torch.float64)
    same(gradient_penalty(linear(weight), images(), images(seed=1), KEYS), expected)


def test_penalty_reaches_the_critic_s_weights():
    """d/dw (‖w‖ − 1)² = 2 (‖w‖ − 1) w / ‖w‖ = 2 · 2 · 1.5 / 3 for four weights of 1.5."""
    weight = torch.full((1, 2, 2, 1), 1.5, dtype=torch.float64, requires_grad=True)
    gradient_penalty(linear(weight), images(), images(seed=1), KEYS).backward()
    same(weight.grad, torch.full((1, 2, 2, 1), 2.0))


def test_penalty_reaches_the_weights_of_a_deep_critic():
    d = nn.Sequential(nn.Conv2d(2, 4, 2), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1)).double()
    real, fake = logits(3, 2, 4, 4), logits(3, 2, 4, 4, seed=1)

    def penalty(weight):
        d[0].weight.data.copy_(weight)
        return gradient_penalty(d, real, fake, KEYS)

    start = d[0].weight.detach().clone()
    penalty(start).backward()
    direction = logits(*start.shape, seed=2, scale=1.0)
    step = 1e-6 * direction
    numeric = (penalty(start + step) - penalty(start - step)).item() / 2e-6
    same((d[0].weight.grad * direction).sum(), numeric)


def test_penalty_does_not_reach_the_images():
    real, fake = images().requires_grad_(), images(seed=1).requires_grad_()
    weight = torch.ones(1, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    gradient_penalty(lambda x: (weight * x).square(), real, fake, KEYS).backward()
    assert real.grad is None
    assert fake.grad is None


def half_square(x):
    """A critic whose gradient is x itself, so that the penalty tells at which x̂ it was taken."""
    return 0.5 * x.square()


def test_penalty_is_taken_between_real_and_fake_at_a_place_for_each_image():
    zero, unit = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    shares = []
    for key in range(400):
        penalty = gradient_penalty(half_square, zero, unit, tensor([key]))  # ‖x̂‖ is the share of the fake image
        shares.append(1 - penalty.sqrt().item())
    shares = tensor(shares)
    assert shares.min() > -1e-6
    assert shares.max() < 1 + 1e-6
    assert abs(shares.mean() - 0.5) < 4 / (12 * 400) ** 0.5
    assert len(shares.unique()) > 390


def test_penalty_of_a_batch_is_the_mean_over_its_images():
    real, fake = images(), images(seed=1)
    singles = [
        gradient_penalty(half_square, r, f, k)
        for r, f, k in zip(real.split(1), fake.split(1), KEYS.split(1), strict=True)
    ]
    same(gradient_penalty(half_square, real, fake, KEYS), torch.stack(singles).mean())


def test_penalty_where_real_and_fake_are_equal_is_that_of_the_image():
    x = images()
    expected = (x.flatten(1).norm(dim=1) - 1).square().mean()
    same(gradient_penalty(half_square, x, x, KEYS), expected)


def test_penalty_is_computed_in_float32_under_autocast():
    """One convolution over the whole image: its gradient is its weight, of which bfloat16 would keep two digits."""
    d = nn.Conv2d(2, 1, (2, 1), bias=False)
    expected = (d.weight.detach().double().norm() - 1).square()
    real, fake = images().float(), images(seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert d(real).dtype == torch.bfloat16
        for dtype in (torch.float32, torch.bfloat16):
            penalty = gradient_penalty(d, real.to(dtype), fake.to(dtype), KEYS)
            assert penalty.dtype == torch.float32
            same(penalty, expected)


def test_penalty_keeps_float64():
    assert gradient_penalty(half_square, images(), images(seed=1), KEYS).dtype == torch.float64


def test_the_wasserstein_cost_alone_asks_for_the_penalty():
    assert {name: cost.penalty for name, cost in ADVERSARIAL.items() if cost.penalty} == {"wgan-gp": 10.0}
