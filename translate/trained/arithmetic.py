"""Arithmetic of conversions: as exact as the reference's or as fast as chosen, and the check that outputs are numbers."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from translate.errors import NonFiniteError
from translate.nn.tuned_conv import direct_convolution
from translate.runtime.precision import Precision


def check_finite(output: Tensor, precision: Precision) -> None:
    """Raise NonFiniteError, with a remedy, if the output of a network holds NaN or infinite values."""
    if torch.isfinite(output).all():
        return
    remedy = (
        "use --precision fp32, whose numbers reach further"
        if precision.compute is not None
        else "its weights are damaged or its training has diverged: use an earlier checkpoint"
    )
    raise NonFiniteError(f"the network's output is not finite (it holds NaN or infinite values); {remedy}")


def arithmetic_mode(*, exact: bool) -> AbstractContextManager[None]:
    """Return a context in which convolutions are computed to the reference's last bits (`exact`), or as they were chosen."""
    return direct_convolution() if exact else nullcontext()
