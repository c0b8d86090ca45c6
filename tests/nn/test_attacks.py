"""Tests of `translate.nn.attacks`."""

import itertools

import pytest
import torch

from translate import keyed_random
from translate.nn import attacks

KEY = keyed_random.image_keys(1, torch.arange(4))


def draw(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5


def test_fgsm_is_the_exact_maximiser_of_a_linear_loss():
    """w·x' is largest at x + ε sign w: it grows by ε times the sum of |w|."""
    x, w = draw(4, 6), draw(6, seed=1)
    attacked = attacks.fgsm(lambda x: x @ w, x, 0.1)
    torch.testing.assert_close(attacked @ w - x @ w, (0.1 * w.abs().sum()).expand(4))
    torch.testing.assert_close(attacks.pgd(lambda x: x @ w, x, 0.1, 7, None), attacked)
    noise = attacks.random_start(KEY, "start", 6)
    torch.testing.assert_close(attacks.pgd(lambda x: x @ w, x, 0.1, 7, noise), attacked)


def test_the_gradient_of_the_distance_from_the_output_itself_is_zero():
    """So plain FGSM and PGD without a random start do nothing, and a random start is needed."""
    x = draw(4, 6)
    away = attacks.squared_distance(torch.sin, torch.sin(x))
    assert attacks.fgsm(away, x, 0.1).equal(x)
    assert attacks.pgd(away, x, 0.1, 10, None).equal(x)
    moved = attacks.pgd(away, x, 0.1, 10, attacks.random_start(KEY, "start", 6))
    torch.testing.assert_close((moved - x).abs(), torch.full_like(x, 0.1))


def test_the_loss_of_pgd_does_not_fall_over_its_steps():
    x, w = draw(4, 6), draw(6, 6, seed=1)
    away = attacks.squared_distance(lambda x: torch.tanh(x @ w), torch.tanh(x @ w))
    start = x + 0.1 * attacks.random_start(KEY, "start", 6)
    losses = [away(attacks.ascend(away, x, start, 0.1, 0.01, n)) for n in range(1, 12)]
    assert all((after >= before - 1e-12).all() for before, after in itertools.pairwise(losses))
    assert (losses[-1] > 1.2 * losses[0]).all()


def test_one_direction_is_disrupted_as_far_as_the_bound_allows():
    """The output is (w·x) u, so the squared distance is at most ε² (Σ|w|)² |u|², in the corner of the signs of w."""
    x, w, u = draw(4, 6), draw(6, seed=1), draw(5, seed=2)
    away = attacks.squared_distance(lambda x: (x @ w)[:, None] * u, (x @ w)[:, None] * u)
    attacked = attacks.disrupt(away, x, 0.1, 3, attacks.random_start(KEY, "start", 6).double())
    largest = 0.01 * w.abs().sum() ** 2 * u.square().sum()
    torch.testing.assert_close(away(attacked), largest.expand(4))


def test_for_each_input_the_candidate_of_the_highest_loss_is_taken():
    first, second, third = torch.tensor([[1.0], [5.0], [2.0]]), torch.tensor([[3.0], [4.0], [-2.0]]), torch.zeros(3, 1)
    best = attacks.highest(lambda x: x.square().sum(1), iter((first, second, third)))
    assert best.tolist() == [[3.0], [5.0], [2.0]]
    with pytest.raises(ValueError, match="candidates"):
        attacks.highest(lambda x: x.sum(1), [])


def test_of_a_linear_function_a_disruption_is_in_a_corner_and_nearer_to_the_worst_than_pgd():
    x, w = draw(4, 6), draw(6, 6, seed=1)
    away = attacks.squared_distance(lambda x: x @ w, x @ w)
    corners = torch.tensor(list(itertools.product((-0.1, 0.1), repeat=6)), dtype=torch.float64)
    largest = (corners @ w).square().sum(1).max()
    found, usual = [], []
    for seed in range(8):
        noise = attacks.random_start(keyed_random.fold_in(KEY, seed), "start", 6).double()
        attacked = attacks.disrupt(away, x, 0.1, 10, noise)
        torch.testing.assert_close((attacked - x).abs(), torch.full_like(x, 0.1))
        found.append(away(attacked))
        usual.append(away(attacks.pgd(away, x, 0.1, 10, noise)))
    assert torch.stack(found).max() <= largest * (1 + 1e-12)
    assert torch.stack(found).mean() > torch.stack(usual).mean()


def test_large_steps_never_lessen_a_convex_distance():
    """Journée et al. 2010, proposition 1: f(x') ≥ f(x) + ∇f(x)·(x' − x), which is largest in the corner x'."""
    x, w = draw(4, 6), draw(6, 6, seed=1)
    away = attacks.squared_distance(lambda x: x @ w, x @ w)
    start = x + 0.1 * attacks.random_start(KEY, "start", 6)
    losses = [away(attacks.ascend(away, x, start, 0.1, 0.2, n)) for n in range(6)]
    assert all((after >= before - 1e-12).all() for before, after in itertools.pairwise(losses))


def test_steps_fall_to_zero():
    """Far from the bound of a linear loss, the way is the sum of the steps: 0.4 + 0.3 + 0.2 + 0.1."""
    x = draw(2, 3)
    moved = attacks.ascend(lambda x: x.sum(1), x, x, 100.0, 0.4, 4, decay=True, low=-9, high=9)
    torch.testing.assert_close(moved - x, torch.full_like(x, 1.0))


@pytest.mark.parametrize("attack", ["fgsm", "random_fgsm", "pgd", "disrupt"])
def test_attacked_inputs_stay_within_the_bound_and_the_range(attack):
    x = draw(4, 3, 5, 5) * 2  # in [-1, 1]
    signs = attacks.random_signs(KEY, "signs", 3, 5, 5).double()
    start = (5, attacks.random_start(KEY, "start", 3, 5, 5))
    more = {"fgsm": (), "random_fgsm": (signs,), "pgd": start, "disrupt": start}[attack]
    attacked = getattr(attacks, attack)(lambda x: x.square(), x, 0.3, *more)
    assert attacked.abs().max() <= 1
    assert (attacked - x).abs().max() <= 0.3 + 1e-12
    assert not attacked.requires_grad
    grey = getattr(attacks, attack)(lambda x: x.exp(), x.abs(), 0.3, *more, low=0.0)
    assert grey.min() >= 0


def test_half_of_a_random_fgsm_is_random():
    """Where the gradient is positive the step ends at x + ε or at x, by the sign of the start."""
    x, signs = torch.zeros(4, 8), attacks.random_signs(KEY, "signs", 8)
    attacked = attacks.random_fgsm(lambda x: x, x, 0.2, signs)
    torch.testing.assert_close(attacked, torch.where(signs > 0, 0.2, 0.0))


def test_each_input_may_have_a_bound_of_its_own():
    x, bounds = torch.zeros(3, 2), torch.tensor([[0.1], [0.2], [0.4]])
    for attacked in (attacks.fgsm(lambda x: x, x, bounds), attacks.pgd(lambda x: x, x, bounds, 5, torch.zeros(3, 2))):
        torch.testing.assert_close(attacked, bounds.expand(3, 2))


def test_a_loss_without_a_gradient_is_refused():
    with pytest.raises(ValueError, match="no gradient reaches the input"):
        attacks.fgsm(torch.no_grad()(lambda x: 2 * x), torch.zeros(1, 1), 0.1)
