"""How long a run is and what its learning rate is: pure functions of the training images seen."""

from dataclasses import dataclass

from translate.config import TrainConfig
from translate.errors import UsageError

STARGAN_BATCH_SIZE = 16
"""Images in an iteration of StarGAN's authors."""

STARGAN_UPDATE_EVERY = 1000 * STARGAN_BATCH_SIZE
"""Images from one change of the rate to the next, in their code."""


@dataclass(frozen=True)
class Schedule:
    """The plan of a run. `per_epoch` is the number of images in an epoch."""

    per_epoch: int
    epochs: int
    decay_epochs: int
    images: int | None = None
    decay_images: int = 0
    rule: str = "reference"
    """Of the rate: "reference", by epochs "reference-2020" too, by images "stargan-released"."""

    @staticmethod
    def from_config(cfg: TrainConfig, per_epoch: int) -> "Schedule":
        """The plan that the settings ask for. UsageError where their rule is none for it."""
        if cfg.schedule == "reference-2020" and cfg.images is not None:
            raise UsageError(
                f"--schedule {cfg.schedule} is a rule for epochs; with --images use --decay-images instead"
            )
        if cfg.schedule == "stargan-released" and (cfg.images is None or not cfg.decay_images):
            raise UsageError(f"--schedule {cfg.schedule} is a rule for images; give --images and --decay-images")
        return Schedule(per_epoch, cfg.epochs, cfg.decay_epochs, cfg.images, cfg.decay_images, cfg.schedule)

    @property
    def planned(self) -> int:
        """The run ends at the first step that reaches this many images."""
        return self.images if self.images is not None else (self.epochs + self.decay_epochs) * self.per_epoch

    @property
    def decays_from(self) -> int:
        """Images after which the rate begins to fall."""
        if self.images is not None:
            return max(0, self.images - self.decay_images)
        return self.epochs * self.per_epoch

    def factor(self, images: int) -> float:
        """What the learning rate is multiplied by after `images` images.

        By epochs it is stepped at the end of each epoch, as in the reference but for some versions: 1 for `epochs` epochs,
        then down to zero linearly, so that even the last epoch still trains (1 / (decay_epochs + 1)). Upstream from July 2020
        to 2021 at least it was stepped at the start ("reference-2020"): every epoch has the rate of the one after it, and
        the last has 0. By images: constant, then linearly to zero over the last `decay_images`; or "stargan-released", see
        `_as_released`.
        """
        if self.images is not None:
            if self.rule == "stargan-released":
                return self._as_released(images, self.decays_from)
            left = self.images - images
            return min(1.0, left / self.decay_images) if self.decay_images else 1.0
        steps = images // self.per_epoch + (self.rule == "reference-2020")
        return 1 - max(0, steps + 1 - self.epochs) / (self.decay_epochs + 1)

    def _as_released(self, images: int, start: int) -> float:
        """As in the code of StarGAN's authors since it counts iterations: from `start` images on the rate falls by what would
        be right for every iteration, but in every thousandth one only. So it ends near 99.9 % of what it was.
        """
        times = max(0, images // STARGAN_UPDATE_EVERY - start // STARGAN_UPDATE_EVERY)
        return 1 - times * STARGAN_BATCH_SIZE / self.decay_images
