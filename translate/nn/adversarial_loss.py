"""The adversarial cost as the settings of a method have it: which, with which label, and how often its gradient penalty."""

from collections.abc import Callable

import torch
from torch import Tensor

from translate.nn.losses import ADVERSARIAL


class AdversarialLoss:
    """The cost `name`, a row of `ADVERSARIAL`.

    real_label: the discriminator's label of real images, below 1 for one-sided smoothing; for costs that have labels.
    weight, every: of the gradient penalty, for costs that have one: what it is multiplied by, and how many steps there are from
    one to the next; None: as the cost's row says. A weight of 0 leaves it out.

    A discriminator `discriminator_loss` maps images (N, C, H, W) to logits (N, …). Losses are 0-dim tensors.
    """

    def __init__(
        self,
        name: str,
        *,
        real_label: float = 1.0,
        penalty_weight: float | None = None,
        penalty_every: int | None = None,
    ) -> None:
        self.name, self.cost = name, ADVERSARIAL[name]
        self.penalty_weight = self.cost.penalty_weight if penalty_weight is None else penalty_weight
        self.penalty_every = self.cost.penalty_every if penalty_every is None else penalty_every
        self._label = {"target": real_label} if self.cost.supports_label_smoothing else {}

    def __repr__(self) -> str:
        return f"AdversarialLoss({self.name!r}, penalty_weight={self.penalty_weight}, penalty_every={self.penalty_every}, {self._label})"

    def generator_loss(self, d: Callable[[Tensor], Tensor], fake: Tensor, real: Tensor) -> Tensor:
        """The generator's loss. `real` is looked at only where the cost pairs: image by image, so as many as `fake`."""
        on_fake = d(fake)
        if not self.cost.relativistic:
            return self.cost.generator_loss(on_fake)
        # No graph, and yet exact: what the discriminator says of real images does not depend on the generator.
        with torch.no_grad():
            on_real = d(real)
        return self.cost.generator_loss(on_real, on_fake)

    def discriminator_loss(self, on_real: Tensor, on_fake: Tensor) -> Tensor:
        """The discriminator's loss of its logits, of any shape; without the penalty."""
        return self.cost.discriminator_loss(on_real, on_fake, **self._label)

    def has_penalty(self, step: int) -> bool:
        """Whether the discriminator's loss has the gradient penalty in this step (from 0): in one step of `penalty_every`."""
        return bool(self.cost.penalty_weight and self.penalty_weight) and step % self.penalty_every == 0

    def penalty(self, d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
        """The gradient penalty with its weight, times the steps for which it counts. key (N,) decides its random draws.

        It is differentiated twice, which a compiled `discriminator_loss` cannot be: give a network's `forward`.
        """
        return self.penalty_weight * self.penalty_every * self.cost.penalty_function(d, real, fake, key)

    def phase(self, step: int) -> str:
        """What `Method.phase` has to tell apart: "penalty" in the steps that have one, else ""."""
        return "penalty" if self.has_penalty(step) else ""
