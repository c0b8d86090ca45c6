"""Metrics over sets: what each of them needs, whether it can be had, and its figures."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from translate.errors import DataError, UsageError
from translate.evaluation import extractors
from translate.evaluation.extractors import Extractor, Features
from translate.evaluation.image_sets import ImageSet
from translate.evaluation.label_scorers import LabelScorer
from translate.evaluation.metrics import METRICS, Metric
from translate.evaluation.uncertainty import Estimate, mean_interval

T = TypeVar("T")

TranslateFn = Callable[[Tensor], Tensor]
"""(N, C, H, W) in [-1, 1] → the same in the other domain, of the same size."""

ON_INCEPTION = {"fid": "FID", "inception_score": "the Inception Score"}
"""Metrics whose published meaning is bound to one network; on others they would be another number by the same name."""


@dataclass(frozen=True)
class Subject:
    """What is judged, and what it is held against."""

    outputs: ImageSet
    real: ImageSet
    """Of the target domain."""
    truth: ImageSet | None = None
    """What each output should be, one by one, where that is known."""
    inputs: ImageSet | None = None
    """What each output was made of, where a model made it."""
    translate: TranslateFn | None = None
    """The model, as it made the outputs."""
    translate_back: TranslateFn | None = None
    """The way back, if the model has it."""
    translate_with_grad: TranslateFn | None = None
    """The model again; gradients of what it gives reach what it was given, and its noise stays the same."""
    train_label_scorer: Callable[[str], tuple[LabelScorer, Tensor]] | None = None
    """A scorer that learned from the real domain, for a metric of labels, and what the outputs should be read as."""


def resolve_metric(name: str) -> str:
    """The row of METRICS that gives the figure of this name; UsageError if there is no such."""
    for row, metric in METRICS.items():
        if name == row or name in metric.keys:
            return row
    raise UsageError(f"--metrics {name}: unknown; possible: {', '.join(METRICS)}")


def check_extractor(name: str, extractor: str) -> None:
    """UsageError where a metric is not defined on the extractor."""
    if name in ON_INCEPTION and extractor != "inception":
        raise UsageError(
            f"--metrics {name}: {ON_INCEPTION[name]} is defined on Inception's features, not on those of {extractor}; ask "
            f"for kid, or give --extractor inception"
        )


def uses_features(name: str) -> bool:
    return METRICS[name].needs in ("features", "logits")


def metric_label(key: str, extractor: str | None) -> str:
    """A figure's name for people: KID-EL0 says that it is KID on the features of EfficientNet-Lite0."""
    row = metric_of_key(key)
    title = METRICS[row].title if row == key else key.replace("_", " ")
    tag = extractors.EXTRACTORS[extractor].tag if extractor and uses_features(row) else ""
    return f"{title}-{tag}" if tag else title


def metric_of_key(key: str) -> str:
    """The row that gave a figure; of keys that hold a size, as swd_64, the part before it decides. Unknown ones as they are."""
    rows = (row for row, metric in METRICS.items() if key == row or key in metric.keys or key.startswith(f"{row}_"))
    return next(rows, key)


