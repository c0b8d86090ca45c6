"""Equal parts of a batch, in lockstep."""

import pytest
import torch

from translate.runtime.precision import PRECISIONS
from translate.training.micro_batches import next_losses, next_micro_batch_count, split_batch

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("batch", "parts", "multiple", "next_parts"),
    [
        (8, 1, 1, 2),
        (8, 2, 1, 4),
        (6, 1, 1, 2),
        (6, 2, 1, 6),
        (3, 1, 1, 3),
        (1, 1, 1, None),
        (8, 4, 2, None),
        (8, 2, 2, 4),
    ],
)
def test_the_next_number_of_micro_batches(batch, parts, multiple, next_parts):
    assert next_micro_batch_count(batch, parts, multiple) == next_parts


def test_a_micro_batch_keeps_the_smallest_number_of_images():
    assert next_micro_batch_count(8, 2, 1, smallest=2) == 4
    assert next_micro_batch_count(8, 4, 1, smallest=2) is None
    assert next_micro_batch_count(6, 2, 1, smallest=2) is None, "3 parts are not twice as many"


def steps_of(*names):
    """One step for each micro-batch, which yields the losses of these updates."""

    def step(yielded):
        for name in yielded:
            yield name, {"loss": torch.zeros(())}

    return [step(yielded) for yielded in names]


def test_a_batch_is_split_into_equal_parts_in_order():
    batch = {"a": torch.arange(6), "b": torch.arange(12).view(6, 2)}
    parts = split_batch(batch, 3)
    assert [part["a"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(torch.cat([part["b"] for part in parts]), batch["b"])


def test_micro_batches_advance_from_yield_to_yield():
    steps = steps_of("gd", "gd")
    for expected in (["g", "g"], ["d", "d"], []):
        assert [update for update, _ in next_losses(steps, PRECISIONS["fp32"], CPU)] == expected


@pytest.mark.parametrize("names", [("g", "d"), ("g", ""), ("", "g")])
def test_micro_batches_that_yield_different_updates_are_refused(names):
    with pytest.raises(RuntimeError, match="disagree"):
        list(next_losses(steps_of(*names), PRECISIONS["fp32"], CPU))
