"""Sizes of micro-batches that each method takes."""

import pytest

from translate.methods import METHODS
from translate.training.micro_batches import next_micro_batch_count

from .conftest import tiny_config


@pytest.mark.parametrize("name", METHODS)
def test_the_parts_that_follow_a_lack_of_memory_are_taken(name):
    """A run that runs out of memory goes on with them, so they must not be refused."""
    method, parts = METHODS[name], 1
    while parts is not None:
        method.resolve_config(tiny_config(name, batch_size=8, accumulate=parts))
        parts = next_micro_batch_count(8, parts, method.batch_multiple, method.smallest_micro_batch)
