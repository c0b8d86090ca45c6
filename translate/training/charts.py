"""Layout of charts: the scalars of a run that share one on TensorBoard's custom scalars page and in the run's report."""

from collections.abc import Iterable, Sequence

from translate.methods.base import DISCRIMINATOR, GENERATOR
from translate.run_folder import DISCRIMINATORS
from translate.training.loss_names import ADVERSARIAL, LOSS, LossNames

ChartLayout = dict[str, dict[str, list[str]]]
"""Category → chart → names of the scalars drawn in it."""


def discriminator_scalar(name: str, losses: LossNames) -> str | None:
    """Return the name of a scalar in the second event file, as "discriminator/adv_b" for loss/d/adv_b; None if it is not there.

    There are the adversarial losses of discriminators, and their outputs for real images.
    """
    domain = losses.adversarial_domain(name, DISCRIMINATOR)
    if domain is not None:
        return f"{DISCRIMINATORS}/{'_'.join(filter(None, (ADVERSARIAL, domain)))}"
    return f"{DISCRIMINATORS}/{name.removeprefix('judge/')}" if name.startswith("judge/real") else None


def chart_layout(names: Sequence[str], losses: LossNames) -> ChartLayout:
    """Return the layout of the charts for the scalars of these names, of any method; the most telling first."""
    pairs = _adversarial_pairs(names, losses)
    paired = {name for pair in pairs.values() for name in pair}
    layout: ChartLayout = {
        "Validation": _by_metric("val/", "val_ema/", names),
        "Generators against discriminators": pairs,
        "Discriminator outputs": _outputs(names),
        "Other losses": _by_stem([name for name in names if name.startswith(LOSS) and name not in paired], losses),
        "Sentinels": _by_stem([name for name in names if name.startswith("watch/")], losses),
        "Gradients and learning rates": _by_group(names, "grad", "lr"),
        "Speed and memory": {name: [name] for name in names if name.startswith(("time/", "memory/"))},
    }
    return {category: charts for category, charts in layout.items() if charts}


def _adversarial_pairs(names: Sequence[str], losses: LossNames) -> dict[str, list[str]]:
    """Return each discriminator's loss with the adversarial losses of its generators: adv_b with adv_ab."""
    generators = {name: domain for name in names if (domain := losses.adversarial_domain(name, GENERATOR)) is not None}
    pairs = [
        [name, *(g for g, target in generators.items() if target.endswith(domain))]
        for name in names
        if (domain := losses.adversarial_domain(name, DISCRIMINATOR)) is not None
    ]
    return {" · ".join(name.removeprefix(LOSS) for name in pair): pair for pair in pairs}


def _outputs(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the mean outputs of each discriminator, on real and on generated images."""
    outputs: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("judge/"):
            outputs.setdefault(name.partition("_")[2], []).append(name)
    return {" · ".join(name.removeprefix("judge/") for name in same): same for same in outputs.values()}


def _by_stem(names: Iterable[str], losses: LossNames) -> dict[str, list[str]]:
    """Return the scalars of each stem: cycle: cycle_a, cycle_b."""
    charts: dict[str, list[str]] = {}
    for name in names:
        charts.setdefault(losses.stem(name), []).append(name)
    return charts


def _by_metric(raw: str, averaged: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Return each metric of the raw weights with that of the averaged ones."""
    metrics = [name.removeprefix(raw) for name in names if name.startswith(raw)]
    return {metric: [group + metric for group in (raw, averaged) if group + metric in names] for metric in metrics}


def _by_group(names: Sequence[str], *groups: str) -> dict[str, list[str]]:
    charts = {group: [name for name in names if name.startswith(f"{group}/")] for group in groups}
    return {group: lines for group, lines in charts.items() if lines}
