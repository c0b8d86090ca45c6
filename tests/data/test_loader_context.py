"""Copies of batches to a device, with the CPU as the device."""

from contextlib import contextmanager
from functools import partial
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from translate.config import WHOLE_IMAGES
from translate.data import layouts
from translate.data.in_memory import InMemorySource
from translate.data.loader_context import RING_SIZE, prefetch_on_stream, prefetch_to_device
from translate.data.preprocessing import Preprocessing
from translate.data.streaming import StreamingSource
from translate.runtime import transfer

from .helpers import CPU, RULES, TIERS, first_batches, make_context, make_loader, same_batches

# The way to a device: the same code with the CPU as the device.


def test_what_is_sent_is_received():
    sender = transfer.BatchTransfer(CPU, RING_SIZE)
    batches = [{"a": torch.full((2, 3), float(i)), "b": torch.full((1,), -i)} for i in range(10)]
    for batch in batches:
        assert same_batches([sender.receive(sender.send(batch))], [batch])


def test_batches_are_sent_ahead_in_order(roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    asked = []

    def stored():
        for i in range(9):
            asked.append(i)
            yield torch.tensor([i]), {"a": torch.full((1, 3, 2, 2), i, dtype=torch.uint8)}

    came = []
    for numbers, batch in prefetch_to_device(make_context(split, Preprocessing(22, 18, True, (3, 3))), stored()):
        assert len(asked) == int(numbers) + 2 or int(numbers) == 8  # the next one is already on its way
        assert torch.equal(batch["a"], torch.full((1, 3, 2, 2), int(numbers) / 255 * 2 - 1))
        came.append(int(numbers))
    assert came[:8] == list(range(8))


@pytest.mark.parametrize("rule", RULES)
def test_the_ways_to_a_device_give_the_same_bits(split, rule):
    """Cut on the host and sent, or gathered; of images of one size and of many."""
    preprocessing = Preprocessing(22, 18, True, (3, 3), rule)
    memory = InMemorySource(make_context(split, preprocessing, 1 if rule in WHOLE_IMAGES else 3), on_device=True)
    assert memory.stores["a"].uniform == (rule == "resize_and_crop")
    sliced = first_batches(memory._sliced(4), 9)
    assert same_batches(first_batches(memory._gathered(4), 9), sliced)
    assert same_batches(first_batches(prefetch_to_device(memory.context, memory.crop_on_host(4)), 9), sliced)
    assert same_batches(
        first_batches(prefetch_to_device(memory.context, StreamingSource(memory.context)._stacked(4)), 9), sliced
    )


class Streams:
    """Stands for CUDA's streams and events: what is done on which stream, and what waits for what, in `log`."""

    def __init__(self, monkeypatch):
        self.log, self.current = [], "main"
        for name in ("Stream", "Event", "stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda x, on: self.log.append(f"{on.name} holds {int(x)}"))

    def Stream(self, device):  # noqa: N802
        return self._named("side")

    def current_stream(self, device):
        return self._named(self.current)

    def _named(self, name):
        def waits(what):
            self.log.append(f"{name} waits for {what.name}")

        return SimpleNamespace(name=name, wait_stream=waits, wait_event=waits)

    def Event(self):  # noqa: N802
        event = SimpleNamespace(name="nothing")
        event.record = lambda: setattr(event, "name", self.log[-1])
        return event

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        yield
        self.current = before


def test_batches_that_are_made_on_a_device_are_made_ahead_on_a_stream_of_their_own(monkeypatch):
    """Each is waited for by the stream that uses it, and held for it, but the one after it is begun first."""
    streams = Streams(monkeypatch)
    log = streams.log

    def batches():
        for n in range(9):
            log.append(f"{streams.current} makes {n}")
            yield {"a": torch.tensor(n)}

    for batch in islice(prefetch_on_stream(batches(), torch.device("cuda")), 2):
        log.append(f"{streams.current} uses {int(batch['a'])}")
    assert log == [
        "side waits for main", "side makes 0",
        "side makes 1", "main waits for side makes 0", "main holds 0", "main uses 0",
        "side makes 2", "main waits for side makes 1", "main holds 1", "main uses 1",
    ]  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("tier", TIERS)
def test_batches_on_cuda_are_those_of_the_cpu(tier, roots):
    """With augmentations too: to the rounding of another device."""
    split = layouts.find_split(roots / "unpaired", "unpaired")
    for options in ({}, {"augmentations": ("rotate", "color")}):
        build = partial(make_loader, split, Preprocessing(22, 18, True, (3, 3)), tier=tier, batch_size=3, **options)
        there, here = (first_batches(build(device=torch.device(kind)).batches(0), 12) for kind in ("cuda", "cpu"))
        for x, y in zip(there, here, strict=True):
            for name in y:
                torch.testing.assert_close(x[name].cpu(), y[name], rtol=0, atol=1e-3 if options else 1e-6)
