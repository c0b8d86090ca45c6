"""Columns of a sample grid: the fixed sample images, and what the networks make of them."""

import torch
from torch import Tensor

from translate.methods.base import Batch
from translate.training.engine import Engine


def preview(engine: Engine, sample: Batch) -> dict[str, Tensor]:
    """Return the method's columns of the sample images: name → images (N, C, H, W) in [-1, 1].

    Where EMA is on, the images that the averaged networks make stand beside those that differ from them, as "<name> ema".
    """
    batch = engine.with_keys(sample)
    columns = _columns(engine, batch)
    if not engine.ema:
        return columns
    with engine.ema.swapped_in():
        averaged = _columns(engine, batch)
    paired: dict[str, Tensor] = {}
    for name, column in columns.items():
        paired[name] = column
        if not torch.equal(averaged[name], column):
            paired[f"{name} ema"] = averaged[name]
    return paired


def _columns(engine: Engine, batch: Batch) -> dict[str, Tensor]:
    with engine.evaluation_mode():
        return engine.method.preview(batch)
