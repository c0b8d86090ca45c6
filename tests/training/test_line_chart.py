"""Line charts as SVG."""

import re

import pytest

from translate.training import line_chart


def polylines(figure):
    """Class → points of each curve."""
    found = re.findall(r'<polyline class="(l\d)[^"]*"[^>]* points="([^"]*)"', figure)
    return {name: [tuple(map(float, point.split(","))) for point in points.split()] for name, points in found}


def test_a_straight_line_stays_straight_and_higher_values_stand_higher():
    figure = line_chart.line_chart({"up": [(0, 1.0), (50, 2.0), (100, 3.0)]})
    ((left, low), (middle, half), (right, high)) = polylines(figure)["l0"]
    assert (left, right) == (line_chart.LEFT, line_chart.WIDTH - 6)
    assert (middle, half) == (pytest.approx((left + right) / 2, abs=0.1), pytest.approx((low + high) / 2, abs=0.1))
    assert line_chart.TOP < high < low < line_chart.HEIGHT - line_chart.BOTTOM


def test_curves_have_their_colours_and_names():
    curves = {"g & co": [(0, 1.0), (1, 2.0)], "d": [(0, 3.0), (1, 4.0)]}
    figure = line_chart.line_chart(curves, {"g & co": 1, "d": 0})
    assert polylines(figure).keys() == {"l0", "l1"}
    assert '<i class="l1"></i>g &amp; co<i class="l0"></i>d' in figure


def test_long_curves_are_means_of_their_parts():
    """Of 1,200 alternating values every mean of 10 is the middle, so the curve is level."""
    figure = line_chart.line_chart({"x": [(n, n % 2) for n in range(1200)]})
    points = polylines(figure)["l0"]
    assert len(points) == line_chart.MAX_POINTS
    assert len({y for _, y in points}) == 1


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf"), float("-inf")]])
def test_without_a_finite_point_there_is_no_chart(values):
    assert line_chart.line_chart({"x": list(enumerate(values))}) == ""


def test_one_point_is_a_dot_and_a_level_curve_can_be_drawn():
    dot = line_chart.line_chart({"x": [(5, 2.0)]}, right=10)
    ((point, same),) = polylines(dot).values()
    assert point == same
    assert point[0] == pytest.approx((line_chart.LEFT + line_chart.WIDTH - 6) / 2)  # 5 of 10
    assert 'class="l0 dot"' in dot
    ((first, last),) = polylines(line_chart.line_chart({"x": [(5, 0.0), (6, 0.0)]})).values()
    assert first[0] < last[0]
    assert first[1] == last[1]
