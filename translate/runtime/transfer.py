"""Asynchronous copies of batches from the host to a device."""

from collections.abc import Mapping

import torch
from torch import Tensor


class BatchTransfer:
    """Copies batches from the host to a device; on CUDA by a stream of its own, beside the computation.

    `ring` batches may be on the way at a time: their pinned buffers are used in turn.
    """

    def __init__(self, device: torch.device, ring: int) -> None:
        self.device, self.ring, self.turn = device, ring, 0
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pinned: list[dict[str, Tensor]] = [{} for _ in range(ring)]
        self._sent: list[torch.cuda.Event | None] = [None] * ring

    def send(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        """Starts the copies; what `receive` takes."""
        turn = self.turn = (self.turn + 1) % self.ring
        if self.stream is None:
            return {name: x.to(self.device) for name, x in batch.items()}, turn
        if (event := self._sent[turn]) is not None:
            event.synchronize()  # of a copy that was started `ring` batches ago
        with torch.cuda.stream(self.stream):
            sent = {name: self._pin(name, x, turn).to(self.device, non_blocking=True) for name, x in batch.items()}
            event = self._sent[turn] = torch.cuda.Event()
            event.record()
        return sent, turn

    def _pin(self, name: str, x: Tensor, turn: int) -> Tensor:
        """The tensor in a pinned buffer."""
        held = self._pinned[turn].get(name)
        if held is None or held.shape != x.shape or held.dtype != x.dtype:
            held = self._pinned[turn][name] = torch.empty_like(x, pin_memory=True)
        return held.copy_(x)

    def receive(self, sent: tuple[dict[str, Tensor], int]) -> dict[str, Tensor]:
        """The batch on the device, for work that is started from now on."""
        batch, turn = sent
        event = self._sent[turn]
        if event is not None:
            wait_for(batch, event, self.device)
        return batch


def wait_for(batch: Mapping[str, Tensor], done: torch.cuda.Event, device: torch.device) -> None:
    """Makes a batch of another stream fit for work that is started from now on: it waits for the event, the host does not."""
    current = torch.cuda.current_stream(device)
    current.wait_event(done)
    for x in batch.values():
        x.record_stream(current)  # or its memory could be given away while it is still read


def to_device_async(x: Tensor, device: torch.device) -> Tensor:
    """x of the host on the device; the host does not wait for the copy."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)
