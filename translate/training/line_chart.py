"""Line charts as SVG, for pages of HTML."""

import math
from collections.abc import Mapping, Sequence

from translate.html import escape_text
from translate.text import format_number

Curve = Sequence[tuple[float, float]]
"""Points (x, y), in the order of x."""

WIDTH, HEIGHT = 340, 170
"""Size of the drawing, in units that scale with the page."""
LEFT, TOP, BOTTOM = 52, 8, 20
"""Margins for the numbers."""
MAX_POINTS = 120
"""Points of a drawn curve; longer ones are averaged in parts."""

COLOURS = 4
"""Number of the colours in CHART_STYLE; further curves repeat them, dashed."""

CHART_STYLE = """
:root { --line-0: #c2571a; --line-1: #1f6fb5; --line-2: #2d8a4e; --line-3: #8a4fb0; }
@media (prefers-color-scheme: dark) { :root { --line-0: #ff9a5c; --line-1: #6db3f2; --line-2: #6fcf8e; --line-3: #c79be8; } }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); gap: 1.25rem; }
.chart { margin: 0; }
.chart svg { display: block; width: 100%; height: auto; }
.chart figcaption { font-size: .85rem; padding-top: .15rem; }
.chart text { fill: var(--soft); font: 10px system-ui, sans-serif; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
.chart polyline.dot { stroke-width: 5; }
.chart i { display: inline-block; width: .8em; height: .2em; margin: 0 .3em .25em .8em; border-radius: 1px; }
.chart i:first-child { margin-left: 0; }
""" + "".join(
    f".chart .l{n} {{ stroke: var(--line-{n}); }} .chart i.l{n} {{ background: var(--line-{n}); }}\n"
    for n in range(COLOURS)
)
"""Style of the charts, in light and in dark."""


def line_chart(
    curves: Mapping[str, Curve], colours: Mapping[str, int] | None = None, right: float | None = None
) -> str:
    """Return a figure that draws curves over an x axis from 0, with a legend; an empty text if no curve has a finite point.

    `colours`: curve → number of its colour [default: in their order]. `right`: end of the x axis [default: the last point].
    """
    drawn = {name: _averaged([point for point in curve if math.isfinite(point[1])]) for name, curve in curves.items()}
    drawn = {name: curve for name, curve in drawn.items() if curve}
    if not drawn:
        return ""
    xs = [x for curve in drawn.values() for x, _ in curve]
    ys = [y for curve in drawn.values() for _, y in curve]
    scale = _Scale(max(xs) if right is None else right, min(ys), max(ys))
    colour = {name: (colours or {}).get(name, number) for number, name in enumerate(drawn)}
    lines = "".join(_polyline(curve, scale, colour[name]) for name, curve in drawn.items())
    legend = "".join(f'<i class="l{colour[name] % COLOURS}"></i>{escape_text(name)}' for name in drawn)
    words = escape_text(", ".join(drawn))
    return (
        f'<figure class="chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{scale.axes()}{lines}</svg>'
        f"<figcaption>{legend}</figcaption></figure>"
    )


class _Scale:
    """Mapping of values to the drawing, whose axes go from 0 to `right` and from below `low` to above `high`."""

    def __init__(self, right: float, low: float, high: float) -> None:
        self.right = right if right > 0 else 1.0
        slack = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        self.low, self.high = low - slack, high + slack

    def x(self, value: float) -> float:
        return LEFT + value / self.right * (WIDTH - LEFT - 6)

    def y(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> str:
        """Return three lines with their values, and the ends of the x axis."""
        parts = []
        for share in (0.1, 0.5, 0.9):
            value = self.low + share * (self.high - self.low)
            y = f"{self.y(value):.1f}"
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 6}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{y}" dy="3" text-anchor="end">{format_number(value)}</text>')
        for value, anchor in ((0.0, "start"), (self.right, "end")):
            parts.append(f'<text x="{self.x(value):.1f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{value:,.0f}</text>')
        return "".join(parts)


def _polyline(curve: Curve, scale: _Scale, colour: int) -> str:
    points = [f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in curve]
    if len(points) == 1:  # of a line of no length only the round ends are drawn
        points *= 2
    dashes = ' stroke-dasharray="4 3"' if colour >= COLOURS else ""
    dot = " dot" if len(curve) == 1 else ""
    return f'<polyline class="l{colour % COLOURS}{dot}"{dashes} points="{" ".join(points)}"/>'


def _averaged(curve: Curve) -> Curve:
    """Return at most MAX_POINTS points, each the mean of as many neighbours."""
    size = math.ceil(len(curve) / MAX_POINTS)
    if size <= 1:
        return curve
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
