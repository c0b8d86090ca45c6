"""Replacement of unreadable images."""

import pytest

from translate.data.in_memory import readable_substitutes


@pytest.mark.parametrize(
    ("bad", "used"),
    [((), [0, 1, 2, 3, 4]), ((1, 2, 4), [0, 3, 3, 3, 0]), ((0,), [1, 1, 2, 3, 4]), ((0, 1, 2, 4), [3] * 5)],
)
def test_the_next_readable_image_takes_the_place(bad, used):
    assert readable_substitutes([i not in bad for i in range(5)]) == used
