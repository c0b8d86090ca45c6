"""Estimate of the disk space that a run takes, from the shapes of its networks, before they are built."""

from dataclasses import dataclass

from translate.config import TrainConfig
from translate.methods import Method
from translate.runtime.precision import Precision
from translate.text import file_size
from translate.training.checkpoint import KEEP_NEWEST

MOMENTS = {"adam": 2, "rmsprop": 1}
"""Tensors that each optimizer keeps for each weight."""
GRID_IMAGES, GRID_SIDE = 16, 128
"""Images of a sample grid, roughly, and the side to which it enlarges smaller ones."""
PNG_BYTES = 2
"""Bytes of a pixel of a photo in a PNG file, roughly."""


@dataclass(frozen=True)
class DiskEstimate:
    """Bytes of the files of a run, and their numbers."""

    model: int
    models: int
    checkpoint: int
    checkpoints: int
    sample_grid: int
    sample_grids: int | None
    """None: as many as the time allows."""

    @property
    def total(self) -> int:
        """Bytes of all files at the end; of sample grids, those whose number is known."""
        files = self.models * self.model + self.checkpoints * self.checkpoint
        return files + (self.sample_grids or 0) * self.sample_grid

    @property
    def peak(self) -> int:
        """Bytes while a checkpoint and a model are replaced: the new ones are written before the old ones go."""
        return self.total + self.checkpoint + self.model

    def __str__(self) -> str:
        models = "model" if self.models == 1 else f"{self.models:,} models of"
        number = "" if self.sample_grids is None else f"{self.sample_grids:,} "
        grids = f"{number}sample grid{'' if self.sample_grids == 1 else 's'} of {file_size(self.sample_grid)}"
        return (
            f"about {file_size(self.total)} on disk ({models} {file_size(self.model)}, {self.checkpoints:,} checkpoints of "
            f"{file_size(self.checkpoint)}, {grids})"
        )


def estimate_disk(method: Method, cfg: TrainConfig, precision: Precision, planned: int, processes: int) -> DiskEstimate:
    """Return the disk space of a run of `planned` images in all.

    Args:
        method: The method on the meta device: only shapes are needed.
        cfg: Settings of the run.
        precision: That of the training.
        planned: Images of the whole run.
        processes: Processes, each of which has buffers of its own.
    """
    size = precision.weights.itemsize

    def weights(names: set[str]) -> int:
        return size * sum(p.numel() for name in names for p in method.get_submodule(name).parameters())

    exported = {*method.generator_names.values(), *method.style_networks, *method.sampling_networks}
    buffers = sum(b.numel() * (size if b.is_floating_point() else b.element_size()) for b in method.buffers())
    checkpoint = size * sum(p.numel() for p in method.parameters()) + buffers * processes
    for update in method.updates.values():
        checkpoint += MOMENTS[update.optimizer] * weights(set(update.networks))
    if cfg.ema_half_life:
        checkpoint += weights(set(method.ema))
    kept = planned // cfg.keep_every if cfg.keep_every else 0
    grids = cfg.sample_every or cfg.save_every
    return DiskEstimate(
        model=weights(exported),
        models=1 + bool(cfg.evaluate_every) + kept,
        checkpoint=checkpoint,
        checkpoints=KEEP_NEWEST + kept,
        sample_grid=PNG_BYTES * GRID_IMAGES * max(cfg.crop_size, GRID_SIDE) ** 2,
        sample_grids=planned // grids + 1 if grids else None,
    )
