"""Batches on a GPU, as far as it can be proved without one: gathered from images on the device, or sent from the host."""

from types import SimpleNamespace

import pytest
import torch

from translate.data.crop_flip import Cuts
from translate.data.in_memory import InMemorySource
from translate.data.loader_context import RING_SIZE, prefetch_on_stream
from translate.runtime.transfer import BatchTransfer

from .harness import CUDA, DeviceWatch, cuda_without_device

CROP, COUNT = 24, 3


@pytest.fixture(autouse=True)
def cuda():
    with cuda_without_device():
        yield


def on_device(*shape, dtype=torch.int64):
    return torch.empty(shape, dtype=dtype, device=CUDA)


def store(uniform, depth):
    """Images on the device, of one size or of several, whose pixels then lie one after another."""
    data = on_device(5, 3, 32, 32, dtype=depth) if uniform else on_device(5 * 3 * 32 * 32, dtype=depth)
    sizes = {name: torch.empty(5, dtype=torch.int64) for name in ("offsets", "heights", "widths")}
    return SimpleNamespace(data=data, channels=3, uniform=uniform, **sizes)


@pytest.mark.parametrize("uniform", [True, False], ids=["one size", "many sizes"])
@pytest.mark.parametrize("depth", [torch.uint8, torch.float32])
def test_a_batch_is_gathered_on_the_device(uniform, depth, monkeypatch):
    """The plan of a block is copied to the device at once; after that nothing is."""
    cuts = Cuts(on_device(COUNT), on_device(COUNT), on_device(COUNT, dtype=torch.bool))
    step = SimpleNamespace(numbers=None, store_index={"a": on_device(COUNT)}, cuts={"a": cuts}, labels={})
    source = object.__new__(InMemorySource)
    source.context = SimpleNamespace(
        device=CUDA, dtype=torch.float32, preprocessing=SimpleNamespace(random_crop_size=CROP), value_range=lambda *_: None
    )  # fmt: skip
    source.stores = {"a": store(uniform, depth)}
    monkeypatch.setattr(source, "_plan", lambda start, device=None: iter([step] * 4))
    batches = (batch for _, batch in source._gathered(0))
    next(batches)  # the sizes of the images are copied to the device once
    with DeviceWatch():
        x = next(prefetch_on_stream(batches, CUDA))["a"]
    assert (x.shape, x.dtype, x.device) == ((COUNT, 3, CROP, CROP), torch.float32, CUDA)


def test_a_batch_is_sent_from_pinned_memory(monkeypatch):
    """Else the host would wait for the copy; buffers of the ring are used again."""
    pinned = []
    empty_like = torch.empty_like

    def pin(x, pin_memory=False):
        pinned.append(pin_memory)
        return empty_like(x)

    monkeypatch.setattr(torch, "empty_like", pin)
    sender = BatchTransfer(CUDA, RING_SIZE)
    for _ in range(RING_SIZE + 2):
        batch = sender.receive(sender.send({"a": torch.empty(2, 3, 8, 8, dtype=torch.uint8)}))
        assert (batch["a"].device, batch["a"].shape) == (CUDA, (2, 3, 8, 8))
    assert pinned == [True] * RING_SIZE
