"""What is due after a step."""

import pytest

from translate.training.cadence import crosses_multiple


@pytest.mark.parametrize(
    ("before", "now", "every", "result"),
    [
        (0, 1, 4, False),
        (3, 4, 4, True),
        (4, 5, 4, False),
        (0, 16, 4, True),
        (5, 9, 10, False),
        (9, 11, 10, True),
        (0, 9, None, False),
    ],
)
def test_things_are_due_at_the_first_step_that_reaches_a_multiple(before, now, every, result):
    assert crosses_multiple(before, now, every) == result
