"""Layout of charts: the scalars of a run that share one on TensorBoard's custom scalars page and in the run's report."""

import re
from collections.abc import Iterable, Sequence

from translate.run_folder import DISCRIMINATORS
from translate.training.stats_file import D_ADVERSARIAL, G_ADVERSARIAL

ChartLayout = dict[str, dict[str, list[str]]]
"""Category → chart → names of the scalars drawn in it."""


def discriminator_scalar(name: str) -> str | None:
    """Return the name of a scalar in the second event file, as "discriminator/adv_b" for loss/d/adv_b; None if it is not there.

    There are the adversarial losses of discriminators, and their outputs for real images.
    """
    for prefix in ("loss/d/", "judge/"):
        if name.startswith((D_ADVERSARIAL, "judge/real")) and name.startswith(prefix):
            return f"{DISCRIMINATORS}/{name.removeprefix(prefix)}"
    return None


def chart_layout(names: Sequence[str]) -> ChartLayout:
    """Return the layout of the charts for the scalars of these names, of any method; the most telling first."""
    layout: ChartLayout = {
        "Validation": _by_metric("val/", "val_ema/", names),
        "Generators against discriminators": _adversarial_pairs(names),
        "Discriminator outputs": _outputs(names),
        "Other losses": _by_stem(
            name for name in names if name.startswith("loss/") and not name.startswith((D_ADVERSARIAL, G_ADVERSARIAL))
        ),
        "Sentinels": _by_stem(name for name in names if name.startswith("watch/")),
        "Gradients and learning rates": _by_group(names, "grad", "lr"),
        "Speed and memory": {name: [name] for name in names if name.startswith(("time/", "memory/"))},
    }
    return {category: charts for category, charts in layout.items() if charts}


def _adversarial_pairs(names: Sequence[str]) -> dict[str, list[str]]:
    """Return each discriminator's loss with the adversarial losses of its generators: adv_b with adv_ab."""
    pairs = []
    for name in names:
        if name.startswith(D_ADVERSARIAL):
            domain = name.removeprefix(D_ADVERSARIAL).removeprefix("_")
            pairs.append([name, *(g for g in names if g.startswith(G_ADVERSARIAL) and g.endswith(domain))])
    return {" · ".join(name.removeprefix("loss/") for name in pair): pair for pair in pairs}


def _outputs(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the mean outputs of each discriminator, on real and on generated images."""
    outputs: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("judge/"):
            outputs.setdefault(name.partition("_")[2], []).append(name)
    return {" · ".join(name.removeprefix("judge/") for name in same): same for same in outputs.values()}


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the scalars of each stem: cycle: cycle_a, cycle_b."""
    charts: dict[str, list[str]] = {}
    for name in names:
        charts.setdefault(scalar_stem(name), []).append(name)
    return charts


def scalar_stem(name: str) -> str:
    """Return the last part of a scalar's name without the domain: "cycle" of loss/g/cycle_a, "d_gap" of watch/d_gap_b."""
    last = name.rpartition("/")[2]
    return last.rpartition("_")[0] if re.search(r"_[a-z]{1,2}$", last) else last


def _by_metric(raw: str, averaged: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Return each metric of the raw weights with that of the averaged ones."""
    metrics = [name.removeprefix(raw) for name in names if name.startswith(raw)]
    return {metric: [group + metric for group in (raw, averaged) if group + metric in names] for metric in metrics}


def _by_group(names: Sequence[str], *groups: str) -> dict[str, list[str]]:
    charts = {group: [name for name in names if name.startswith(f"{group}/")] for group in groups}
    return {group: lines for group, lines in charts.items() if lines}
