"""The validation set of a training, and the figures that are taken on it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from translate.api.evaluation import DEFAULT_EXTRACTOR, build_results, compute_metrics, default_metrics
from translate.data import layouts
from translate.data.split import Split
from translate.errors import UsageError
from translate.evaluation import evaluator, extractors, protocol
from translate.evaluation.cases import EvaluationOptions, HeldOutData, case_from_split, find_hidden_pairs
from translate.evaluation.evaluator import Evaluator
from translate.evaluation.metrics import METRICS
from translate.trained import translator
from translate.trained.translator import Translator
from translate.training.validation import ValidationDeferred


@dataclass(frozen=True)
class ValidationSet:
    """The images that a training is measured on, and what they are called in its records."""

    name: str
    split: Split


def split_for_validation(
    root: Path, layout: str, cfg: Any, train: Split, say: Callable[[str], None]
) -> tuple[Split, ValidationSet | None]:
    """What is trained on, and what it is measured on: `val` images, else a share of the training images that is set aside for
    it (`hold_out`), else test images, which is said. None if nothing is to be measured.

    UsageError where there are none of these.
    """
    has_val = layouts.has_split(root, "val")
    aside = None
    if cfg.hold_out and not has_val:
        train, aside = train.hold_out(cfg.hold_out)
    if cfg.evaluate_every is None:
        return train, None
    if layout not in ("paired", "unpaired"):
        raise UsageError(
            f"--evaluate-every {cfg.evaluate_every}: figures during training are of methods that translate between two "
            f"domains; leave it out, and see translate evaluate"
        )
    if aside is not None:
        return train, ValidationSet("held out of train", aside.subsample(cfg.evaluate_images))
    name = "val" if has_val else "test"
    if not has_val and not layouts.has_split(root, "test"):
        raise UsageError(
            f"--evaluate-every {cfg.evaluate_every}: {root} has neither val nor test images; --hold-out 0.1 sets a tenth of "
            f"the training images aside"
        )
    if not has_val:
        say(
            f"warning: {root} has no val images, so test images choose the best model, and say no more how good it is on "
            f"others; --hold-out 0.1 sets training images aside instead"
        )
    split = find_hidden_pairs(root, name, cfg.direction) or layouts.find_split(root, layout, name, cfg.direction)
    return train, ValidationSet(name, split.subsample(cfg.evaluate_images))


class ValidationEvaluator:
    """Figures of a model on a validation set: those of `translate evaluate` on the same images and weights."""

    def __init__(self, root: Path, known: ValidationSet, cfg: Any, layout: str, device: torch.device) -> None:
        """UsageError where a metric is unknown, or the one that chooses is not among those taken."""
        self.root, self.known, self.cfg, self.device = root, known, cfg, device
        asked = [name.strip() for name in cfg.evaluate_metrics.split(",") if name.strip()]
        self.asked = list(dict.fromkeys(evaluator.resolve_metric(name) for name in asked))
        for name in self.asked:
            evaluator.check_extractor(name, DEFAULT_EXTRACTOR)
        self.best_by = cfg.best_by or self._usual_choice(layout)
        row = evaluator.resolve_metric(self.best_by)
        if self.asked and row not in self.asked:
            raise UsageError(
                f"--best-by {self.best_by}: not among --evaluate-metrics {cfg.evaluate_metrics}; add it there"
            )
        self.higher_is_better = METRICS[row].better == "higher"
        self.load = partial(extractors.load_extractor, DEFAULT_EXTRACTOR, None, device)
        if any(map(evaluator.uses_features, [row, *self.asked])):
            self.load()  # a missing package is said before the training, not after hours of it

    def _usual_choice(self, layout: str) -> str:
        """The truth where the method learns from it; where it is hidden from the method it shall not choose either."""
        usual = "l1" if layout == "paired" else "swd"
        return usual if not self.asked or usual in self.asked else METRICS[self.asked[0]].keys[0]

    def __call__(self, model: Path, is_stopping: Callable[[], bool]) -> dict[str, float]:
        """Figures of the model in a folder, where their record is left as `metrics.json`."""

        def look_up(finished: int, failed: int, total: int) -> None:
            if is_stopping():
                raise ValidationDeferred

        source = translator.read_model(model)
        ready = Translator(source, self.device)
        case = case_from_split(
            ready,
            None,
            HeldOutData(self.root, self.known.name, self.known.split, self.cfg.direction),
            EvaluationOptions(),
            look_up,
        )
        done = Evaluator(case.subject, self.load, device=self.device)
        names = self.asked or [*default_metrics(case, extractor=False)]
        if evaluator.resolve_metric(self.best_by) not in names:
            names.append(evaluator.resolve_metric(self.best_by))
        figures = compute_metrics(done, names)
        protocol.write_results(model / "metrics.json", build_results(case, done, figures, seed=0))
        return {key: estimate.value for key, estimate in figures.items()}
