"""Copies of batches to a device, with the CPU as the device."""

from contextlib import contextmanager
from functools import partial
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from translate.data import layouts
from translate.data.in_memory import InMemorySource
from translate.data.loader import Loader, LoaderOptions
from translate.data.loader_context import RING_SIZE, LoaderContext, prefetch_on_stream, prefetch_to_device
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import BatchSampler, Sampler
from translate.data.streaming import StreamingSource
from translate.runtime import transfer

CPU = torch.device("cpu")
TIERS = ["resident", "ram", "stream"]


def make(
    split,
    preprocessing,
    *,
    tier="resident",
    batch_size=1,
    seed=0,
    workers=0,
    said=None,
    dtype=torch.float32,
    device=CPU,
    **options,
):
    say = (said if said is not None else []).append
    options = LoaderOptions(batch_size=batch_size, seed=seed, tier=tier, workers=workers, **options)
    return Loader(split, preprocessing, options, device=device, dtype=dtype, say=say)


def take(batches, count):
    """The first batches; those of a tier with their numbers, those of a loader without."""
    taken = (batch[1] if isinstance(batch, tuple) else batch for batch in batches)
    return [{name: x.clone() for name, x in batch.items()} for batch in islice(taken, count)]


def same(first, second):
    return len(first) == len(second) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(first, second, strict=True)
    )


def context(split, preprocessing, batch_size=2, seed=0):
    sampler = Sampler(split, seed)
    return LoaderContext(
        split,
        preprocessing,
        sampler,
        BatchSampler(sampler, batch_size),
        CPU,
        torch.float32,
        lambda line: None,
        workers=0,
    )


def photo(path, height, width, seed, *, like=None, **options):
    """A smooth image; `like` another of another size."""
    coarse = np.random.default_rng(seed if like is None else like).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)


SIZES = [(31, 50), (64, 33), (20, 20), (18, 41), (90, 27)]
"""Heights and widths, upright and across, some with a side below the load size."""


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """unpaired: A and B of many sizes. paired: twins of A's sizes and others. halves: side by side, odd widths too."""
    root = tmp_path_factory.mktemp("sizes")
    for i, (height, width) in enumerate(SIZES):
        photo(root / "unpaired/trainA" / f"{i}.png", height, width, i)
        photo(root / "paired/trainA" / f"{i}.png", height, width, i)
        photo(root / "paired/trainB" / f"{i}.png", *SIZES[(i + 1) % len(SIZES)], 50 + i)
        photo(root / "halves/train" / f"{i}.png", height, 2 * width + i % 2, i)
    for i, (height, width) in enumerate(SIZES[1:]):
        photo(root / "unpaired/trainB" / f"{i}.png", width, height, 20 + i)
    return root


@pytest.fixture(params=["unpaired", "paired", "halves"])
def split(request, roots):
    return layouts.find_split(roots / request.param, "unpaired" if request.param == "unpaired" else "paired")


RULES = ["resize_and_crop", "crop", "scale_width_and_crop", "none"]


# The way to a device: the same code with the CPU as the device.


def test_what_is_sent_is_received():
    sender = transfer.BatchTransfer(CPU, RING_SIZE)
    batches = [{"a": torch.full((2, 3), float(i)), "b": torch.full((1,), -i)} for i in range(10)]
    for batch in batches:
        assert same([sender.receive(sender.send(batch))], [batch])


def test_batches_are_sent_ahead_in_order(roots):
    split = layouts.find_split(roots / "unpaired", "unpaired")
    asked = []

    def stored():
        for i in range(9):
            asked.append(i)
            yield torch.tensor([i]), {"a": torch.full((1, 3, 2, 2), i, dtype=torch.uint8)}

    came = []
    for numbers, batch in prefetch_to_device(context(split, Preprocessing(22, 18, True, (3, 3))), stored()):
        assert len(asked) == int(numbers) + 2 or int(numbers) == 8  # the next one is already on its way
        assert torch.equal(batch["a"], torch.full((1, 3, 2, 2), int(numbers) / 255 * 2 - 1))
        came.append(int(numbers))
    assert came[:8] == list(range(8))


@pytest.mark.parametrize("rule", RULES)
def test_the_ways_to_a_device_give_the_same_bits(split, rule):
    """Cut on the host and sent, or gathered; of images of one size and of many."""
    preprocessing = Preprocessing(22, 18, True, (3, 3), rule)
    memory = InMemorySource(context(split, preprocessing, 1 if rule == "none" else 3), on_device=True)
    assert memory.stores["a"].uniform == (rule == "resize_and_crop")
    sliced = take(memory._sliced(4), 9)
    assert same(take(memory._gathered(4), 9), sliced)
    assert same(take(prefetch_to_device(memory.context, memory.crop_on_host(4)), 9), sliced)
    assert same(take(prefetch_to_device(memory.context, StreamingSource(memory.context)._stacked(4)), 9), sliced)


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
        build = partial(make, split, Preprocessing(22, 18, True, (3, 3)), tier=tier, batch_size=3, **options)
        there, here = (take(build(device=torch.device(kind)).batches(0), 12) for kind in ("cuda", "cpu"))
        for x, y in zip(there, here, strict=True):
            for name in y:
                torch.testing.assert_close(x[name].cpu(), y[name], rtol=0, atol=1e-3 if options else 1e-6)