@dataclass
class Evaluator:
    """Gives figures on one subject. Features are computed once, when they are first needed."""

    subject: Subject
    load_extractor: Callable[[], Extractor]
    seed: int = 0
    lpips_weights: Path | None = None
    device: torch.device | str = "cpu"
    extractor: Extractor | None = None
    """The one that was used, if a figure needed one."""
    per_image: dict[str, list[float]] = field(default_factory=dict)
    """Metric → a value for each output, of metrics that have such."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Row of METRICS → how it was computed."""

    def compute(self, name: str) -> dict[str, Estimate]:
        """The figures of a row of METRICS; DataError or UsageError if they cannot be had of the subject."""
        metric = METRICS[name]
        self.settings[name] = _defaults(metric.function)
        return _WAYS[metric.needs](self, name, metric)

    def per_image_rows(self) -> list[dict[str, Any]]:
        """For each output its name and its own values; what is not finite, as the PSNR of equal images, is None."""
        rows = [dict[str, Any](name=name) for name in self.subject.outputs.names] if self.per_image else []
        for key, values in self.per_image.items():
            for row, value in zip(rows, values, strict=True):
                row[key] = value if math.isfinite(value) else None
        return rows

    def _pairs(self, name: str, metric: Metric) -> dict[str, Estimate]:
        return self._means({name: self._to_truth(name, metric.function)})

    def _weighted_pairs(self, name: str, metric: Metric) -> dict[str, Estimate]:
        scorer = metric.function(self.lpips_weights, self.device)
        self.settings[name] = {"network": scorer.name, "sha256": scorer.sha256}
        return self._means({name: self._to_truth(name, scorer)})

    def _to_truth(self, name: str, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        if self.subject.truth is None:
            raise DataError(
                f"{name}: needs the true image of each output: files with A and B side by side, or folders whose names match"
            )
        return torch.cat([distance(x, y) for x, y in zip(self.subject.outputs, self.subject.truth, strict=True)])

    def _inputs(self, name: str, metric: Metric) -> dict[str, Estimate]:
        pairs = zip(_needed(self.subject.inputs, name), self.subject.outputs, strict=True)
        return self._means({name: torch.cat([metric.function(x, y) for x, y in pairs])})

    def _features(self, name: str, metric: Metric) -> dict[str, Estimate]:
        self._note_extractor(name)
        return metric.function(self._real.features, self._fake.features, seed=self.seed)

    def _logits(self, name: str, metric: Metric) -> dict[str, Estimate]:
        self._note_extractor(name)
        return metric.function(self._fake.logits, seed=self.seed)

    def _images(self, name: str, metric: Metric) -> dict[str, Estimate]:
        return metric.function(self.subject.real.stack(name), self.subject.outputs.stack(name), seed=self.seed)

    def _translator(self, name: str, metric: Metric) -> dict[str, Estimate]:
        translate = _needed(self.subject.translate_with_grad, name)
        return self._means(self._over_inputs(name, lambda x: metric.function(x, translate, seed=self.seed)))

    def _round_trip(self, name: str, metric: Metric) -> dict[str, Estimate]:
        there, back = _needed(self.subject.translate, name), self.subject.translate_back
        if back is None:
            raise UsageError(f"{name}: needs a model that translates both ways; this one has one direction")
        return self._means(self._over_inputs(name, lambda x: metric.function(x, there, back)))

    def _labels(self, name: str, metric: Metric) -> dict[str, Estimate]:
        scorer, labels = _needed(self.subject.train_label_scorer, name)(name)
        self.settings[name] = {"classes": scorer.classes, "sha256": scorer.sha256}
        return metric.function(scorer, self.subject.outputs.stack(name), labels, seed=self.seed)

    def _over_inputs(self, name: str, function: Callable[[Tensor], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        inputs = _needed(self.subject.inputs, name)
        found = [function(inputs.normalized(i)) for i in range(len(inputs))]
        return {key: torch.cat([values[key].cpu() for values in found]) for key in found[0]}

    def _means(self, values: Mapping[str, Tensor]) -> dict[str, Estimate]:
        self.per_image |= {key: each.tolist() for key, each in values.items()}
        return {key: mean_interval(each, self.seed) for key, each in values.items()}

    def _note_extractor(self, name: str) -> None:
        used = self._loaded
        check_extractor(name, used.name)
        self.settings[name] |= {"extractor": used.name, "sha256": used.sha256, "resize": used.spec.resize}

    @property
    def _loaded(self) -> Extractor:
        if self.extractor is None:
            self.extractor = self.load_extractor()
        return self.extractor

    @cached_property
    def _real(self) -> Features:
        return self._loaded(x[0].permute(1, 2, 0).numpy() for x in self.subject.real)

    @cached_property
    def _fake(self) -> Features:
        return self._loaded(x[0].permute(1, 2, 0).numpy() for x in self.subject.outputs)


_WAYS: dict[str, Callable[[Evaluator, str, Metric], dict[str, Estimate]]] = {
    "pairs": Evaluator._pairs,
    "pairs, weights": Evaluator._weighted_pairs,
    "inputs": Evaluator._inputs,
    "features": Evaluator._features,
    "logits": Evaluator._logits,
    "images": Evaluator._images,
    "translator": Evaluator._translator,
    "round trip": Evaluator._round_trip,
    "labels": Evaluator._labels,
}
"""What a metric needs → how the judge calls it."""


def _needed(value: T | None, name: str) -> T:
    if value is None:
        raise UsageError(f"{name}: needs a model and its inputs: translate evaluate MODEL ROOT")
    return value


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The settings of a metric: its arguments that have a default."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "seed"}
