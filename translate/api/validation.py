"""Validation set of a training, and the metrics that are computed on it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from translate.config import TrainConfig
from translate.convolution_choice import ConvolutionRecord
from translate.data import layouts
from translate.data.split import Split
from translate.errors import UsageError
from translate.evaluation import extractors, protocol
from translate.evaluation.cases import EvaluationOptions, HeldOutData, case_from_split
from translate.evaluation.evaluator import Evaluator, check_extractor, resolve_metric, uses_features
from translate.evaluation.metrics import METRICS
from translate.evaluation.truth import find_truth, resolve_truth
from translate.run_folder import METRICS_FILE
from translate.trained import find
from translate.trained.translator import Translator
from translate.training.validation import ValidationDeferred


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
    if layout not in ("paired", "unpaired", "photos"):
        raise UsageError(
            f"--evaluate-every {cfg.evaluate_every}: is for methods that translate between two domains, or make pairs from "
            f"photos; leave it out, and use translate evaluate"
        )
    if held_out is not None:
        why = "" if layout in layouts.LAYOUTS_WITH_TRUTH else "training images that are held out have none"
        held_out = held_out.with_itself(paired=True) if layout == "photos" else held_out
        return train, ValidationSet("held out of train", held_out.subsample(cfg.evaluate_images), why)
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
    return train, ValidationSet(name, split.subsample(cfg.evaluate_images), why)


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

        ready = Translator(find.read_model(model), self.device, convolution=self.cfg.convolution)
        chosen = ready.choose_convolutions(self.convolutions)
        if self.convolutions is not None and chosen is not None:
            self.convolutions.update(chosen)
        case = case_from_split(
            ready,
            None,
            HeldOutData(
                self.root,
                self.validation_set.name,
                self.validation_set.split,
                self.cfg.direction,
                self.validation_set.why_no_truth,
            ),
            EvaluationOptions(),
            check_stopping,
        )
        evaluator = Evaluator(case.subject, self.load_extractor, device=self.device)
        names = self.metrics or default_metrics(case, extractor=False)
        if self._best_metric not in names:
            names = [*names, self._best_metric]
        estimates = compute_metrics(evaluator, names)
        results = build_results(case, evaluator, estimates, seed=0) | {"best_by": self.best_by}
        protocol.write_results(model / METRICS_FILE, results)
        return {key: estimate.value for key, estimate in estimates.items()}
