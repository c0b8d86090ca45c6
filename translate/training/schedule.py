"""Length of a run and its learning rate, as pure functions of the training images seen."""

from dataclasses import dataclass

from translate.config import TrainConfig
from translate.errors import UsageError

STARGAN_BATCH_SIZE = 16
"""Images of an iteration in the code of StarGAN's authors."""

STARGAN_UPDATE_EVERY = 1000 * STARGAN_BATCH_SIZE
"""Images from one change of the learning rate to the next in the code of StarGAN's authors."""


@dataclass(frozen=True)
class Schedule:
    """Plan of a run: its length, and the decay of the learning rate. `per_epoch` is the number of images in an epoch."""

    per_epoch: int
    epochs: int
    decay_epochs: int
    images: int | None = None
    decay_images: int = 0
    rule: str = "reference"
    """Rule of the decay: "reference"; with epochs also "reference-2020" and "delayed", with images also "stargan-released"."""

    @staticmethod
    def from_config(cfg: TrainConfig, per_epoch: int) -> "Schedule":
        """Return the plan that the settings ask for. UsageError where their rule does not go with epochs or with images."""
        if cfg.schedule == "reference-2020" and cfg.images is not None:
            raise UsageError(
                f"--schedule {cfg.schedule} is a rule for epochs; with --images use --decay-images instead"
            )
        if cfg.schedule == "stargan-released" and (cfg.images is None or not cfg.decay_images):
            raise UsageError(f"--schedule {cfg.schedule} is a rule for images; give --images and --decay-images")
        return Schedule(per_epoch, cfg.epochs, cfg.decay_epochs, cfg.images, cfg.decay_images, cfg.schedule)

    @property
    def planned(self) -> int:
        """Images at which the run ends: at the first step that reaches so many."""
        return self.images if self.images is not None else (self.epochs + self.decay_epochs) * self.per_epoch

    @property
    def decays_from(self) -> int:
        """Images after which the learning rate begins to fall."""
        if self.images is not None:
            return max(0, self.images - self.decay_images)
        return self.epochs * self.per_epoch

    def factor(self, images: int) -> float:
        """Return the factor (0 to 1) of the learning rate after `images` images.

        With epochs, "reference": 1 for `epochs` epochs, then linearly down to 1 / (decay_epochs + 1) in the last epoch, as in
        most versions of the reference, which step the rate at the end of each epoch. "reference-2020": stepped at the start,
        as upstream from July 2020 to 2021 at least: every epoch has the rate of the one after it, and the last has 0.
        "delayed": the rate is the full one in the first of the `decay_epochs` too, and 1 / decay_epochs of it in the last. With
        images: constant, then linearly to zero over the last `decay_images`; or "stargan-released", see `_as_released`.
        """
        if self.images is not None:
            if self.rule == "stargan-released":
                return self._as_released(images, self.decays_from)
            left = self.images - images
            return min(1.0, left / self.decay_images) if self.decay_images else 1.0
        if self.rule == "delayed":
            return 1 - max(0, images // self.per_epoch - self.epochs) / max(1, self.decay_epochs)
        steps = images // self.per_epoch + (self.rule == "reference-2020")
        return 1 - max(0, steps + 1 - self.epochs) / (self.decay_epochs + 1)

    def _as_released(self, images: int, start: int) -> float:
        """Return the factor of the released code of StarGAN, which ends near 0.999.

        From `start` images on the rate falls by what would be right for every iteration, but in every thousandth one only.
        """
        times = max(0, images // STARGAN_UPDATE_EVERY - start // STARGAN_UPDATE_EVERY)
        return 1 - times * STARGAN_BATCH_SIZE / self.decay_images
