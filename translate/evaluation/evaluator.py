"""Evaluator of metrics on sets of images: gives each metric what it needs and collects the values."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from translate import images
from translate.data.split import evenly_spaced
from translate.errors import DataError, UsageError
from translate.evaluation import extractors
from translate.evaluation.extractors import Extractor, Features
from translate.evaluation.image_sets import ImageSet
from translate.evaluation.input_checks import TranslateFn
from translate.evaluation.label_scorers import LabelScorer
from translate.evaluation.metrics import METRICS, Metric
from translate.evaluation.robustness import ATTACK_IMAGES, AttackedImage
from translate.evaluation.uncertainty import Estimate, mean_interval
from translate.invocation import command_line

T = TypeVar("T")

INCEPTION_ONLY = {"fid": "FID", "inception_score": "the Inception Score"}
"""Metrics that are defined on the Inception network; on another extractor they would be another number by the same name."""


@dataclass(frozen=True)
class Subject:
    """Images to evaluate, images to compare them with, and the model that made them."""

    outputs: ImageSet
    """Images to evaluate: translations."""
    real: ImageSet
    """Real images of the target domain."""
    truth: ImageSet | None = None
    """True image of each output, in their order, where it is known."""
    why_no_truth: str = ""
    """Reason why `truth` is not known, with the remedy."""
    inputs: ImageSet | None = None
    """Input of each output, in their order, where a model made the outputs."""
    translate: TranslateFn | None = None
    """The model, as it made the outputs."""
    translate_samples: TranslateFn | None = None
    """Several outputs of one input, (1, C, H, W) → (S, C, H, W); UsageError from a model that has one."""
    translate_back: TranslateFn | None = None
    """Translation of outputs to the domain of the inputs, if the model has this direction."""
    translate_with_grad: TranslateFn | None = None
    """The model with gradients from its output to its input, and with noise that stays the same."""
    train_label_scorer: Callable[[str], tuple[LabelScorer, Tensor]] | None = None
    """Train a scorer on real images of the target domain, for the label metric named; also returns the labels of `outputs`."""
    border: int = 0
    """Pixels at each edge that metrics of luma leave out: the factor of a super-resolution model."""
    classify: Callable[[str], tuple[Tensor, Tensor]] | None = None
    """Return the logits (N, K) of the model's own classifier for `real`, and their labels (N,), for the metric named."""
    why_no_inputs: str = ""
    """Reason why there are no inputs, with the remedy, where a model made the outputs without any."""
    copies: ImageSet | None = None
    """Inputs as images of the outputs' size and channels, where they are not: what copying them means."""

    @property
    def copied_inputs(self) -> ImageSet | None:
        """Inputs, or `copies` if there are such; None where no model made the outputs."""
        return self.copies or self.inputs


def resolve_metric(name: str) -> str:
    """Return the row of METRICS of a metric, or of one of its values. UsageError for an unknown name."""
    for row, metric in METRICS.items():
        if name == row or name in metric.keys:
            return row
    raise UsageError(f"--metrics {name}: unknown; possible: {', '.join(METRICS)}")


def check_extractor(name: str, extractor: str) -> None:
    """Raise UsageError where a metric is not defined on the extractor."""
    if name in INCEPTION_ONLY and extractor != "inception":
        raise UsageError(
            f"--metrics {name}: {INCEPTION_ONLY[name]} is defined on Inception's features, not on those of {extractor}; "
            f"use --metrics kid or --extractor inception"
        )


def uses_features(name: str) -> bool:
    """Return whether a row of METRICS needs an extractor."""
    return METRICS[name].needs in ("features", "logits", "samples")


def metric_label(key: str, extractor: str | None) -> str:
    """Return the name of a value for charts and tables: KID-EL0 is KID on the features of EfficientNet-Lite0."""
    row = metric_of_key(key)
    title = METRICS[row].title if row == key else key.replace("_", " ")
    tag = extractors.EXTRACTORS[extractor].tag if extractor and uses_features(row) else ""
    return f"{title}-{tag}" if tag else title


