"""Augmentation of labelled sets by a trained model."""

from pathlib import Path
from typing import Any

from translate.api.models import as_translator, say_to_stderr
from translate.callbacks import ProgressCallback, SayCallback, ignore_line, ignore_progress
from translate.config import FLAGS, resolve
from translate.conversion.augment import augmentation
from translate.conversion.augment.augment_options import AugmentOptions, AugmentResult
from translate.trained.translator import Translator


def augment(
    model: str | Path | Translator,
    root: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    convolution: str = "auto",
    tune: str = "fast",
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **options: Any,
) -> AugmentResult:
    """Write the labelled set `root` into `output`, with translations of its training images, which keep their labels.

    `options` are the fields of `translate.conversion.augment.augment_options.AugmentOptions`; the others are as those of
    `convert`. An image that fails is listed in the result and stops nothing. Raises UsageError, DataError (no images, labels
    that name missing files), ModelError, BusyError or StorageError, and Interrupted after a clean stop on a signal.
    """
    say = say or ignore_line
    chosen = resolve(AugmentOptions, (FLAGS, options))
    ready = as_translator(model, device=device, precision=precision, convolution=convolution, tune=tune, say=say)
    return augmentation.augment(ready, root, output, chosen, progress or ignore_progress, say)
