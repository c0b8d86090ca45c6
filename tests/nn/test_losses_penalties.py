"""Gradient penalties: values by hand, the weights they reach, and their precision."""

import pytest
import torch
from torch import nn, tensor

from translate.nn.losses import ADVERSARIAL, gradient_penalty, zero_centred_penalty

from .helpers import assert_value, random_logits

KEYS = torch.arange(100, 103)


def images(count=3, seed=0):
    return random_logits(count, 2, 2, 1, seed=seed, scale=1.0)


def linear(weight):
    """A critic whose gradient is `weight` everywhere: logits are parts of the product that add up."""
    return lambda x: weight * x


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0.5, 0.0), (1.5, 4.0), (0.0, 1.0)],  # norms of four equal weights: 1, 3, 0; (norm − 1)²: 0, 4, 1
)
def test_penalty_of_a_linear_critic_by_hand(size, expected):
    weight = torch.full((1, 2, 2, 1), size, dtype=torch.float64)
    assert_value(gradient_penalty(linear(weight), images(), images(seed=1), KEYS), expected)


def test_penalty_reaches_the_critic_s_weights():
    """d/dw (‖w‖ − 1)² = 2 (‖w‖ − 1) w / ‖w‖ = 2 · 2 · 1.5 / 3 for four weights of 1.5."""
    weight = torch.full((1, 2, 2, 1), 1.5, dtype=torch.float64, requires_grad=True)
    gradient_penalty(linear(weight), images(), images(seed=1), KEYS).backward()
    assert_value(weight.grad, torch.full((1, 2, 2, 1), 2.0))


def test_penalty_reaches_the_weights_of_a_deep_critic():
    d = nn.Sequential(nn.Conv2d(2, 4, 2), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1)).double()
    real, fake = random_logits(3, 2, 4, 4), random_logits(3, 2, 4, 4, seed=1)

    def penalty(weight):
        d[0].weight.data.copy_(weight)
        return gradient_penalty(d, real, fake, KEYS)

    start = d[0].weight.detach().clone()
    penalty(start).backward()
    direction = random_logits(*start.shape, seed=2, scale=1.0)
    step = 1e-6 * direction
    numeric = (penalty(start + step) - penalty(start - step)).item() / 2e-6
    assert_value((d[0].weight.grad * direction).sum(), numeric)


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
    assert_value(gradient_penalty(half_square, real, fake, KEYS), torch.stack(singles).mean())


def test_penalty_where_real_and_fake_are_equal_is_that_of_the_image():
    x = images()
    expected = (x.flatten(1).norm(dim=1) - 1).square().mean()
    assert_value(gradient_penalty(half_square, x, x, KEYS), expected)


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
            assert_value(penalty, expected)


def test_penalty_keeps_float64():
    assert gradient_penalty(half_square, images(), images(seed=1), KEYS).dtype == torch.float64


def test_zero_centred_penalty_of_a_linear_critic_is_half_its_weights_square():
    """D(x) = w · x has the gradient w everywhere: ½ (‖w‖² + ‖w‖²), at real and at made images."""
    weight = random_logits(2, 2, 1, scale=1.0)
    penalty = zero_centred_penalty(lambda x: (weight * x).sum((1, 2, 3)), images(), images(seed=1), KEYS)
    assert_value(penalty, weight.square().sum())


def test_zero_centred_penalty_takes_the_mean_over_patches():
    """Four logits w · xᵢ an image: the mean's gradient is w/4 at each of 4 pixels, so 4 (w/4)² = w²/4."""
    weight = torch.tensor(3.0, dtype=torch.float64)
    assert_value(zero_centred_penalty(linear(weight), images(), images(seed=1), KEYS), 9 / 4)
    repeated = zero_centred_penalty(lambda x: linear(weight)(x).repeat(1, 1, 5, 5), images(), images(seed=1), KEYS)
    assert_value(repeated, 9 / 4)


def test_zero_centred_penalty_is_half_of_real_and_half_of_made():
    """The gradient of ½ x² over 4 pixels, as their mean: x/4."""
    real, fake = images(), images(seed=1)
    r1, r2 = (x.flatten(1).square().sum(1).mean() / 16 for x in (real, fake))
    assert_value(zero_centred_penalty(half_square, real, fake, KEYS), 0.5 * (r1 + r2))
    assert_value(zero_centred_penalty(half_square, fake, real, KEYS), 0.5 * (r1 + r2))
    assert_value(zero_centred_penalty(half_square, real, torch.zeros_like(fake), KEYS), 0.5 * r1)


@pytest.mark.parametrize("penalty", [gradient_penalty, zero_centred_penalty])
def test_penalties_reach_the_weights_of_a_deep_critic(penalty):
    """Differentiated twice, and by finite differences."""
    d = nn.Sequential(nn.Conv2d(2, 4, 2), nn.Softplus(), nn.Conv2d(4, 1, 2)).double()
    real, fake = random_logits(3, 2, 4, 4), random_logits(3, 2, 4, 4, seed=1)

    def of_weights(*weights):
        critic = dict(zip(dict(d.named_parameters()), weights, strict=True))
        return penalty(lambda x: torch.func.functional_call(d, critic, x), real, fake, KEYS)

    last_bias = len(list(d.parameters())) - 1
    weights = [p.detach().clone().requires_grad_(n != last_bias) for n, p in enumerate(d.parameters())]
    assert torch.autograd.gradcheck(of_weights, weights)


@pytest.mark.parametrize("penalty", [gradient_penalty, zero_centred_penalty])
def test_penalties_are_blind_to_a_constant_and_to_how_a_batch_is_split(penalty):
    d = nn.Sequential(nn.Conv2d(2, 4, 2), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1)).double()
    real, fake, keys = random_logits(4, 2, 4, 4), random_logits(4, 2, 4, 4, seed=1), torch.arange(4)
    whole = penalty(d, real, fake, keys)
    assert_value(penalty(lambda x: d(x) + 5, real, fake, keys), whole)
    assert_value(sum(penalty(d, *(x[n : n + 2] for x in (real, fake, keys))) for n in (0, 2)) / 2, whole)


@pytest.mark.parametrize("penalty", [gradient_penalty, zero_centred_penalty])
def test_penalties_leave_the_images_and_their_graph_alone(penalty):
    real, fake = images().requires_grad_(), images(seed=1)
    made = 2 * fake.requires_grad_()
    weight = torch.ones(1, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    penalty(lambda x: (weight * x).square(), real, made, KEYS).backward()
    assert weight.grad.abs().min() > 0
    assert (real.grad, fake.grad) == (None, None)


def test_zero_centred_penalty_is_computed_in_float32_under_autocast():
    """One convolution over the whole image: its gradient is its weight, of which bfloat16 would keep two digits."""
    d = nn.Conv2d(2, 1, (2, 1), bias=False)
    expected = d.weight.detach().double().square().sum()
    real, fake = images().float(), images(seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            penalty = zero_centred_penalty(d, real.to(dtype), fake.to(dtype), KEYS)
            assert penalty.dtype == torch.float32
            assert_value(penalty, expected)


def test_zero_centred_penalty_keeps_float64():
    assert zero_centred_penalty(half_square, images(), images(seed=1), KEYS).dtype == torch.float64


def test_which_costs_ask_for_a_penalty():
    asking = {
        name: (cost.penalty_function, cost.penalty_weight, cost.penalty_every)
        for name, cost in ADVERSARIAL.items()
        if cost.penalty_weight
    }
    assert asking == {"wgan-gp": (gradient_penalty, 10.0, 1), "relativistic": (zero_centred_penalty, 1.0, 8)}
