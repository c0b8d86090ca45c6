"""Tables of docs/quality.md from the lines of docs/quality.jsonl: means over seeds, excess over real images, and what is better
than copying the input."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ladder_recipes import ELEMENTS, MAIN, OTHER_METHODS, REFERENCES, Cell

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
    """Return lines by the processor and the cell, or the processor, set and reference; of several the last one."""
    return {
        (line["cpu"], (line["set"], line["recipe"]) if line["recipe"] in REFERENCES else cell_of(line)): line
        for line in lines
    }


@dataclass
class Group:
    """Trainings of one set, method and budget."""

    set: str
    method: str
    budget: float
    lines: dict[tuple[str, str, int], Line] = field(default_factory=dict)
    """Finished trainings by processor, recipe and seed, those that diverged included."""
    references: dict[str, Line] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.set}, {self.method}, {duration(self.budget)}"

    @property
    def recipes(self) -> list[str]:
        """Recipes that have a finished training, the main ones first."""
        return sorted({recipe for _, recipe, _ in self.lines}, key=_recipe_order)

    def processors(self) -> dict[int, str]:
        """Return the kind of processor whose trainings count, by seed: the one with most recipes, the main ones first."""
        order: dict[int, list[str]] = {}
        for cpu, _, seed in self.lines:
            order.setdefault(seed, []).append(cpu)

        def rank(cpu: str, seed: int) -> tuple[int, int]:
            own = {recipe for where, recipe, number in self.lines if (where, number) == (cpu, seed)}
            return len(own & MAIN.keys()), len(own)

        return {seed: max(dict.fromkeys(cpus), key=lambda cpu: rank(cpu, seed)) for seed, cpus in order.items()}

    def cells(self, recipe: str) -> list[Line]:
        """Return the training of each seed of a recipe."""
        preferred = self.processors()
        found: dict[int, Line] = {}
        for (cpu, name, seed), line in self.lines.items():
            if name == recipe and (seed not in found or cpu == preferred[seed]):
                found[seed] = line
        return [found[seed] for seed in sorted(found)]

    def pairs(self, new: str, old: str) -> list[tuple[Line, Line]]:
        """Return the trainings of two recipes, one pair a seed, both on one kind of processor."""
        preferred = self.processors()
        found: dict[int, tuple[Line, Line]] = {}
        for (cpu, name, seed), line in self.lines.items():
            other = self.lines.get((cpu, old, seed))
            if name == new and other is not None and (seed not in found or cpu == preferred[seed]):
                found[seed] = line, other
        return [found[seed] for seed in sorted(found)]

    def estimate(self, row: str, key: str) -> Estimate | None:
        """Return a metric of a reference, or its mean over the seeds of a recipe; None where no line has it."""
        lines = [self.references[row]] if row in self.references else self.cells(row)
        estimates = [found for line in lines if (found := value_of(line, key)) is not None]
        return mean_over_seeds(estimates) if estimates else None

    def beats_copying(self, row: str, column: Column) -> bool | None:
        """Return whether a row is better than copying the input; None where one of them is not known."""
        own, copying = self.estimate(row, column.key), self.estimate("copying", column.key)
        return None if own is None or copying is None else is_better(own, copying, column.better)

    def can_judge(self, column: Column) -> bool | None:
        """Return whether copying the input is worse than real images, so that the metric can tell; None: not known."""
        copying, real = self.estimate("copying", column.key), self.estimate("real", column.key)
        return None if copying is None or real is None else exceeds(difference(copying, real))


def value_of(line: Line, key: str) -> Estimate | None:
    """Return a metric of a line; None where it has none."""
    found = line.get("metrics", {}).get(key)
    return None if found is None or found["value"] is None else Estimate(found["value"], found["error"])


def groups(lines: Iterable[Line]) -> list[Group]:
    """Return the groups of all finished trainings, in the order in which they first stand."""
    known = newest(lines)
    found: dict[tuple[Any, ...], Group] = {}
    references: dict[tuple[str, str], dict[str, Line]] = {}
    for (cpu, place), line in known.items():
        if line["recipe"] in REFERENCES:
            references.setdefault(place, {})[cpu] = line
        elif "error" not in line:
            key = (line["set"], line["method"], line["budget"])
            found.setdefault(key, Group(*key)).lines[cpu, line["recipe"], line["seed"]] = line
    for group in found.values():
        first, *_ = (
            group.processors().values()
        )  # where its images were: folders of other machines may hold more of them
        for name in REFERENCES:
            if by_cpu := references.get((group.set, name)):
                group.references[name] = by_cpu.get(first) or list(by_cpu.values())[-1]
    return list(found.values())


# Markdown.


def tables(lines: Sequence[Line]) -> str:
    """Return all tables as Markdown."""
    found = groups(lines)
    if not found:
        return "No training is finished yet."
    parts = [
        "## Results",
        diverged_line(found),
        failed_line(lines),
        "### `modern` against `paper`",
        summary(found),
    ]
    parts += [elements(found)] if any(name in ELEMENTS for group in found for name in group.recipes) else []
    for name in OTHER_METHODS:
        if any(name in group.recipes for group in found):
            parts += [f"### `{name}` against `paper`", summary(found, name)]
    for group in found:
        parts += [f"### {group.title}", processors_line(group), group_table(group), *sentences(group)]
    return "\n\n".join(part for part in parts if part)


def diverged_line(found: Sequence[Group]) -> str:
    """Return how many of the trainings diverged."""
    lines = [line for group in found for line in group.lines.values()]
    return f"{len(lines)} trainings; diverged: {sum(line['diverged'] for line in lines)} of {len(lines)}."


def failed_line(lines: Iterable[Line]) -> str:
    """Return which cells could not be computed; empty where there are none."""
    failed = [f"{cell_of(line).name} ({cpu})" for (cpu, _), line in newest(lines).items() if "error" in line]
    return f"Not computed, after an error: {', '.join(failed)}." if failed else ""


def processors_line(group: Group) -> str:
    """Return on which kind of processor the seeds of a group were trained."""
    seeds: dict[str, list[str]] = {}
    for seed, cpu in sorted(group.processors().items()):
        seeds.setdefault(cpu, []).append(str(seed))
    found = (f"seed{'s' * (len(own) > 1)} {', '.join(own)} on {cpu}" for cpu, own in seeds.items())
    return f"Trained with {'; '.join(found)}."


def group_table(group: Group) -> str:
    """Return a row for each reference and recipe; what is better than copying the input is bold."""
    columns = [column for column in COLUMNS if any(group.estimate(row, column.key) for row in group.recipes)]
    head = ["", *(column.heading for column in columns), "images", "CPU s", "seeds", "diverged"]
    known = [name for name in REFERENCES if name in group.references]
    rows = [head, ["---"] * len(head)]
    rows += [[REFERENCE_TITLES[name], *(_cell(group, name, column) for column in columns), *[""] * 4] for name in known]
    for recipe in group.recipes:
        lines = group.cells(recipe)
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
        rows = [*(["copying"] if "copying" in group.references else []), *group.recipes]
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
        if not group.pairs(new, old):
            continue
        row = [group.title]
        for column in KIDS:
            row += [_change(group, new, old, column), _verdict(group, new, column)]
        rows.append([*row, *(_difference(group, column, new, old) for column in others)])
    return _markdown(rows) if len(rows) > 2 else f"No set has both `{new}` and `{old}` yet."


def _change(group: Group, new: str, old: str, column: Column) -> str:
    """Return the change of the excess over real images in per cent."""
    real = group.estimate("real", column.key)
    pairs = estimate_pairs(group, new, old, column)
    if real is None or not pairs:
        return ""
    change = change_of_excess(
        mean_over_seeds([own for own, _ in pairs]), mean_over_seeds([other for _, other in pairs]), real
    )
    return "no excess" if change is None else f"{with_error(scaled(change, 100), signed=True)} %"


def estimate_pairs(group: Group, new: str, old: str, column: Column) -> list[tuple[Estimate, Estimate]]:
    """Return a metric of two recipes, one pair a seed, where both have it."""
    pairs = ((value_of(own, column.key), value_of(other, column.key)) for own, other in group.pairs(new, old))
    return [(own, other) for own, other in pairs if own is not None and other is not None]


def _verdict(group: Group, row: str, column: Column) -> str:
    if group.can_judge(column) is False:
        return "cannot judge"
    return {None: "", True: "yes", False: "no"}[group.beats_copying(row, column)]


def elements(found: Sequence[Group], base: str = "modern") -> str:
    """Return a row for each single change of `modern`: the difference to it on each set, bold beyond SIGNIFICANT errors."""
    having = [group for group in found if any(group.pairs(name, base) for name in ELEMENTS)]
    columns = [*KIDS, *(column for column in COLUMNS if column.key == "psnr")]
    known = [(group, column) for group in having for column in columns if group.estimate(base, column.key)]
    head = ["change", *(f"{group.title}: {column.heading}" for group, column in known)]
    names = [name for name in ELEMENTS if any(group.pairs(name, base) for group in having)]
    rows = [[name.removeprefix(f"{base}-"), *(_difference(*place, name, base) for place in known)] for name in names]
    return f"### Single changes of `{base}`\n\n{_markdown([head, ['---'] * len(head), *rows])}"


def _difference(group: Group, column: Column, row: str, base: str) -> str:
    """Return the difference of a row to another one, bold beyond SIGNIFICANT errors."""
    pairs = estimate_pairs(group, row, base, column)
    if not pairs:
        return ""
    change = mean_over_seeds([difference(*pair) for pair in pairs])
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
