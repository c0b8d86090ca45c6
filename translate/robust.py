"""Adversarial examples of plain classifiers, and training that makes a classifier robust against them.

A classifier is any `nn.Module` from inputs (N, …) to logits (N, K). Its mode is left as it is: call `model.eval()` before an
evaluation. After Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015.

>>> from translate import robust
>>> for x, label in batches:
...     loss = robust.adversarial_loss(model, x, label, epsilon=0.25)
...     optimizer.zero_grad()
...     loss.backward()
...     optimizer.step()
>>> robust.error_rate(model, robust.fgsm(model, x, label, epsilon=0.25), label)
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate import keyed_random
from translate.nn import attacks

LabelLoss = Callable[[Tensor, Tensor], Tensor]
"""Cost J: logits (N, K) and labels → the mean over the inputs, 0-dim."""

PGD_STEPS = 10
"""Steps of PGD by default."""


def fgsm(
    model: nn.Module,
    x: Tensor,
    label: Tensor,
    epsilon: float,
    *,
    low: float = 0.0,
    high: float = 1.0,
    loss: LabelLoss = F.cross_entropy,
) -> Tensor:
    """Return inputs x + epsilon · sign ∇J(x), within [low, high]: the fast gradient sign method (sec. 4).

    x: (N, …); label: (N,), or as `loss` takes it. epsilon: largest change of each value, in the unit of the values. The result
    has no graph, and the weights get no gradients.
    """
    return attacks.fgsm(lambda x: loss(model(x), label), x.detach(), epsilon, low=low, high=high)


def pgd(
    model: nn.Module,
    x: Tensor,
    label: Tensor,
    epsilon: float,
    *,
    steps: int = PGD_STEPS,
    step: float | None = None,
    seed: int = 0,
    low: float = 0.0,
    high: float = 1.0,
    loss: LabelLoss = F.cross_entropy,
) -> Tensor:
    """Return inputs after projected gradient ascent on J from a random start within ±epsilon (Madry et al., ICLR 2018).

    step: length of each step, by default 2.5 · epsilon / steps. The start is a function of `seed` and of the place in the
    batch. The other arguments are those of `fgsm`.
    """
    key = keyed_random.image_keys(seed, torch.arange(len(x), device=x.device))
    noise = attacks.random_start(key, "start", *x.shape[1:]).to(x.dtype)
    return attacks.pgd(
        lambda x: loss(model(x), label), x.detach(), epsilon, steps, noise, step=step, low=low, high=high
    )


def adversarial_loss(
    model: nn.Module,
    x: Tensor,
    label: Tensor,
    epsilon: float,
    *,
    alpha: float = 0.5,
    low: float = 0.0,
    high: float = 1.0,
    loss: LabelLoss = F.cross_entropy,
    attack: Callable[..., Tensor] = fgsm,
) -> Tensor:
    """Return α J(x) + (1 − α) J(x + ε · sign ∇J(x)), 0-dim, to be minimised over the weights (sec. 6).

    alpha: 0.5 in the paper; 0 trains on attacked inputs alone, 1 on clean ones. The attack is that on the present weights,
    and a constant: no gradient goes through it. `attack`: `fgsm`, `pgd`, or a function with such arguments. ValueError for an
    alpha outside of 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, but must be from 0 to 1")
    if alpha == 1:
        return loss(model(x), label)
    attacked = loss(model(attack(model, x, label, epsilon, low=low, high=high, loss=loss)), label)
    return attacked if alpha == 0 else alpha * loss(model(x), label) + (1 - alpha) * attacked


def train(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    epsilon: float,
    *,
    alpha: float = 0.5,
    low: float = 0.0,
    high: float = 1.0,
    loss: LabelLoss = F.cross_entropy,
    attack: Callable[..., Tensor] = fgsm,
) -> float:
    """Train a classifier for one pass over batches of (x, label) by `adversarial_loss`; return the mean loss over the batches.

    ValueError if there are no batches.
    """
    losses = []
    for x, label in batches:
        value = adversarial_loss(model, x, label, epsilon, alpha=alpha, low=low, high=high, loss=loss, attack=attack)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    if not losses:
        raise ValueError("there are no batches to train on")
    return float(torch.stack(losses).mean())


@torch.no_grad()
def error_rate(model: nn.Module, x: Tensor, label: Tensor) -> float:
    """Return the share of inputs (N, …) whose largest logit is not that of their label (N,), from 0 to 1."""
    return float((model(x).argmax(1) != label).double().mean())
