"""Adversarial loss of a method's config: its objective, the label of real images, and the gradient penalty and its interval."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from translate.nn.losses import ADVERSARIAL, Logits, list_heads, mean_over_heads


class AdversarialLoss:
    """Adversarial losses of both sides, by the objective `name`, a row of `ADVERSARIAL`. KeyError if there is no such row.

    real_label: the discriminator's label of real images, below 1 for one-sided smoothing; for objectives that have labels.
    penalty_weight, penalty_every: factor of the gradient penalty, and steps from one penalty to the next, for objectives that
    have one; None: as in the objective's row. A weight of 0 leaves the penalty out.

    A discriminator `d` maps images (N, C, H, W) to logits (N, …), or to a list of logits, one for each of its heads. Losses are
    0-dim tensors, means over heads, in float32 at least: autocast gives logits in half precision, in which a mean has three
    digits.
    """

    def __init__(
        self,
        name: str,
        *,
        real_label: float = 1.0,
        penalty_weight: float | None = None,
        penalty_every: int | None = None,
    ) -> None:
        self.name, self.objective = name, ADVERSARIAL[name]
        self.penalty_weight = self.objective.penalty_weight if penalty_weight is None else penalty_weight
        self.penalty_every = self.objective.penalty_every if penalty_every is None else penalty_every
        self._label = {"target": real_label} if self.objective.supports_label_smoothing else {}

    def __repr__(self) -> str:
        penalty = f"penalty_weight={self.penalty_weight}, penalty_every={self.penalty_every}"
        return f"AdversarialLoss({self.name!r}, {penalty}, {self._label})"

    def generator_loss(self, on_fake: Logits, on_real: Callable[[], Logits]) -> Tensor:
        """Return the generator's loss from logits of fake images.

        on_real: computes those of as many real images; called by relativistic objectives alone, without a graph.
        """
        if not self.objective.relativistic:
            return mean_over_heads([self.objective.generator_loss(logits) for logits in _widened(on_fake)])
        # Exact without a graph: the logits of real images do not depend on the generator.
        with torch.no_grad():
            real = _widened(on_real())
        pairs = zip(real, _widened(on_fake), strict=True)
        return mean_over_heads([self.objective.generator_loss(*pair) for pair in pairs])

    def discriminator_loss(self, on_real: Logits, on_fake: Logits) -> Tensor:
        """Return the discriminator's loss from its logits, of any shape; without the penalty."""
        pairs = zip(_widened(on_real), _widened(on_fake), strict=True)
        return mean_over_heads([self.objective.discriminator_loss(*pair, **self._label) for pair in pairs])

    def has_penalty(self, step: int) -> bool:
        """Return whether the discriminator's loss has the gradient penalty in this step (from 0): every `penalty_every`-th."""
        return bool(self.objective.penalty_weight and self.penalty_weight) and step % self.penalty_every == 0

    def penalty(self, d: Callable[[Tensor], Logits], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
        """Return the gradient penalty times its weight and the steps for which it counts. key (N,) decides its random draws.

        It is differentiated twice, which a compiled `d` cannot be: pass a network's `forward`.
        """
        return self.penalty_weight * self.penalty_every * self.objective.penalty_function(d, real, fake, key)

    def phase(self, step: int) -> str:
        """Return the part of `Method.phase` that is the loss's: "penalty" in steps with a penalty, else ""."""
        return "penalty" if self.has_penalty(step) else ""


def _widened(logits: Logits) -> Sequence[Tensor]:
    """Return the logits of each head in float32 at least."""
    return [x.to(torch.promote_types(x.dtype, torch.float32)) for x in list_heads(logits)]
