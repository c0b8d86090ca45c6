"""Validation set of a training, and the metrics that are computed on it."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from translate.api.evaluation import (
    DEFAULT_EXTRACTOR,
    build_results,
    compute_metrics,
    default_best_by,
    default_metrics,
    truth_left_out,
)
from translate.api.label_settings import with_instances
from translate.callbacks import ProgressCallback, ignore_line
from translate.config import TrainConfig
from translate.convolution_choice import ConvolutionRecord
from translate.data import layouts
from translate.data.split import Split, split_by_domain
from translate.errors import DataError, UsageError
from translate.evaluation import extractors, protocol
from translate.evaluation.cases import EvaluationCase, EvaluationOptions, HeldOutData, case_from_split
from translate.evaluation.evaluator import Evaluator, check_extractor, resolve_metric, uses_features
from translate.evaluation.metrics import METRICS
from translate.evaluation.sample_cases import case_from_real_images
from translate.evaluation.truth import find_truth, resolve_truth
from translate.evaluation.uncertainty import Estimate
from translate.run_folder import METRICS_FILE
from translate.trained import find
from translate.trained.folder import TrainedModel
from translate.trained.sampler import ImageSampler
from translate.trained.translator import Translator
from translate.training.validation import ValidationDeferred

Measured = tuple[dict[str, Estimate], dict[str, Any]]
"""Metrics of a case by key, and its results."""


@dataclass(frozen=True)
class ValidationSet:
    """Images that the model is measured on during training."""

    name: str
    """Name of the split in the results."""
    split: Split
    why_no_truth: str = ""
    """Reason why the images are no pairs, with the remedy."""


def split_for_validation(
    root: Path, layout: str, cfg: TrainConfig, train: Split, say: Callable[[str], None]
) -> tuple[Split, ValidationSet | None]:
    """Return the images to train on and the validation set, which is None without `evaluate_every`.

    The validation set are the `val` images, else a share of the training images that is set aside for it (`hold_out`), else
    the test images, with a warning. Raises UsageError if there are none of these.
    """
    has_val = layouts.has_split(root, "val")
    held_out = None
    if cfg.hold_out and not has_val:
        train, held_out = train.hold_out(cfg.hold_out)
    if cfg.evaluate_every is None:
        return train, None
    if held_out is not None:
        why = "" if layout in layouts.LAYOUTS_WITH_TRUTH else "training images that are held out have none"
        held_out = held_out.with_itself(paired=True) if layout == "photos" else held_out
        return train, ValidationSet("held out of train", _limited(held_out, layout, cfg), why)
    name = "val" if has_val else "test"
    if not has_val and not layouts.has_split(root, "test"):
        raise UsageError(
            f"--evaluate-every {cfg.evaluate_every}: {root} has neither val nor test images; --hold-out 0.1 sets a tenth of "
            f"the training images aside"
        )
    if not has_val:
        say(
            f"warning: {root} has no val images, so test images choose the best model, and its metrics on them no longer say "
            f"how good it is on others; --hold-out 0.1 sets training images aside instead"
        )
    split = layouts.find_split(root, layout, name, cfg.direction, skip_unmatched=cfg.skip_unmatched)
    split = with_instances(cfg, split, root, name)
    split = split.with_itself(paired=True) if layout == "photos" else split
    why = ""
    if layout == "unpaired":
        rule = resolve_truth(cfg.truth, root)
        truth = find_truth(root, name, cfg.direction, rule, skip_unmatched=cfg.skip_unmatched)
        split, why = truth.pairs or split, truth.missing
        if truth.notice:
            say(truth.notice)
        elif truth.names_match and not cfg.evaluate_metrics:
            say(f"validation: {truth_left_out(why)}")
    for line in split.notices:
        say(line)
    return train, ValidationSet(name, _limited(split, layout, cfg), why)


def _limited(split: Split, layout: str, cfg: TrainConfig) -> Split:
    """Return at most `evaluate_images` images of a split. UsageError if it cannot tell of a domain how good the model is."""
    split = split.subsample(cfg.evaluate_images)
    for name in split.label_names if layout == "domains" else ():
        try:
            split_by_domain(split, name)
        except DataError:
            raise UsageError(
                f"--evaluate-every {cfg.evaluate_every}: needs validation images of domain {name!r}, and others; add some, or "
                f"use a larger --evaluate-images"
            ) from None
    return split


class ValidationEvaluator:
    """Metrics of a model on a validation set: those of `translate evaluate` on the same images and weights."""

    def __init__(
        self, root: Path, validation_set: ValidationSet, cfg: TrainConfig, layout: str, device: torch.device
    ) -> None:
        """Check the metrics that are asked for.

        Raises UsageError if one is unknown or needs a package that is missing, or if the one that chooses the best model is
        not among them.
        """
        self.root, self.validation_set, self.cfg, self.device = root, validation_set, cfg, device
        self.convolutions: ConvolutionRecord | None = {}
        """Record of the run, to which the first validation adds how it computes convolutions."""
        asked = [name.strip() for name in cfg.evaluate_metrics.split(",") if name.strip()]
        self.metrics = list(dict.fromkeys(resolve_metric(name) for name in asked))
        for name in self.metrics:
            check_extractor(name, DEFAULT_EXTRACTOR)
        self.best_by = cfg.best_by or self._default_best_by(layout)
        self._best_metric = resolve_metric(self.best_by)
        if self.metrics and self._best_metric not in self.metrics:
            raise UsageError(
                f"--best-by {self.best_by}: not among --evaluate-metrics {cfg.evaluate_metrics}; add it there"
            )
        for name in dict.fromkeys([*self.metrics, self._best_metric]):
            if METRICS[name].needs.startswith("pairs") and not validation_set.split.paired:
                raise UsageError(f"{name}: needs the true image of each output; {validation_set.why_no_truth}")
        self.higher_is_better = METRICS[self._best_metric].better == "higher"
        self.load_extractor = partial(extractors.load_extractor, DEFAULT_EXTRACTOR, None, device)
        if any(map(uses_features, [self._best_metric, *self.metrics])):
            self.load_extractor()  # a missing package is reported before the training, not after hours of it

    def _default_best_by(self, layout: str) -> str:
        """Return the default metric, or the first that is asked for if that is not among them."""
        default = default_best_by(layout)
        return default if not self.metrics or default in self.metrics else METRICS[self.metrics[0]].keys[0]

    def __call__(self, model: Path, is_stopping: Callable[[], bool]) -> dict[str, float]:
        """Return the metrics of the model in a folder, and write the results there.

        Raises ValidationDeferred soon after `is_stopping` is true.
        """

        def check_stopping(finished: int, failed: int, total: int) -> None:
            if is_stopping():
                raise ValidationDeferred

        cases = self._cases(find.read_model(model), check_stopping)
        measured = {domain: self._measure(case) for domain, case in cases}
        estimates, results = combine_domains(measured) if len(measured) > 1 else next(iter(measured.values()))
        protocol.write_results(model / METRICS_FILE, results | {"best_by": self.best_by})
        return {key: estimate.value for key, estimate in estimates.items()}

    def _cases(self, model: TrainedModel, progress: ProgressCallback) -> Iterator[tuple[str, EvaluationCase]]:
        """Yield the outputs of the model with the name of their domain: of the target domain, of each of many, or samples."""
        known = self.validation_set
        data = HeldOutData(self.root, known.name, known.split, self.cfg.direction, known.why_no_truth)
        if model.samples_from_noise:
            sampler = ImageSampler(model, self.device, convolution=self.cfg.convolution, tune=self.cfg.tune)
            yield "", case_from_real_images(sampler, None, data, EvaluationOptions(), progress, ignore_line)
            return
        ready = Translator(model, self.device, convolution=self.cfg.convolution, tune=self.cfg.tune)
        chosen = ready.choose_convolutions(self.convolutions)
        if self.convolutions is not None and chosen is not None:
            self.convolutions.update(chosen)
        for domain in known.split.label_names if model.method.layout == "domains" else ("b",):
            yield domain, case_from_split(ready, None, data, EvaluationOptions(to=domain), progress)

    def _measure(self, case: EvaluationCase) -> Measured:
        """Return the metrics of a case and its results, as `translate evaluate` does."""
        evaluator = Evaluator(case.subject, self.load_extractor, device=self.device)
        names = self.metrics or default_metrics(case, extractor=False)
        if self._best_metric not in names:
            names = [*names, self._best_metric]
        estimates = compute_metrics(evaluator, names)
        return estimates, build_results(case, evaluator, estimates, seed=0)


def combine_domains(measured: Mapping[str, Measured]) -> Measured:
    """Return one result for those of several target domains, which its `domains` hold.

    A metric is the mean over the domains, and its error that of a mean whose terms are independent. The protocol has the
    entries that are the same for all domains.
    """
    (first, described), *_ = measured.values()
    means = {key: _mean([estimates[key] for estimates, _ in measured.values()]) for key in first}
    every = [results["protocol"] for _, results in measured.values()]
    same = {k: v for k, v in described["protocol"].items() if all(k in other and other[k] == v for other in every)}
    return means, {
        "metrics": {key: protocol.estimate_to_json(estimate) for key, estimate in means.items()},
        "protocol": {**same, "to": "all", "settings": described["protocol"]["settings"]},
        "subject": {k: v for k, v in described["subject"].items() if k != "outputs_sha256"},
        "images": [],
        "domains": {domain: results for domain, (_, results) in measured.items()},
    }


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    errors = [each.error for each in estimates if each.error is not None]
    error = math.hypot(*errors) / len(errors) if len(errors) == len(estimates) else None
    return Estimate(statistics.fmean(each.value for each in estimates), error)
