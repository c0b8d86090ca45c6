"""The tool that compares sgan with its baseline: intervals by hand, and the difference of pairs."""

import pytest
import semi_supervised as tool


def test_the_interval_is_students():
    """Of 1, 2 and 3: deviation 1, √3 in the denominator, and t = 4.303 for two degrees of freedom."""
    mean, half = tool.interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.303 / 3**0.5))
    assert tool.interval([5.0]) == (5.0, None)


def test_the_difference_is_that_of_trainings_with_one_seed():
    lines = tool.rows({"sgan": [10.0, 20.0], "labels alone": [30.0, 40.0]})
    assert lines[2].startswith("difference     error -20.00 ± 0.00 %")
