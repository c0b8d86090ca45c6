"""Gradient checkpointing: inner maps are computed again in the backward pass instead of being kept from the forward pass (Chen
et al., "Training Deep Nets with Sublinear Memory Cost", 2016)."""

from collections.abc import Sequence
from contextlib import nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from translate.nn.blocks import Dropout, FrozenStatistics


def checkpoint_layers(layers: Sequence[nn.Module], x: Tensor, *beside: Tensor) -> Tensor:
    """Apply the layers to x in turn, keeping x alone for the backward pass, and what each layer is given beside its input.

    Output and gradients are those of the layers themselves to the bit: dropout draws the same masks again, and the running
    statistics of batch norms are updated once. Gradients may be differentiated again.
    """
    modules = [module for layer in layers for module in layer.modules()]

    def run(x: Tensor, *beside: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x, *beside)
        return x

    return checkpoint(
        run,
        x,
        *beside,
        use_reentrant=False,  # the other kind gives no gradients where backward has `inputs`
        context_fn=lambda: (nullcontext(), FrozenStatistics(layers)),
        preserve_rng_state=any(isinstance(module, Dropout) for module in modules),
    )
