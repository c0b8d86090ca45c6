"""Exponential moving average (EMA) of weights, exported instead of the weights where it is on.

Yaz et al., "The Unusual Effectiveness of Averaging in GAN Training", 2018.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

RAMP_UP = 0.05
"""The half-life is at most this share of the images seen, so that the first weights are soon forgotten (Karras et al.,
"Training Generative Adversarial Networks with Limited Data", 2020, its official code)."""


class EMA:
    """Exponential moving averages of networks: copies whose weights follow; their buffers are those of the networks.

    `half_life`: images after which the weights of a step count half; 0: no averages are kept.
    """

    def __init__(self, method: nn.Module, networks: Sequence[str], half_life: int) -> None:
        self.method, self.half_life = method, half_life
        names = networks if half_life else ()
        self.networks = {name: copy.deepcopy(method.get_submodule(name)).requires_grad_(False) for name in names}

    def __bool__(self) -> bool:
        return bool(self.networks)

    def decay(self, images: int, count: int) -> float:
        """Return the decay (0 to 1) of the averages in a step of `count` images, after which `images` have been seen."""
        return 0.5 ** (count / min(self.half_life, RAMP_UP * images))

    @torch.no_grad()
    def update(self, share: float | Tensor) -> None:
        """Move the averages towards their networks by `share`, 1 − decay; a 0-dim tensor is read on the device."""
        for name, average in self.networks.items():
            network = self.method.get_submodule(name)
            averaged, current = ([p.data for p in net.parameters()] for net in (average, network))
            if isinstance(share, Tensor):
                torch._foreach_lerp_(averaged, current, [share.to(p.dtype) for p in averaged])
            else:
                torch._foreach_lerp_(averaged, current, share)
            for buffer, source in zip(average.buffers(), network.buffers(), strict=True):
                buffer.copy_(source)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Replace the method's networks by their averages within the block."""
        own = {name: self.method.get_submodule(name) for name in self.networks}
        try:
            self._put(self.networks)
            yield
        finally:
            self._put(own)

    def _put(self, networks: Mapping[str, nn.Module]) -> None:
        for name, network in networks.items():
            parent, _, attribute = name.rpartition(".")
            setattr(self.method.get_submodule(parent), attribute, network)

    def state(self) -> dict[str, Any]:
        """Return the averaged weights of each network, without its buffers, which are those of the method's network."""
        return {
            name: {key: p.detach() for key, p in network.named_parameters(remove_duplicate=False)}
            for name, network in self.networks.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned, once the method has its own; averages that it lacks start at the current weights.

        States of version 0.1 hold the buffers too.
        """
        for name, network in self.networks.items():
            network.load_state_dict({**self.method.get_submodule(name).state_dict(), **state.get(name, {})})
