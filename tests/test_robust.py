"""Tests of `translate.robust`."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate import robust


def logistic(w):
    """A classifier of two classes by the sign of w·x: its logits are (−w·x, w·x) / 2."""
    model = nn.Linear(len(w), 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.stack([-w, w]) / 2)
    return model


def data(count=64, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, size, generator=generator, dtype=torch.float64) * 0.5 + 0.25  # room for ε on both sides
    return x, torch.randint(0, 2, (count,), generator=generator), torch.randn(size, generator=generator).double()


@pytest.mark.parametrize("attack", [robust.fgsm, robust.pgd])
def test_the_attack_on_a_linear_classifier_costs_epsilon_times_the_l1_norm(attack):
    """The margin y w·x falls by exactly ε‖w‖₁ (Goodfellow et al., sec. 5)."""
    x, label, w = data()
    sign = 2.0 * label - 1
    attacked = attack(logistic(w), x, label, 0.1)
    torch.testing.assert_close(sign * (attacked @ w), sign * (x @ w) - 0.1 * w.abs().sum())


def test_the_mixed_objective_of_a_linear_classifier_is_that_of_section_5():
    """J(x') = softplus(ε‖w‖₁ − y w·x), so that the objective is α softplus(−y w·x) + (1 − α) softplus(ε‖w‖₁ − y w·x)."""
    x, label, w = data()
    margin = (2.0 * label - 1) * (x @ w)
    clean, attacked = F.softplus(-margin).mean(), F.softplus(0.1 * w.abs().sum() - margin).mean()
    model = logistic(w)
    for alpha in (0.0, 0.3, 0.5, 1.0):
        loss = robust.adversarial_loss(model, x, label, 0.1, alpha=alpha)
        torch.testing.assert_close(loss, alpha * clean + (1 - alpha) * attacked)
    with pytest.raises(ValueError, match="alpha is 1"):
        robust.adversarial_loss(model, x, label, 0.1, alpha=1.5)


def test_attacks_leave_weights_without_gradients_and_values_within_their_range():
    x, label, w = data()
    model = logistic(w)
    attacked = robust.fgsm(model, x * 4 - 1, label, 0.5, low=-1, high=1)
    assert attacked.abs().max() <= 1
    assert model.weight.grad is None
    assert robust.pgd(model, x, label, 0.1, seed=1, steps=1).equal(robust.pgd(model, x, label, 0.1, seed=1, steps=1))


def test_the_error_rate_is_the_share_of_wrong_answers():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert robust.error_rate(nn.Identity(), x, torch.tensor([0, 1, 1, 0])) == 0.25


def test_a_training_without_batches_is_refused():
    model = logistic(torch.ones(2).double())
    with pytest.raises(ValueError, match="no batches"):
        robust.train(model, [], torch.optim.SGD(model.parameters(), 0.1), 0.1)


def strokes(count, seed):
    """Digits-like images: a bar of one of four places and directions on noise, (N, 1, 12, 12) in [0, 1], with its class."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 4, (count,), generator=generator)
    x = 0.25 * torch.rand(count, 1, 12, 12, generator=generator)
    for i, kind in enumerate(label.tolist()):
        place = slice(2, 4) if kind % 2 else slice(7, 9)
        if kind < 2:
            x[i, 0, place, 2:10] += 0.5
        else:
            x[i, 0, 2:10, place] += 0.5
    return x.clamp(0, 1), label


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.5, 0.0])
def test_adversarial_training_lowers_the_error_under_attack(alpha):
    """Both forms of sec. 6, against the same training without attacks."""
    x, label = strokes(512, 0)
    test_x, test_label = strokes(256, 1)
    errors = {}
    for own in (1.0, alpha):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 4))
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for epoch in range(12):
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
            robust.train(model, [(x[i], label[i]) for i in order.split(64)], optimizer, 0.2, alpha=own)
        attacked = robust.fgsm(model, test_x, test_label, 0.2)
        errors[own] = robust.error_rate(model, test_x, test_label), robust.error_rate(model, attacked, test_label)
    (clean, under_attack), (robust_clean, robust_under_attack) = errors[1.0], errors[alpha]
    assert clean < 0.02
    assert robust_clean < 0.02
    assert robust_under_attack < 0.5 * under_attack
