"""tools/ladder_table.py: means, errors, excess and what is better than copying, by hand."""

import math

import ladder_table
import pytest
from ladder_table import COLUMNS

from translate.evaluation.uncertainty import Estimate

KID = COLUMNS[0]


def test_the_mean_over_seeds_has_the_standard_error_of_the_mean():
    """1, 2, 3: mean 2, deviation 1, error 1 / √3, whatever the errors over images are."""
    found = ladder_table.mean_over_seeds([Estimate(value, 9.0) for value in (1.0, 2.0, 3.0)])
    assert (found.value, found.error) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert ladder_table.mean_over_seeds([Estimate(4.0, 0.5)]) == Estimate(4.0, 0.5)


def test_errors_of_a_difference_add_as_squares():
    assert ladder_table.difference(Estimate(5.0, 3.0), Estimate(1.0, 4.0)) == Estimate(4.0, 5.0)
    assert ladder_table.difference(Estimate(5.0), Estimate(1.0, 4.0)) == Estimate(4.0, 4.0)


def test_the_change_of_the_excess():
    """From 0.5 to 0.2 above real images at 0.1: the excess falls from 0.4 to 0.1, by 75 %."""
    found = ladder_table.change_of_excess(Estimate(0.2, 0.0), Estimate(0.5, 0.0), Estimate(0.1, 0.0))
    assert found.value == pytest.approx(-0.75)
    assert found.error == 0


@pytest.mark.parametrize("which", range(3))
def test_the_error_of_the_change_is_the_derivative_times_the_error(which):
    """By finite differences, for the error of each of the three values alone."""
    values, step = [0.2, 0.5, 0.1], 1e-6

    def change(values):
        return ladder_table.change_of_excess(*(Estimate(value, 0.0) for value in values)).value

    moved = [value + step * (n == which) for n, value in enumerate(values)]
    slope = abs(change(moved) - change(values)) / step
    errors = [0.01 * (n == which) for n in range(3)]
    found = ladder_table.change_of_excess(*(Estimate(*each) for each in zip(values, errors, strict=True)))
    assert found.error == pytest.approx(0.01 * slope, rel=1e-4)


def test_an_excess_that_may_be_zero_cannot_change():
    assert ladder_table.change_of_excess(Estimate(0.1, 0.0), Estimate(0.2, 0.04), Estimate(0.1, 0.03)) is None


@pytest.mark.parametrize(("value", "better"), [(0.79, True), (0.81, False), (1.3, False)])
def test_better_is_beyond_two_standard_errors(value, better):
    """Of the difference: errors 0.06 and 0.08 make 0.1, so 1.0 must be undercut by 0.2."""
    assert ladder_table.is_better(Estimate(value, 0.06), Estimate(1.0, 0.08), "lower") is better
    assert ladder_table.is_better(Estimate(-value, 0.06), Estimate(-1.0, 0.08), "higher") is better


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.08312, 0.0123), "0.083 ± 0.012"),
        (Estimate(25.37, 0.42), "25.37 ± 0.42"),
        (Estimate(-12.34, 3.3), "−12.3 ± 3.3"),
        (Estimate(112.3, 33.0), "112 ± 33"),
        (Estimate(0.00213, 0.00001), "0.0021 ± 0.0000"),
        (Estimate(0.5, None), "0.5"),
        (None, ""),
    ],
)
def test_numbers_have_two_digits_of_their_error(estimate, text):
    assert ladder_table.with_error(estimate) == text


def test_times_that_differ_stand_as_a_span():
    assert ladder_table.span([118.0, 122.0]) == "120"
    assert ladder_table.span([99.6, 118.0, 140.4]) == "100–140"


def line(recipe, seed, kid, cpu="CPU X", method="cyclegan", budget=120, error=0.01, **values):
    metrics = {} if kid is None else {"kid_el0": {"value": kid, "error": error}}
    return {
        "set": "earth_season", "method": method, "recipe": recipe, "budget": budget, "seed": seed, "cpu": cpu, "images": 1000,
        "cpu_seconds": 118.0, "diverged": False, "metrics": metrics, **values,
    }  # fmt: skip


def reference(name, kid, cpu="CPU X"):
    return line(name, None, kid, cpu, method=None, budget=None)


LINES = [
    reference("copying", 0.3),
    reference("real", 0.1),
    *(line("paper", seed, kid) for seed, kid in enumerate((0.5, 0.6, 0.7))),
    *(line("modern", seed, kid) for seed, kid in enumerate((0.14, 0.15, 0.16))),
]


def only_group(lines):
    (group,) = ladder_table.groups(lines)
    return group


def test_trainings_of_one_set_method_and_budget_are_a_group():
    others = [line("modern", 0, 0.9, method="pix2pix"), line("modern", 0, 0.9, budget=600)]
    found = ladder_table.groups([*LINES, *others])
    assert [(group.method, group.budget) for group in found] == [
        ("cyclegan", 120), ("pix2pix", 120), ("cyclegan", 600),
    ]  # fmt: skip
    assert found[0].estimate("modern", "kid_el0").value == pytest.approx(0.15)
    assert [set(group.references) for group in found] == [{"copying", "real"}] * 3


