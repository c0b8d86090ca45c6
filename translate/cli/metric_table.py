"""Text of `translate evaluate`: the table of metrics, with values of reference beside them, and the words below it."""

from collections.abc import Mapping, Sequence
from typing import Any

from translate.evaluation import evaluator, protocol
from translate.evaluation.extractors import EXTRACTORS
from translate.evaluation.metrics import METRICS
from translate.evaluation.references import REFERENCES
from translate.text import align_columns

ARROWS = {"lower": "↓", "higher": "↑"}

MARKS = {True: "better", False: "worse", None: ""}
"""Words in the last column, which compares a model with copying the input."""

NOT_JUDGED = ("checkerboard",)
"""Rows of METRICS whose best value is neither large nor small, but 1: `log_checkerboard` is compared in its place."""


def metric_rows(results: Mapping[str, Any]) -> list[str]:
    """Return a line for each metric: name, the better direction, value with its error, unit; with references, these too.

    The last column says where the model differs from copying the input by more than two standard errors.
    """
    extractor, references = results["protocol"]["extractor"], [name for name in REFERENCES if name in results]
    rows: list[Sequence[str]] = []
    if references:
        titles = (name.replace("_", " ") for name in references)
        rows.append(("", "", "model", "", *titles, "than copying" if "copying" in references else ""))
    for key, estimate in results["metrics"].items():
        metric = METRICS[evaluator.metric_of_key(key)]
        row = (evaluator.metric_label(key, extractor), ARROWS[metric.better], _with_error(estimate), metric.unit)
        beside = [_reference_value(results[name].get(key), estimate) for name in references]
        rows.append((*row, *beside, MARKS[is_better_than_copying(key, results)]) if references else row)
    return align_columns(rows)


def closing_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what the values mean in words: against copying the input, and on a network that the training used."""
    return [*_verdict_on_copying(results), *_note_on_training(results["protocol"])]


def is_better_than_copying(key: str, results: Mapping[str, Any]) -> bool | None:
    """Return whether a value is better than that of copying the input; None where they differ by no more than chance."""
    copied = results.get("copying", {}).get(key)
    if copied is None or evaluator.metric_of_key(key) in NOT_JUDGED:
        return None
    difference = protocol.metric_difference(key, copied, results["metrics"][key])
    if not difference.is_significant or difference.value is None:
        return None
    return (difference.value < 0) == (METRICS[evaluator.metric_of_key(key)].better == "lower")


def _verdict_on_copying(results: Mapping[str, Any]) -> list[str]:
    """Say in one line which metrics are better and which are worse than those of copying; levels of a metric are left out."""
    words = {
        True: "better than copying",
        False: "worse than leaving the photo as it is",
        None: "no significant difference from copying",
    }
    groups: dict[bool | None, list[str]] = {verdict: [] for verdict in words}
    for key in results.get("copying", {}):
        row = evaluator.metric_of_key(key)
        if key in METRICS[row].keys and row not in NOT_JUDGED:
            label = evaluator.metric_label(key, results["protocol"]["extractor"])
            groups[is_better_than_copying(key, results)].append(label)
    parts = [f"{', '.join(labels)}: {words[verdict]}" for verdict, labels in groups.items() if labels]
    return ["", "; ".join(parts)] if parts else []


def _note_on_training(known: Mapping[str, Any]) -> list[str]:
    """Say which metrics use a network that the training used, which is then no independent judge, and name another one."""
    used, extractor = known.get("trained_against", ()), known["extractor"]
    if extractor not in used:
        return []
    keys = [METRICS[row].keys[0] for row in known["settings"] if evaluator.uses_features(row)]
    labels = [evaluator.metric_label(key, extractor) for key in keys]
    others = [name for name in EXTRACTORS if name not in used]
    packaged = [name for name in others if EXTRACTORS[name].packaged_weights]  # which need no file
    see = f"; see also --extractor {[*packaged, *others][0]}" if others else ""
    use = "uses" if len(labels) == 1 else "use"
    return [f"{', '.join(labels)} {use} {extractor}, which this model was trained against{see}"]


def _reference_value(reference: Mapping[str, Any] | None, estimate: Mapping[str, Any]) -> str:
    """Return a value of reference to as many places as the model's, empty where there is none."""
    if reference is None:
        return ""
    if reference["value"] is None:
        return "infinite"
    places = _places(estimate if estimate["error"] else reference)
    return f"{reference['value']:.4g}" if places is None else f"{reference['value']:.{places}f}"


def _with_error(estimate: Mapping[str, Any]) -> str:
    """Return a value as "0.0123 ± 0.0021": two digits of the error, and the value to the same place."""
    value, error, places = estimate["value"], estimate["error"], _places(estimate)
    if value is None:
        return "infinite"
    return f"{value:.4g}" if places is None else f"{value:.{places}f} ± {error:.{places}f}"


def _places(estimate: Mapping[str, Any]) -> int | None:
    """Return the decimal places that show two digits of an estimate's error; None without an error."""
    error = estimate["error"]
    return max(0, 1 - int(f"{error:e}".split("e")[1])) if error else None
