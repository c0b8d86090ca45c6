"""Frozen networks: given weights that no training changes and no checkpoint holds; and a pass that trains no weights."""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def freeze(network: nn.Module, *, stored: bool = False) -> nn.Module:
    """Freeze a network in place, and return it: its weights become buffers that no state dict has, in evaluation mode.

    stored: state dicts have them as before, so that a checkpoint and a model hold weights that come from elsewhere.

    So no optimizer finds them and no checkpoint or model stores them, while gradients pass through to the input. Freezing
    twice is the same as once.
    """
    network.eval()
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach(), persistent=stored)
        for name, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, buffer, persistent=stored)
    return network


def apply_frozen(network: nn.Module, *inputs: Tensor) -> Any:
    """Return the output of a network for its inputs, with a gradient to them and none to its weights.

    For a loss that must not train a network which another loss of the same update trains.
    """
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return functional_call(network, weights, inputs)