def test_seeds_of_several_processors_are_compared_within_each():
    """Seed 0 on X, 1 on Y, which is slower: −0.36 and −0.4, and not −0.46 or −0.3. On Z is no partner."""
    lines = [
        line("paper", 0, 0.5), line("modern", 0, 0.14), line("paper", 1, 0.6, "CPU Y"), line("modern", 1, 0.2, "CPU Y"),
        line("modern", 0, 0.9, "CPU Z"), line("modern", 2, 0.9, "CPU Z"),
    ]  # fmt: skip
    group = only_group(lines)
    assert [(new["cpu"], old["cpu"]) for new, old in group.pairs("modern", "paper")] == [
        ("CPU X", "CPU X"), ("CPU Y", "CPU Y"),
    ]  # fmt: skip
    differences = [
        ladder_table.difference(*pair) for pair in ladder_table.estimate_pairs(group, "modern", "paper", KID)
    ]
    assert [each.value for each in differences] == [pytest.approx(-0.36), pytest.approx(-0.4)]
    assert [each["cpu"] for each in group.cells("modern")] == ["CPU X", "CPU Y", "CPU Z"]
    assert ladder_table.processors_line(group) == "Trained with seed 0 on CPU X; seed 1 on CPU Y; seed 2 on CPU Z."


def test_the_error_of_a_difference_of_several_seeds_is_that_of_their_differences():
    """0.36, 0.45, 0.54 lower: the deviation of the three is 0.09, and the mean has 0.09 / √3."""
    row = ladder_table._difference(only_group(LINES), KID, "modern", "paper")
    assert row == "**−0.450 ± 0.052**"


def test_what_beats_copying():
    group = only_group(LINES)
    assert group.beats_copying("modern", KID) is True
    assert group.beats_copying("paper", KID) is False
    assert group.beats_copying("modern", COLUMNS[1]) is None


def test_a_set_whose_copies_look_real_cannot_judge():
    """Copying 0.12 ± 0.01 against real 0.1 ± 0.01 is within two errors, 0.028."""
    assert only_group(LINES).can_judge(KID) is True
    assert only_group([*LINES, reference("copying", 0.12)]).can_judge(KID) is False
    assert "cannot judge" in ladder_table.summary([only_group([*LINES, reference("copying", 0.12)])])


def test_the_last_line_of_a_cell_counts():
    lines = [line("modern", 0, None, error="killed"), line("modern", 0, 0.2), *LINES[:2]]
    assert only_group(lines).estimate("modern", "kid_el0").value == 0.2
    assert ladder_table.groups([*lines, line("modern", 0, None) | {"error": "killed"}]) == []


def test_the_table_of_a_group():
    rows = ladder_table.group_table(only_group([*LINES, line("quick", 0, None, diverged=True)])).splitlines()
    assert rows[0] == "|  | KID-EL0 ↓ | images | CPU s | seeds | diverged |"
    assert rows[2:] == [
        "| copying the input | 0.300 ± 0.010 |  |  |  |  |",
        "| real images | 0.100 ± 0.010 |  |  |  |  |",
        "| `paper` | 0.600 ± 0.058 | 1,000 | 118 | 3 | 0 of 3 |",
        "| `modern` | **0.1500 ± 0.0058** | 1,000 | 118 | 3 | 0 of 3 |",
        "| `quick` |  | 1,000 | 118 | 1 | 1 of 1 |",
    ]


def test_the_summary_compares_modern_with_paper():
    """The excess falls from 0.5 to 0.05, by 90 %: ± √(0.00577² + (0.1 · 0.0577)² + (0.9 · 0.01)²) / 0.5 = 2.4 %."""
    row = ladder_table.summary([only_group(LINES)]).splitlines()[2]
    assert row.startswith("| earth_season, cyclegan, 2 min | −90.0 ± 2.4 % | yes |")


def test_references_are_those_of_the_machine_of_the_trainings():
    """Or of another one, where it has none."""
    own, other = reference("copying", 0.3), {**reference("copying", 0.9), "cpu": "CPU Z"}
    assert only_group([*LINES, own, other]).references["copying"]["metrics"]["kid_el0"]["value"] == 0.3
    lines = [each for each in LINES if each["recipe"] not in ("copying", "real", "colour_map")]
    assert only_group([*lines, other]).references["copying"]["metrics"]["kid_el0"]["value"] == 0.9


def test_another_method_stands_against_paper():
    text = ladder_table.tables([*LINES, *(line("pix2pixhd", seed, 0.3) for seed in range(2))])
    assert "### `pix2pixhd` against `paper`" in text
    assert "`pix2pixhd` against" not in ladder_table.tables(LINES)


def test_single_changes_stand_beside_modern():
    """0.25 − 0.14 of the same seed, with the errors of both over images."""
    text = ladder_table.elements([only_group([*LINES, line("modern-lsgan", 0, 0.25)])])
    assert "| lsgan | **+0.110 ± 0.014** |" in text


def test_diverged_and_failed_trainings_are_counted():
    lines = [*LINES, line("quick", 0, None, diverged=True), line("quick", 1, None) | {"error": "killed"}]
    text = ladder_table.tables(lines)
    assert "7 trainings; diverged: 1 of 7." in text
    assert "Not computed, after an error: earth_season-cyclegan-quick-120s-1 (CPU X)." in text


def test_tables_replace_what_stands_between_the_markers():
    page = f"above\n{ladder_table.BEGIN}\nold\n{ladder_table.END}\nbelow\n"
    once = ladder_table.replace_tables(page, "new")
    assert once == f"above\n{ladder_table.BEGIN}\nnew\n{ladder_table.END}\nbelow\n"
    assert ladder_table.replace_tables(once, "new") == once
    assert ladder_table.tables([]) == "No training is finished yet."
