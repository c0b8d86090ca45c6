"""Adversarial examples: small changes of an input, within ±epsilon of each value, that raise a loss."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from translate import keyed_random

LossFn = Callable[[Tensor], Tensor]
"""Loss that an attack raises: inputs (N, …) → (N,), or any shape whose sum is meant; differentiable."""

STEP_RATIO = 2.5
"""Total length of PGD's steps, in epsilon: the bound can be reached from any start, and moved along (Madry et al., "Towards
Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, sec. 5)."""


def project(x: Tensor, clean: Tensor, epsilon: float | Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Return the inputs nearest to x that are within ±epsilon of the clean ones and within the range of values."""
    change = x - clean
    if isinstance(epsilon, Tensor):
        change = torch.maximum(torch.minimum(change, epsilon), -epsilon)
    else:
        change = change.clamp(-epsilon, epsilon)
    return (clean + change).clamp(low, high)


def ascend(
    loss: LossFn,
    clean: Tensor,
    start: Tensor,
    epsilon: float | Tensor,
    step: float | Tensor,
    steps: int,
    *,
    decay: bool = False,
    low: float = -1.0,
    high: float = 1.0,
) -> Tensor:
    """Return inputs after steps along the sign of the loss's gradient, each projected to ±epsilon around the clean inputs.

    clean, start: (N, …); epsilon, step: numbers in the unit of the values, or tensors that broadcast. decay: the steps fall
    linearly from `step` towards 0. The result has no graph. ValueError if no gradient reaches the input.
    """
    x = start.detach()
    for number in range(steps):
        x.requires_grad_()
        with torch.enable_grad():
            value = loss(x).sum()
        if not value.requires_grad:
            raise ValueError("no gradient reaches the input; compute the loss outside of inference mode and no_grad")
        (gradient,) = torch.autograd.grad(value, x)
        length = step * (1 - number / steps) if decay else step
        x = project(x.detach() + length * gradient.sign(), clean, epsilon, low, high)
    return x


def fgsm(loss: LossFn, x: Tensor, epsilon: float | Tensor, *, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Return inputs after one step of epsilon along the sign of the gradient at x: the fast gradient sign method.

    Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, sec. 4. Exact for a loss that
    is linear in x. Where the gradient at x is zero, as that of a distance from the output of x itself, x stays as it is: use
    `random_fgsm`.
    """
    return ascend(loss, x, x, epsilon, epsilon, 1, low=low, high=high)


def random_fgsm(
    loss: LossFn, x: Tensor, epsilon: float | Tensor, signs: Tensor, *, low: float = -1.0, high: float = 1.0
) -> Tensor:
    """Return inputs after half of epsilon along given signs, and the other half along the signs of the gradient there.

    Tramèr et al., "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, sec. 4.1. signs: −1 or 1, as x.
    """
    start = (x + epsilon / 2 * signs).clamp(low, high)
    return ascend(loss, x, start, epsilon, epsilon / 2, 1, low=low, high=high)


def pgd(
    loss: LossFn,
    x: Tensor,
    epsilon: float | Tensor,
    steps: int,
    noise: Tensor | None,
    *,
    step: float | Tensor | None = None,
    low: float = -1.0,
    high: float = 1.0,
) -> Tensor:
    """Return inputs after projected gradient ascent from a random start within ±epsilon (Madry et al., 2018, sec. 2.1).

    noise: in [-1, 1], as x: the start in units of epsilon; None: x itself. step: by default STEP_RATIO · epsilon / steps.
    """
    start = x if noise is None else (x + epsilon * noise).clamp(low, high)
    return ascend(
        loss, x, start, epsilon, STEP_RATIO * epsilon / steps if step is None else step, steps, low=low, high=high
    )


def disrupt(
    distance: LossFn,
    x: Tensor,
    epsilon: float | Tensor,
    steps: int,
    noise: Tensor,
    *,
    low: float = -1.0,
    high: float = 1.0,
) -> Tensor:
    """Return inputs within ±epsilon whose outputs are far from those of x: ascent from a random start, by steps that fall.

    Around x the squared distance between outputs is nearly convex, so that it is largest in a corner of the bounds. The first
    steps, of nearly 2 epsilon, go to the corner that the gradient points to, as the generalised power method does (Journée,
    Nesterov, Richtárik and Sepulchre, "Generalized Power Method for Sparse Principal Component Analysis", JMLR 2010, sec. 3);
    the later ones settle where outputs are not linear. That moves outputs farther than `pgd`, and depends less on the start.

    noise: in [-1, 1], as x: the start in units of epsilon.
    """
    start = (x + epsilon * noise).clamp(low, high)
    return ascend(distance, x, start, epsilon, 2 * epsilon, steps, decay=True, low=low, high=high)


def highest(loss: LossFn, candidates: Iterable[Tensor]) -> Tensor:
    """Return, for each input, the candidate of the highest loss, the first among equals; candidates: (N, …) each, at least one.

    Of attacks from several starts it is their usual end (Madry et al., 2018, sec. 5).
    """
    tried = list(candidates)
    if not tried:
        raise ValueError("there are no candidates")
    if len(tried) == 1:
        return tried[0]
    with torch.no_grad():
        best = torch.stack([loss(x) for x in tried]).argmax(0)
    return torch.stack(tried)[best, torch.arange(len(best), device=best.device)]


def squared_distance(function: Callable[[Tensor], Tensor], target: Tensor) -> LossFn:
    """Return the loss Σ(function(x) − target)² of each input, (N,); its sum over pixels keeps gradients from underflow."""
    return lambda x: (function(x) - target).square().flatten(1).sum(1)


def random_signs(key: Tensor, name: str, *shape: int) -> Tensor:
    """Draw −1 or 1, float32 (N, *shape), one stream for each key (N,)."""
    return torch.where(keyed_random.uniform(key, name, *shape) < 0.5, -1.0, 1.0)


def random_start(key: Tensor, name: str, *shape: int) -> Tensor:
    """Draw float32 (N, *shape) uniform in [-1, 1), one stream for each key (N,)."""
    return keyed_random.uniform(key, name, *shape) * 2 - 1
