"""Mean outputs of the discriminators on the fixed sample images, for real and for generated images apart.

A loss mixes the two. Apart, they tell a discriminator that gives every image the same value from one that is fooled.
"""

from collections.abc import Mapping
from typing import Any

import torch

from translate.methods.base import Batch
from translate.nn.losses import list_heads, mean_over_heads
from translate.training.engine import Engine
from translate.training.monitors.health_checks import at_least_float32


class DiscriminatorOutputMonitor:
    """Monitor of the discriminators' outputs on `sample`, the batch of the sample grids: domain → (N, C, H, W) in [-1, 1].

    It runs in evaluation mode, at the precision of the training, and changes nothing of the training.
    """

    def __init__(self, sample: Batch) -> None:
        self.sample = sample

    def on_log(self, values: Mapping[str, float]) -> None:
        """Ignore the log point."""

    def state(self) -> dict[str, Any]:
        """Return an empty state: outputs depend on the weights alone."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Ignore the state."""

    def __call__(self, engine: Engine) -> tuple[dict[str, float], list[str]]:
        """Return the mean output on each set of images, by "judge/name", and no advice."""
        with engine.evaluation_mode():
            outputs = engine.method.discriminator_outputs(engine.with_keys(self.sample))
        if not outputs:
            return {}, []
        means = torch.stack(
            [
                mean_over_heads([at_least_float32(head).mean() for head in list_heads(logits)])
                for logits in outputs.values()
            ]
        )
        return {f"judge/{name}": value for name, value in zip(outputs, means.tolist(), strict=True)}, []
