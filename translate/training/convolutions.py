"""Choice of the convolutions of a training: for the crops and the batch that it trains on."""

from collections.abc import Callable, Mapping

from translate.convolution_choice import (
    PROBE_SIDE,
    ConvolutionRecord,
    Probe,
    copy_convolutions,
    resolve_convolution,
    set_convolutions,
)
from translate.convolution_timing import TRAINING
from translate.methods.base import Batch
from translate.runtime import distributed
from translate.training.engine import Engine


def choose_convolutions(
    engine: Engine, sample: Batch, batch_size: int, recorded: Mapping[str, str] | None, say: Callable[[str], None]
) -> ConvolutionRecord | None:
    """Set how all convolutions of a training are computed, in every process as in the first; returns the record.

    Args:
        engine: The engine. `convolution`, `tune` and `crop_size` are settings of its method.
        sample: Batch of images, as for a sample grid.
        batch_size: Images of a micro-batch.
        recorded: Record of the run that is resumed; empty for a new one, None for one of version 0.1.
        say: Gets a line if something was timed.
    """
    method, cfg = engine.method, engine.method.cfg
    multiple, minimum = method.size_rule.values()
    wanted = -(-max(PROBE_SIDE, minimum) // multiple) * multiple
    side = min(wanted, *(length for x in sample.values() if x.ndim == 4 for length in x.shape[2:]))
    small = {name: x[:1, :, :side, :side] if x.ndim == 4 else x[:1] for name, x in sample.items()}

    def run() -> None:
        with engine.evaluation_mode():
            method.preview(engine.with_keys(small))

    record = set_convolutions(
        method,
        resolve_convolution(cfg.convolution, engine.precision, cfg.tune),
        recorded,
        lambda: Probe(run, TRAINING, batch_size, cfg.crop_size / side),
        say,
        distributed.broadcast_object,
    )
    for name, average in engine.ema.networks.items():
        copy_convolutions(method.get_submodule(name), average)
    return record
