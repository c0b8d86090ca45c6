"""Samples that worker processes load."""

import pytest

from translate.data import stream_dataset
from translate.data.preprocessing import Preprocessing

from .helpers import make_stream_dataset, same_batches


@pytest.mark.parametrize("rule", ["none", "crop"])
def test_what_a_worker_hands_over_is_what_was_asked_for(rule, split):
    """Stacked where images are of one size, one by one where they are not."""
    images_of_run = make_stream_dataset(split, Preprocessing(22, 18, True, (3, 3), rule), False)
    handed, skipped = stream_dataset._answer(images_of_run, list(range(9)))
    assert isinstance(handed, dict) == (rule == "crop")
    assert same_batches(
        stream_dataset._unstacked(handed), [found for found, _ in images_of_run.load_batch(list(range(9)))]
    )
    assert not skipped
