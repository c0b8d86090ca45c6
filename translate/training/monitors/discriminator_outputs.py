"""What the discriminators say of the fixed sample images: of real ones and of made ones, apart.

A loss mixes the two; here a discriminator that gives all it sees the same number is told from one that is fooled.
"""

from collections.abc import Mapping

import torch

from translate.methods.base import Batch
from translate.training.engine import Engine
from translate.training.monitors.health_checks import at_least_float32


class DiscriminatorOutputMonitor:
    """Watches the discriminators. `sample` is the fixed batch of the sample grids: images (N, C, H, W) in [-1, 1] by domain.

    Evaluation mode, at the precision of the training; nothing of the training is changed by it.
    """

    def __init__(self, sample: Batch) -> None:
        self.sample = sample

    def on_log(self, values: Mapping[str, float]) -> None:
        """Log points tell it nothing."""

    def __call__(self, engine: Engine) -> tuple[dict[str, float], list[str]]:
        """The mean output on each set of images, by "judge/name", and no advice."""
        with engine.evaluation_mode():
            outputs = engine.method.discriminator_outputs(engine.with_keys(self.sample))
        if not outputs:
            return {}, []
        means = torch.stack([at_least_float32(output).mean() for output in outputs.values()])
        return {f"judge/{name}": value for name, value in zip(outputs, means.tolist(), strict=True)}, []
