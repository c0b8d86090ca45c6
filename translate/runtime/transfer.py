"""Asynchronous copies of batches from the host to a device."""

from collections.abc import Mapping

import torch
from torch import Tensor

from translate.runtime import devices


class BatchTransfer:
    """Transfer of batches from the host to a device; on CUDA on a stream of its own, beside the computation.

    `ring`: batches that may be on the way at a time; their pinned buffers are used in turn.
    """

    def __init__(self, device: torch.device, ring: int) -> None:
        self.device, self.ring, self.turn = device, ring, 0
        self.stream = devices.new_stream(device) if device.type == "cuda" else None
        self._pinned: list[dict[str, Tensor]] = [{} for _ in range(ring)]
        self._sent: list[devices.Event | None] = [None] * ring

    def send(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        """Start to copy a batch; returns the argument of `receive`."""
        turn = self.turn = (self.turn + 1) % self.ring
        if self.stream is None:
            return {name: x.to(self.device) for name, x in batch.items()}, turn
        if (event := self._sent[turn]) is not None:
            event.synchronize()  # the copy that was started `ring` batches ago
        with devices.on_stream(self.stream):
            sent = {name: self._pin(name, x, turn).to(self.device, non_blocking=True) for name, x in batch.items()}
            event = self._sent[turn] = devices.new_event()
            event.record()
        return sent, turn

    def _pin(self, name: str, x: Tensor, turn: int) -> Tensor:
        """Copy a tensor into its pinned buffer of this turn."""
        buffer = self._pinned[turn].get(name)
        if buffer is None or buffer.shape != x.shape or buffer.dtype != x.dtype:
            buffer = self._pinned[turn][name] = torch.empty_like(x, pin_memory=True)
        return buffer.copy_(x)

    def receive(self, sent: tuple[dict[str, Tensor], int]) -> dict[str, Tensor]:
        """Return the batch on the device, for work that is started from now on."""
        batch, turn = sent
        event = self._sent[turn]
        if event is not None:
            wait_for(batch, event, self.device)
        return batch


def wait_for(batch: Mapping[str, Tensor], done: devices.Event, device: torch.device) -> None:
    """Let the current stream wait for a batch that another stream makes, until the event `done`; the host does not wait."""
    current = devices.current_stream(device)
    current.wait_event(done)
    for x in batch.values():
        x.record_stream(current)  # or its memory could be reused while it is still read


def to_device_async(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to the device; on CUDA the host does not wait for the copy."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)
