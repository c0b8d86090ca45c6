"""The adversarial cost as the settings of a method have it: which, with which label, and how often its gradient penalty."""

from collections.abc import Callable

import torch
from torch import Tensor

from translate.nn.losses import ADVERSARIAL


class Adversary:
    """The cost `name`, a row of `ADVERSARIAL`.

    real_label: the discriminator's label of real images, below 1 for one-sided smoothing; for costs that have labels.
    weight, every: of the gradient penalty, for costs that have one: what it is multiplied by, and how many steps there are from
    one to the next; None: as the cost's row says. A weight of 0 leaves it out.

    A discriminator `d` maps images (N, C, H, W) to logits (N, …). Losses are 0-dim tensors.
    """

    def __init__(
        self, name: str, *, real_label: float = 1.0, weight: float | None = None, every: int | None = None
    ) -> None:
        self.name, self.cost = name, ADVERSARIAL[name]
        self.weight = self.cost.penalty if weight is None else weight
        self.every = self.cost.every if every is None else every
        self._label = {"target": real_label} if self.cost.smooths else {}

    def __repr__(self) -> str:
        return f"Adversary({self.name!r}, weight={self.weight}, every={self.every}, {self._label})"

    def g(self, d: Callable[[Tensor], Tensor], fake: Tensor, real: Tensor) -> Tensor:
        """The generator's loss. `real` is looked at only where the cost pairs: image by image, so as many as `fake`."""
        on_fake = d(fake)
        if not self.cost.pairs:
            return self.cost.g(on_fake)
        # No graph, and yet exact: what the discriminator says of real images does not depend on the generator.
        with torch.no_grad():
            on_real = d(real)
        return self.cost.g(on_real, on_fake)

    def d(self, on_real: Tensor, on_fake: Tensor) -> Tensor:
        """The discriminator's loss of its logits, of any shape; without the penalty."""
        return self.cost.d(on_real, on_fake, **self._label)

    def due(self, step: int) -> bool:
        """Whether the discriminator's loss has the gradient penalty in this step (from 0): in one step of `every`."""
        return bool(self.cost.penalty and self.weight) and step % self.every == 0

    def penalty(self, d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, key: Tensor) -> Tensor:
        """The gradient penalty with its weight, times the steps for which it counts. key (N,) decides its random draws.

        It is differentiated twice, which a compiled `d` cannot be: give a network's `forward`.
        """
        return self.weight * self.every * self.cost.penalise(d, real, fake, key)

    def phase(self, step: int) -> str:
        """What `Method.phase` has to tell apart: "penalty" in the steps that have one, else ""."""
        return "penalty" if self.due(step) else ""
