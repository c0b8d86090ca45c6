"""Tables of docs/quality.md from the lines of docs/quality.jsonl: means over seeds, excess over real images, and what is better
than copying the input."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ladder_recipes import ELEMENTS, MAIN, REFERENCES, Cell

from translate.evaluation.protocol import SIGNIFICANT
from translate.evaluation.uncertainty import Estimate
from translate.text import duration

BEGIN, END = "<!-- ladder:begin -->", "<!-- ladder:end -->"
"""Markers of docs/quality.md between which the tables stand."""

Line = Mapping[str, Any]
"""Line of docs/quality.jsonl: a finished training, or a reference, which has no method, budget and seed."""


@dataclass(frozen=True)
class Column:
    """Column of the tables."""

    key: str
    """Name of the metric in the lines."""
    title: str
    better: str
    """"lower" or "higher"."""

    @property
    def heading(self) -> str:
        return f"{self.title} {'↓' if self.better == 'lower' else '↑'}"


COLUMNS = (
    Column("kid_el0", "KID-EL0", "lower"),
    Column("kid_r50", "KID-R50", "lower"),
    Column("swd", "SWD", "lower"),
    Column("l1", "L1", "lower"),
    Column("psnr", "PSNR", "higher"),
    Column("ssim", "SSIM", "higher"),
    Column("log_checkerboard", "checkerboard", "lower"),
    Column("colour_shift", "colour", "lower"),
    Column("colour_spread", "colour spread", "lower"),
    Column("c2st", "c2st", "lower"),
)
KIDS = COLUMNS[:2]
REFERENCE_TITLES = {"copying": "copying the input", "colour_map": "colour map alone", "real": "real images"}


# Arithmetic.


def mean_over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean with its standard error over seeds; of a single one its own error, which is over images."""
    if len(estimates) == 1:
        return estimates[0]
    values = [estimate.value for estimate in estimates]
    return Estimate(statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first − second; the errors are taken as independent, and an unknown one as 0."""
    return Estimate(first.value - second.value, math.hypot(first.error or 0.0, second.error or 0.0))


def change_of_excess(new: Estimate, old: Estimate, real: Estimate) -> Estimate | None:
    """Return (new − real) / (old − real) − 1: −0.8 where the excess over real images is 80 % lower.

    The error is that of the delta method, to first order in the three errors. None where the old excess is not above 0 by
    SIGNIFICANT errors.
    """
    excess = difference(old, real)
    if not exceeds(excess):
        return None
    ratio = (new.value - real.value) / excess.value
    errors = (new.error or 0.0, ratio * (old.error or 0.0), (1 - ratio) * (real.error or 0.0))
    return Estimate(ratio - 1, math.hypot(*errors) / excess.value)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """Return an estimate times a number."""
    return Estimate(factor * estimate.value, estimate.error and factor * estimate.error)


def exceeds(estimate: Estimate) -> bool:
    """Return whether a value is above 0 by more than SIGNIFICANT standard errors."""
    return estimate.value > SIGNIFICANT * (estimate.error or 0.0)


def is_better(estimate: Estimate, reference: Estimate, better: str) -> bool:
    """Return whether an estimate is better than a reference by more than SIGNIFICANT standard errors of their difference."""
    pair = (reference, estimate) if better == "lower" else (estimate, reference)
    return exceeds(difference(*pair))


# Lines.


def cell_of(line: Line) -> Cell:
    """Return the cell of a finished training."""
    return Cell(line["set"], line["method"], line["recipe"], line["budget"], line["seed"])


def newest(lines: Iterable[Line]) -> dict[tuple[str, Any], Line]:
    """Return lines by the processor and the cell, or the set and reference; of several the last one."""
    return {
        (line["cpu"], (line["set"], line["recipe"]) if line["recipe"] in REFERENCES else cell_of(line)): line
        for line in lines
    }


@dataclass
class Group:
    """Trainings that are compared: of one set, method and budget, on one kind of processor."""

    cpu: str
    set: str
    method: str
    budget: float
    cells: dict[str, list[Line]] = field(default_factory=dict)
    """Finished trainings by recipe, those that diverged included."""
    references: dict[str, Line] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.set}, {self.method}, {duration(self.budget)}"

    def estimate(self, row: str, key: str) -> Estimate | None:
        """Return a metric of a reference, or its mean over the seeds of a recipe; None where no line has it."""
        lines = [self.references[row]] if row in self.references else self.cells.get(row, [])
        found = [line["metrics"][key] for line in lines if key in line.get("metrics", {})]
        estimates = [Estimate(each["value"], each["error"]) for each in found if each["value"] is not None]
        return mean_over_seeds(estimates) if estimates else None

    def beats_copying(self, row: str, column: Column) -> bool | None:
        """Return whether a row is better than copying the input; None where one of them is not known."""
        own, copying = self.estimate(row, column.key), self.estimate("copying", column.key)
        return None if own is None or copying is None else is_better(own, copying, column.better)

    def can_judge(self, column: Column) -> bool | None:
        """Return whether copying the input is worse than real images, so that the metric can tell; None: not known."""
        copying, real = self.estimate("copying", column.key), self.estimate("real", column.key)
        return None if copying is None or real is None else exceeds(difference(copying, real))


def groups(lines: Iterable[Line]) -> list[Group]:
    """Return the groups of all finished trainings, in the order in which they first stand."""
    known = newest(lines)
    found: dict[tuple[Any, ...], Group] = {}
    for (cpu, _), line in known.items():
        if line["recipe"] in REFERENCES or "error" in line:
            continue
        key = (cpu, line["set"], line["method"], line["budget"])
        group = found.setdefault(key, Group(*key))
        group.cells.setdefault(line["recipe"], []).append(line)
    for group in found.values():
        rows = {name: known.get((group.cpu, (group.set, name))) for name in REFERENCES}
        group.references = {name: line for name, line in rows.items() if line is not None}
    return list(found.values())


# Markdown.


def tables(lines: Sequence[Line]) -> str:
    """Return all tables as Markdown."""
    found = groups(lines)
    if not found:
        return "No training is finished yet."
    parts = []
    for cpu in dict.fromkeys(group.cpu for group in found):
        own = [group for group in found if group.cpu == cpu]
        parts += [
            f"## Results on {cpu}",
            diverged_line(own),
            failed_line(lines, cpu),
            "### `modern` against `paper`",
            summary(own),
        ]
        parts += [elements(own)] if any(name in group.cells for group in own for name in ELEMENTS) else []
        for group in own:
            parts += [f"### {group.title}", group_table(group), *sentences(group)]
    return "\n\n".join(part for part in parts if part)


def diverged_line(found: Sequence[Group]) -> str:
    """Return how many of the trainings diverged."""
    lines = [line for group in found for cells in group.cells.values() for line in cells]
    return f"{len(lines)} trainings; diverged: {sum(line['diverged'] for line in lines)} of {len(lines)}."


def failed_line(lines: Iterable[Line], cpu: str) -> str:
    """Return which cells could not be computed; empty where there are none."""
    failed = [cell_of(line).name for (where, _), line in newest(lines).items() if where == cpu and "error" in line]
    return f"Not computed, after an error: {', '.join(failed)}." if failed else ""


def group_table(group: Group) -> str:
    """Return a row for each reference and recipe; what is better than copying the input is bold."""
    columns = [column for column in COLUMNS if any(group.estimate(row, column.key) for row in group.cells)]
    head = ["", *(column.heading for column in columns), "images", "CPU s", "seeds", "diverged"]
    known = [name for name in REFERENCES if name in group.references]
    rows = [head, ["---"] * len(head)]
    rows += [[REFERENCE_TITLES[name], *(_cell(group, name, column) for column in columns), *[""] * 4] for name in known]
    for recipe in sorted(group.cells, key=_recipe_order):
        lines = group.cells[recipe]
        spent = span([line["cpu_seconds"] for line in lines])
        seen = ", ".join(f"{images:,}" for images in sorted({line["images"] for line in lines}))
        diverged = f"{sum(line['diverged'] for line in lines)} of {len(lines)}"
        cells = [_cell(group, recipe, column) for column in columns]
        rows.append([f"`{recipe}`", *cells, seen, spent, str(len(lines)), diverged])
    return _markdown(rows)


def _recipe_order(recipe: str) -> tuple[int, str]:
    return (list(MAIN).index(recipe), "") if recipe in MAIN else (len(MAIN), recipe)


def _cell(group: Group, row: str, column: Column) -> str:
    text = with_error(group.estimate(row, column.key))
    is_bold = row not in ("copying", "real") and group.beats_copying(row, column)
    return f"**{text}**" if is_bold else text


def sentences(group: Group) -> list[str]:
    """Return the excess of KID of each recipe, and what the set cannot tell."""
    lines = []
    for column in KIDS:
        real = group.estimate("real", column.key)
        if real is None:
            continue
        rows = [*(["copying"] if "copying" in group.references else []), *sorted(group.cells, key=_recipe_order)]
        known = [(row, own) for row in rows if (own := group.estimate(row, column.key))]
        excess = ", ".join(f"{row} {with_error(difference(own, real))}" for row, own in known)
        lines.append(f"Excess of {column.title} over real images: {excess}.")
        if group.can_judge(column) is False:
            lines.append(
                f"{column.title} cannot judge here: copying the input is as near to the target as real images are."
            )
    return ["\n".join(f"* {line}" for line in lines)] if lines else []


def summary(found: Iterable[Group], new: str = "modern", old: str = "paper") -> str:
    """Return a row for each group that has both recipes: the change of the excess of KID, and of other metrics."""
    head = ["set, method, CPU time"]
    for column in KIDS:
        head += [f"change of the excess of {column.title}", f"better than copying ({column.title})"]
    others = [column for column in COLUMNS if column.key in ("psnr", "ssim", "log_checkerboard", "c2st")]
    head += [column.heading for column in others]
    rows = [head, ["---"] * len(head)]
    for group in found:
        if new not in group.cells or old not in group.cells:
            continue
        row = [group.title]
        for column in KIDS:
            row += [_change(group, new, old, column), _verdict(group, new, column)]
        rows.append([*row, *(_difference(group, column, new, old) for column in others)])
    return _markdown(rows) if len(rows) > 2 else f"No set has both `{new}` and `{old}` yet."


def _change(group: Group, new: str, old: str, column: Column) -> str:
    """Return the change of the excess over real images in per cent."""
    estimates = [found for name in (new, old, "real") if (found := group.estimate(name, column.key)) is not None]
    if len(estimates) < 3:
        return ""
    change = change_of_excess(*estimates)
    return "no excess" if change is None else f"{with_error(scaled(change, 100), signed=True)} %"


def _verdict(group: Group, row: str, column: Column) -> str:
    if group.can_judge(column) is False:
        return "cannot judge"
    return {None: "", True: "yes", False: "no"}[group.beats_copying(row, column)]


def elements(found: Sequence[Group], base: str = "modern") -> str:
    """Return a row for each single change of `modern`: the difference to it on each set, bold beyond SIGNIFICANT errors."""
    having = [group for group in found if base in group.cells and any(name in group.cells for name in ELEMENTS)]
    columns = [*KIDS, *(column for column in COLUMNS if column.key == "psnr")]
    known = [(group, column) for group in having for column in columns if group.estimate(base, column.key)]
    head = ["change", *(f"{group.title}: {column.heading}" for group, column in known)]
    names = [name for name in ELEMENTS if any(name in group.cells for group in having)]
    rows = [[name.removeprefix(f"{base}-"), *(_difference(*place, name, base) for place in known)] for name in names]
    return f"### Single changes of `{base}`\n\n{_markdown([head, ['---'] * len(head), *rows])}"


def _difference(group: Group, column: Column, row: str, base: str) -> str:
    """Return the difference of a row to another one, bold beyond SIGNIFICANT errors."""
    own, reference = group.estimate(row, column.key), group.estimate(base, column.key)
    if own is None or reference is None:
        return ""
    change = difference(own, reference)
    text = with_error(change, signed=True)
    return f"**{text}**" if exceeds(Estimate(abs(change.value), change.error)) else text


def with_error(estimate: Estimate | None, *, signed: bool = False) -> str:
    """Return "0.083 ± 0.012": two digits of the error, at most four places, and the value to the same place."""
    if estimate is None:
        return ""
    sign = "+" if signed else ""
    if not estimate.error:
        return f"{estimate.value:{sign}.3g}".replace("-", "−")
    places = min(4, max(0, 1 - math.floor(math.log10(estimate.error))))
    return f"{estimate.value:{sign}.{places}f} ± {estimate.error:.{places}f}".replace("-", "−")


def span(values: Sequence[float]) -> str:
    """Return numbers as their mean, or as the smallest and the largest where these differ by more than a twentieth."""
    low, high = min(values), max(values)
    return f"{statistics.fmean(values):.0f}" if high <= 1.05 * low else f"{low:.0f}–{high:.0f}"


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def replace_tables(page: str, text: str) -> str:
    """Return a page with a text between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
