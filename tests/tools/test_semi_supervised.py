"""The tool that compares sgan with its baseline: intervals by hand, and the difference of pairs."""

import pytest
import semi_supervised as tool
import torch


def test_the_interval_is_students():
    """Of 1, 2 and 3: deviation 1, √3 in the denominator, and t = 4.303 for two degrees of freedom."""
    mean, half = tool.interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.303 / 3**0.5))
    assert tool.interval([5.0]) == (5.0, None)


def test_the_difference_is_that_of_trainings_with_one_seed():
    lines = tool.rows({"sgan": [10.0, 20.0], "labels alone": [30.0, 40.0]})
    assert lines[2].startswith("difference     error -20.00 ± 0.00 %")


def test_a_sheet_has_a_column_for_each_class_that_is_seen_often_enough(build, monkeypatch):
    """A classifier that sees the second class in every third image, and else the first."""
    run = build("sgan", networks="dense", crop_size=8, load_size=8, d_width=16, g_width=16, classes="x,y,z")
    monkeypatch.setattr(
        tool.ImageSampler, "classify", lambda self, x: torch.eye(3)[[int(n % 3 == 0) for n in range(len(x))]]
    )
    drawn = {}
    monkeypatch.setattr(tool.images, "make_comparison_grid", lambda columns, scale_to: drawn.update(columns))
    tool.draw_classes(run, count=12)
    assert {name: len(x) for name, x in drawn.items()} == {"x": 4, "y": 4}
    sampled = tool.ImageSampler(tool.find.read_model(run), torch.device("cpu"))(range(12))
    assert torch.equal(drawn["y"], sampled[::3])