def metric_of_key(key: str) -> str:
    """Return the row of METRICS of a value; `swd_64` belongs to `swd`. An unknown key is returned as it is."""
    if key in METRICS:
        return key
    rows = (row for row, metric in METRICS.items() if key == row or key in metric.keys or key.startswith(f"{row}_"))
    return next(rows, key)


@dataclass
class Evaluator:
    """Computes metrics of one subject. Features are computed once, when they are first needed."""

    subject: Subject
    load_extractor: Callable[[], Extractor]
    """Load the extractor, called when a metric first needs it."""
    seed: int = 0
    """Seed of random draws."""
    lpips_weights: Path | None = None
    """File of LPIPS's backbone; None: where torchvision keeps it."""
    device: torch.device | str = "cpu"
    """Device of LPIPS."""
    attack_images: int = ATTACK_IMAGES
    """Inputs, evenly spaced, that the metric robustness attacks at most."""
    attack_restarts: int = 1
    """Random starts of each PGD attack of the metric robustness."""
    extractor: Extractor | None = None
    """The extractor, once a metric has needed it."""
    per_image: dict[str, list[float]] = field(default_factory=dict)
    """Key of a value → its values for each output, of metrics that have one per image."""
    attacked: list[AttackedImage] = field(default_factory=list)
    """Inputs that the metric robustness attacked, that of the largest change first."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Row of METRICS → the settings it was computed with."""
    known_features: dict[int, tuple[ImageSet, Features]] = field(default_factory=dict)
    """Features by the identity of their set, with the set, which keeps its identity from being used again."""

    def with_outputs(self, outputs: ImageSet, *, in_pairs: bool) -> "Evaluator":
        """Return an evaluator of other images against the same real ones; no features are computed twice.

        in_pairs: they belong to the same truth and the same inputs, in their order.
        """
        subject = replace(
            self.subject,
            outputs=outputs,
            truth=self.subject.truth if in_pairs else None,
            inputs=self.subject.inputs if in_pairs else None,
            copies=self.subject.copies if in_pairs else None,
        )
        return replace(self, subject=subject, per_image={}, attacked=[], settings={})

    def compute(self, name: str) -> dict[str, Estimate]:
        """Compute a row of METRICS: its values by key. DataError or UsageError if the subject lacks what it needs."""
        metric = METRICS[name]
        self.settings[name] = _default_settings(metric.function)
        return _COMPUTE[metric.needs](self, name, metric)

    def per_image_rows(self) -> list[dict[str, Any]]:
        """Return the name of each output with its own values; the list is empty if no metric had values per image.

        Values that are not finite, as the PSNR of equal images, are None.
        """
        rows = [dict[str, Any](name=name) for name in self.subject.outputs.names] if self.per_image else []
        for key, values in self.per_image.items():
            for row, value in zip(rows, values, strict=True):
                row[key] = value if math.isfinite(value) else None
        return rows

    def _pairs(self, name: str, metric: Metric) -> dict[str, Estimate]:
        return self._means({name: self._compare_with_truth(name, metric.function)})

    def _bordered_pairs(self, name: str, metric: Metric) -> dict[str, Estimate]:
        border = self.subject.border
        self.settings[name]["border"] = border
        return self._means({name: self._compare_with_truth(name, lambda x, y: metric.function(x, y, border))})

    def _weighted_pairs(self, name: str, metric: Metric) -> dict[str, Estimate]:
        scorer = metric.function(self.lpips_weights, self.device)
        self.settings[name] = {"network": scorer.name, "sha256": scorer.sha256}
        return self._means({name: self._compare_with_truth(name, scorer)})

    def _compare_with_truth(self, name: str, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        outputs, truth = self.subject.outputs, self.subject.truth
        if truth is None:
            why = self.subject.why_no_truth or "give files with A and B side by side, or folders whose names match"
            raise DataError(f"{name}: needs the true image of each output; {why}")
        for x, y, output, true in zip(outputs, truth, outputs.names, truth.names, strict=True):
            if x.shape[2:] != y.shape[2:]:
                raise DataError(
                    f"{name}: {output!r} has {x.shape[3]}×{x.shape[2]} pixels, but its true image {true!r} has "
                    f"{y.shape[3]}×{y.shape[2]}; use --size N to resize all images to N×N"
                )
        return torch.cat([distance(x, y) for x, y in zip(outputs, truth, strict=True)])

    def _inputs(self, name: str, metric: Metric) -> dict[str, Estimate]:
        pairs = zip(self._require(self.subject.copied_inputs, name), self.subject.outputs, strict=True)
        return self._means({name: torch.cat([metric.function(x, y) for x, y in pairs])})

    def _features(self, name: str, metric: Metric) -> dict[str, Estimate]:
        self._record_extractor(name)
        real, outputs = self._features_of(self.subject.real), self._features_of(self.subject.outputs)
        return metric.function(real.features, outputs.features, seed=self.seed)

    def _logits(self, name: str, metric: Metric) -> dict[str, Estimate]:
        self._record_extractor(name)
        return metric.function(self._features_of(self.subject.outputs).logits, seed=self.seed)

    def _images(self, name: str, metric: Metric) -> dict[str, Estimate]:
        return metric.function(self.subject.real.stack(name), self.subject.outputs.stack(name), seed=self.seed)

    def _images_by_place(self, name: str, metric: Metric) -> dict[str, Estimate]:
        is_paired = self.subject.truth is not None
        self.settings[name]["by_place"] = is_paired
        return metric.function(
            self.subject.real.stack(name), self.subject.outputs.stack(name), is_paired, seed=self.seed
        )

    def _samples(self, name: str, metric: Metric) -> dict[str, Estimate]:
        translate = self._require(self.subject.translate_samples, name)
        self._record_extractor(name)
        distances = []
        inputs = self._require(self.subject.inputs, name)
        for i in range(len(inputs)):
            outputs = images.quantize(translate(inputs.normalized(i)))
            features = self._loaded_extractor(x.permute(1, 2, 0).numpy() for x in outputs)
            distances.append(metric.function(features.features[None]))
        self.settings[name]["samples"] = len(outputs)
        return self._means({name: torch.cat(distances)})

    def _translator(self, name: str, metric: Metric) -> dict[str, Estimate]:
        translate = self._require(self.subject.translate_with_grad, name)
        return self._means(self._map_inputs(name, lambda x: metric.function(x, translate, seed=self.seed)))

    def _attacks(self, name: str, metric: Metric) -> dict[str, Estimate]:
        """Attack some of the inputs; of a model that translates both ways, also look for inputs hidden in outputs."""
        translate, inputs = self._require(self.subject.translate_with_grad, name), self._coloured_inputs(name)
        numbers = evenly_spaced(len(inputs), self.attack_images)
        self.settings[name] |= {"images": len(numbers), "restarts": self.attack_restarts}
        values: dict[str, list[Tensor]] = {}
        for i in numbers:
            result = metric.function(inputs.normalized(i), translate, seed=self.seed, restarts=self.attack_restarts)
            self.attacked.append(AttackedImage.from_result(inputs.names[i], inputs.pixels(i), result))
            for key, each in result.values.items():
                values.setdefault(key, []).append(each.cpu())
        self.attacked.sort(key=lambda image: (-image.change, image.name))
        for key, each in values.items():  # of inputs that were not attacked, nothing is known
            of_all = torch.full((len(inputs),), math.nan, dtype=torch.float64)
            of_all[list(numbers)] = torch.cat(each)
            self.per_image[key] = of_all.tolist()
        estimates = {key: mean_interval(torch.cat(each), self.seed) for key, each in values.items()}
        two_way = self.subject.translate_back is not None and "hidden_signal" not in self.settings
        return {**estimates, **(self.compute("hidden_signal") if two_way else {})}

    def _round_trip(self, name: str, metric: Metric) -> dict[str, Estimate]:
        translate, translate_back = self._require(self.subject.translate, name), self.subject.translate_back
        if translate_back is None:
            raise UsageError(f"{name}: needs a model that translates both ways; this one has one direction")
        return self._means(self._map_inputs(name, lambda x: metric.function(x, translate, translate_back)))

    def _labels(self, name: str, metric: Metric) -> dict[str, Estimate]:
        scorer, labels = self._require(self.subject.train_label_scorer, name)(name)
        self.settings[name] = {"classes": scorer.classes, "sha256": scorer.sha256}
        return metric.function(scorer, self.subject.outputs.stack(name), labels, seed=self.seed)

    def _classifier(self, name: str, metric: Metric) -> dict[str, Estimate]:
        if self.subject.classify is None:
            raise UsageError(f"{name}: needs a model that classifies images, as those of sgan; leave it out")
        self.settings[name]["images"] = len(self.subject.real)
        return {name: mean_interval(metric.function(*self.subject.classify(name)), self.seed)}

    def _map_inputs(self, name: str, function: Callable[[Tensor], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        inputs = self._coloured_inputs(name)
        results = [function(inputs.normalized(i)) for i in range(len(inputs))]
        return {key: torch.cat([values[key].cpu() for values in results]) for key in results[0]}

    def _coloured_inputs(self, name: str) -> ImageSet:
        """Return the inputs. DataError for label maps."""
        inputs = self._require(self.subject.inputs, name)
        if inputs.labels is not None:
            raise DataError(f"{name}: changes the colours of the inputs, and label maps have none; leave it out")
        return inputs

    def _require(self, value: T | None, name: str) -> T:
        if value is None:
            why = (
                self.subject.why_no_inputs
                or f"needs a model and its inputs: {command_line('evaluate', 'MODEL', 'ROOT')}"
            )
            raise UsageError(f"{name}: {why}")
        return value

    def _means(self, values: Mapping[str, Tensor]) -> dict[str, Estimate]:
        self.per_image |= {key: each.tolist() for key, each in values.items()}
        return {key: mean_interval(each, self.seed) for key, each in values.items()}

    def _record_extractor(self, name: str) -> None:
        extractor = self._loaded_extractor
        check_extractor(name, extractor.name)
        self.settings[name] |= {
            "extractor": extractor.name,
            "sha256": extractor.sha256,
            "resize": extractor.spec.resize,
        }

    @property
    def _loaded_extractor(self) -> Extractor:
        if self.extractor is None:
            self.extractor = self.load_extractor()
        return self.extractor

    def _features_of(self, image_set: ImageSet) -> Features:
        if id(image_set) not in self.known_features:
            features = self._loaded_extractor(x[0].permute(1, 2, 0).numpy() for x in image_set)
            self.known_features[id(image_set)] = image_set, features
        return self.known_features[id(image_set)][1]


_COMPUTE: dict[str, Callable[[Evaluator, str, Metric], dict[str, Estimate]]] = {
    "pairs": Evaluator._pairs,
    "pairs, border": Evaluator._bordered_pairs,
    "pairs, weights": Evaluator._weighted_pairs,
    "inputs": Evaluator._inputs,
    "features": Evaluator._features,
    "logits": Evaluator._logits,
    "images": Evaluator._images,
    "images by place": Evaluator._images_by_place,
    "samples": Evaluator._samples,
    "translator": Evaluator._translator,
    "round trip": Evaluator._round_trip,
    "attacks": Evaluator._attacks,
    "labels": Evaluator._labels,
    "classifier": Evaluator._classifier,
}
"""Row of NEEDS → method that computes a metric with such needs."""


def _default_settings(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the settings of a metric: its arguments that have a default, except the seed."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "seed"}
