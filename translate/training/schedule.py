"""How long a run is and what its learning rate is: pure functions of the training images seen."""

from dataclasses import dataclass

from translate.config import TrainConfig


@dataclass(frozen=True)
class Schedule:
    """The plan of a run. `per_epoch` is the number of images in an epoch."""

    per_epoch: int
    epochs: int
    decay_epochs: int
    images: int | None = None
    decay_images: int = 0
    rule: str = "reference"
    """Of the rate by epochs: "reference", or "reference-2020"."""

    @staticmethod
    def of(cfg: TrainConfig, per_epoch: int) -> "Schedule":
        return Schedule(per_epoch, cfg.epochs, cfg.decay_epochs, cfg.images, cfg.decay_images, cfg.schedule)

    @property
    def planned(self) -> int:
        """The run ends at the first step that reaches this many images."""
        return self.images if self.images is not None else (self.epochs + self.decay_epochs) * self.per_epoch

    def factor(self, images: int) -> float:
        """What the learning rate is multiplied by after `images` images.

        By epochs it is stepped at the end of each epoch, as in the reference but for some versions: 1 for `epochs` epochs,
        then down to zero linearly, so that even the last epoch still trains (1 / (decay_epochs + 1)). Upstream from July 2020
        to 2021 at least it was stepped at the start ("reference-2020"): every epoch has the rate of the one after it, and
        the last has 0. By images: constant, then linearly to zero over the last `decay_images`.
        """
        if self.images is not None:
            left = self.images - images
            return min(1.0, left / self.decay_images) if self.decay_images else 1.0
        steps = images // self.per_epoch + (self.rule == "reference-2020")
        return 1 - max(0, steps + 1 - self.epochs) / (self.decay_epochs + 1)
