"""Gradient checkpointing: inner maps are computed again in the backward pass instead of being kept from the forward pass (Chen
et al., "Training Deep Nets with Sublinear Memory Cost", 2016)."""

from collections.abc import Sequence
from contextlib import nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from translate.nn.blocks import Dropout


def checkpoint_layers(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Apply the layers to x in turn, keeping x alone for the backward pass.

    Output and gradients are those of the layers themselves to the bit: dropout draws the same masks again, and the running
    statistics of batch norms are updated once. Gradients may be differentiated again.
    """
    modules = [module for layer in layers for module in layer.modules()]
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return checkpoint(
        run,
        x,
        use_reentrant=False,  # the other kind gives no gradients where backward has `inputs`
        context_fn=lambda: (nullcontext(), _FrozenStatistics(norms)),
        preserve_rng_state=any(isinstance(module, Dropout) for module in modules),
    )


class _FrozenStatistics:
    """Context in which batch norms normalise as in training, but leave their running statistics and counts as they are.

    By momentum 0, not by switching statistics off: the tensors kept for the backward pass must be the same in both passes.
    It is entered once for each order of derivative.
    """

    def __init__(self, norms: Sequence[nn.BatchNorm2d]) -> None:
        self.norms = norms

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
