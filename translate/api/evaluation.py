"""Evaluation of a model on held-out images, or of one folder of images against another."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from translate.api.models import say_to_stderr
from translate.callbacks import ProgressCallback, SayCallback, ignore_line, ignore_progress
from translate.catalog.shipped import find_data
from translate.config import FLAGS, resolve
from translate.data.layouts import LAYOUTS_WITH_TRUTH
from translate.errors import DataError, UsageError
from translate.evaluation import extractors, protocol, result_files
from translate.evaluation.cases import EvaluationCase, EvaluationOptions, case_from_folders, case_from_model
from translate.evaluation.evaluator import Evaluator, check_extractor, resolve_metric, uses_features
from translate.evaluation.references import compute_references
from translate.evaluation.sample_cases import case_from_sampler
from translate.evaluation.uncertainty import Estimate
from translate.run_folder import METRICS_FILE
from translate.runtime import devices
from translate.trained import find, translator
from translate.trained.folder import TrainedModel
from translate.trained.sampler import ImageSampler
from translate.trained.translator import Translator
from translate.version import __version__

DEFAULT_EXTRACTOR = "efficientnet-lite0"
"""Row of EXTRACTORS that metrics of features use if none is named: its weights are installed with its package."""

PAIRED_METRICS = ("l1", "psnr", "ssim")
"""Rows of METRICS that are computed by default where the true image of each output is known."""


LUMA_METRICS = ("psnr_y", "ssim_y")
"""Rows of METRICS that papers on super-resolution report, computed by default for its models."""


def evaluate(
    model: str | Path | Translator | None = None,
    root: str | Path | None = None,
    *,
    real: str | Path | None = None,
    fake: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    extractor: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    convolution: str = "auto",
    tune: str = "fast",
    out: str | Path | None = None,
    table: str | Path | None = None,
    report: str | Path | None = None,
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **options: Any,
) -> dict[str, Any]:
    """Compute metrics of a model on the held-out images of a data folder, or of the images in `fake` against those in `real`.

    `metrics` are rows of `evaluation.metrics.METRICS`; if none are given, those that the images allow. `extractor` is a row of
    `evaluation.extractors.EXTRACTORS` for metrics of features, `weights` its file or that of LPIPS. `options` are the fields
    of `evaluation.cases.EvaluationOptions`: which images are evaluated, and how.

    Returns `metrics` ({name: {value, error, interval}}), `protocol` (on which data, how), `subject` (which model or images) and
    `images` (metrics of single images); of a model also the same metrics of `copying` the input, of its colours alone mapped to
    those of the target domain (`colour_map`) and of `real` training images ({name: {value, error}} each), as far as the images
    allow. Writes them to `metrics.json` in the model's run folder, or to `out`; `table` is a CSV file for the values of single
    images, `report` an HTML page with all values and the images that change most under attack. Raises DataError if the images
    are too few, or not pairs, for a metric that is asked for; UsageError; ModelError.
    """
    progress, say = progress or ignore_progress, say or ignore_line
    chosen, device_used = resolve(EvaluationOptions, (FLAGS, options)), devices.resolve_device(device)
    asked = list(dict.fromkeys(resolve_metric(name) for name in metrics or ()))
    extractor_name = extractor or DEFAULT_EXTRACTOR
    for name in asked:
        check_extractor(name, extractor_name)
    extractor_weights, lpips_weights = _assign_weights(weights, asked, extractor_name)
    load_extractor = partial(extractors.load_extractor, extractor_name, extractor_weights, device_used)
    is_needed = any(map(uses_features, asked)) if asked else extractor or weights
    ready = load_extractor() if is_needed else None  # a missing package is reported before the work, not after it
    arithmetic = {"device": device, "precision": precision, "convolution": convolution, "tune": tune}
    load_model = partial(_load_model, **arithmetic, truncation=chosen.truncation, say=say)
    case = _build_case(EvaluationInputs(model, root, real, fake), chosen, load_model, progress, say)
    for line in case.notices:
        say(line)
    attacks = chosen.attack_images, chosen.attack_restarts
    evaluator = Evaluator(case.subject, load_extractor, chosen.seed, lpips_weights, device_used, *attacks, ready)
    estimates = _compute(case, evaluator, asked, say)
    results = build_results(case, evaluator, estimates, chosen.seed)
    if case.reference_sources:
        references = compute_references(evaluator, case.reference_sources, say)
        results |= {name: protocol.reference_to_json(values) for name, values in references.items()}
    in_run = case.run_folder / METRICS_FILE if case.run_folder else None
    _write_files(results, evaluator, *(Path(path) if path else None for path in (out or in_run, table, report)))
    return results


def _compute(
    case: EvaluationCase, evaluator: Evaluator, asked: Sequence[str], say: Callable[[str], None]
) -> dict[str, Estimate]:
    """Compute the metrics that are asked for, or else those that the images allow."""
    if asked:
        return compute_metrics(evaluator, asked)
    if case.subject.why_no_truth and not case.subject.why_no_inputs:
        say(truth_left_out(case.subject.why_no_truth))
    has_extractor = evaluator.extractor is not None or extractors.is_available(DEFAULT_EXTRACTOR)
    return compute_available_metrics(evaluator, default_metrics(case, extractor=has_extractor), say)


def _write_files(
    results: dict[str, Any], evaluator: Evaluator, out: Path | None, table: Path | None, report: Path | None
) -> None:
    """Write the files that are asked for."""
    if out:
        protocol.write_results(out, results)
    if table:
        result_files.write_image_table(table, results["images"])
    if report:
        result_files.write_result_page(report, results, evaluator.attacked)


def compare(first: str | Path, second: str | Path) -> dict[str, Any]:
    """Compare two evaluations: {"metrics": {name: {first, second, difference, error, exceeds}}}.

    `exceeds` says whether they differ by more than chance; null if an error is not known. Raises UsageError unless both were
    measured in the same way.
    """
    differences = protocol.compare_results(
        protocol.read_results(Path(first)), protocol.read_results(Path(second)), (str(first), str(second))
    )
    rows = {
        difference.key: {
            "first": difference.first,
            "second": difference.second,
            "difference": difference.value,
            "error": difference.error,
            "exceeds": difference.is_significant,
        }
        for difference in differences
    }
    return {"metrics": rows}


def _assign_weights(
    weights: str | Path | None, metrics: Sequence[str], extractor: str
) -> tuple[Path | None, Path | None]:
    """Return the weights file of the extractor, and that of LPIPS, which gets the file if the extractor needs none."""
    file = Path(weights) if weights else None
    extractor_needs_it = any(map(uses_features, metrics)) and not extractors.find_extractor(extractor).packaged_weights
    return (None, file) if "lpips" in metrics and not extractor_needs_it else (file, None)


@dataclass(frozen=True)
class EvaluationInputs:
    """A model and a data folder, or two folders of images; the others are None."""

    model: str | Path | Translator | None
    root: str | Path | None
    real: str | Path | None
    fake: str | Path | None


def _build_case(
    inputs: EvaluationInputs,
    options: EvaluationOptions,
    load_model: Callable[[str | Path | Translator], tuple[Translator | ImageSampler, TrainedModel | None]],
    progress: ProgressCallback,
    say: Callable[[str], None],
) -> EvaluationCase:
    """Return the images to evaluate. Raises UsageError unless the inputs are one of the two kinds."""
    model, root, real, fake = inputs.model, inputs.root, inputs.real, inputs.fake
    if model is not None and root is not None and real is None and fake is None:
        data = find_data(root, say)
        ready, source = load_model(model)
        if isinstance(ready, ImageSampler):
            return case_from_sampler(ready, source, data, options, progress, say)
        return case_from_model(ready, source, data, options, progress, say)
    if real is not None and fake is not None and model is None and root is None:
        return case_from_folders(find_data(real, say), find_data(fake, say), options)
    raise UsageError("give MODEL and ROOT, or --real DIR and --fake DIR")


def _load_model(
    model: str | Path | Translator,
    *,
    device: str,
    precision: str,
    convolution: str,
    tune: str,
    truncation: float | None,
    say: Callable[[str], None],
) -> tuple[Translator | ImageSampler, TrainedModel | None]:
    """Return a translator, or the sampler of a model from noise, and the model read; None for one that is loaded already.

    UsageError for a truncation that the model does not take.
    """
    if not isinstance(model, Translator) and find.is_onnx_file(model):
        model = translator.load(model, device=device, precision=precision)  # it has no weights to read
        for notice in model.notices:
            say(notice)
    source = None if isinstance(model, Translator) else find.read_model(model)
    for notice in source.notices if source else ():
        say(notice)
    if source is not None and source.samples_from_noise:
        return ImageSampler(
            source, devices.resolve_device(device), precision, convolution, truncation, tune=tune
        ), source
    if truncation is not None:
        raise UsageError(f"--truncation {truncation:g}: is for models that generate images from noise; leave it out")
    if isinstance(model, Translator):
        return model, None
    assert source is not None
    ready = Translator(source, devices.resolve_device(device), precision, convolution, tune=tune)
    ready.choose_convolutions({}, say)
    return ready, source


def compute_metrics(evaluator: Evaluator, names: Iterable[str]) -> dict[str, Estimate]:
    """Compute some rows of METRICS. Raises DataError or UsageError if the images do not allow one of them."""
    return {key: estimate for name in names for key, estimate in evaluator.compute(name).items()}


def compute_available_metrics(
    evaluator: Evaluator, names: Iterable[str], say: Callable[[str], None]
) -> dict[str, Estimate]:
    """Compute the metrics that the images allow; a message says why another is left out. Raises DataError if all are."""
    estimates: dict[str, Estimate] = {}
    for name in names:
        try:
            estimates |= evaluator.compute(name)
        except DataError as e:
            evaluator.settings.pop(name)
            say(f"left out: {e}")
    if not estimates:
        raise DataError("none of the default metrics can be computed on these images; the lines above say why")
    return estimates


def default_metrics(case: EvaluationCase, *, extractor: bool) -> list[str]:
    """Return the rows of METRICS that say most about a case; `extractor`: there is one for metrics of features."""
    subject, is_paired = case.subject, case.data.get("layout") in LAYOUTS_WITH_TRUTH
    names = [*PAIRED_METRICS] if subject.truth else []
    names += LUMA_METRICS if subject.truth and subject.border else []
    names += [] if is_paired else ["swd"]
    names += ["kid"] if extractor else []
    names += ["accuracy"] if subject.classify else []
    names += ["edge_correlation"] if subject.inputs and not is_paired else []
    return names + (["cycle_psnr"] if subject.translate_back else [])


def truth_left_out(why: str) -> str:
    """Return the line that says why the metrics of pairs are left out."""
    return f"left out: {', '.join(PAIRED_METRICS)}, which need the true image of each output: {why}"


def default_best_by(layout: str) -> str:
    """Return the metric that chooses the best model: l1 for pairs, else swd.

    A truth that is hidden from the method in training does not choose its model either.
    """
    return "l1" if layout in LAYOUTS_WITH_TRUTH else "swd"


def build_results(
    case: EvaluationCase, evaluator: Evaluator, estimates: dict[str, Estimate], seed: int
) -> dict[str, Any]:
    """Return the dictionary that `evaluate` returns and writes."""
    return {
        "metrics": {key: protocol.estimate_to_json(estimate) for key, estimate in estimates.items()},
        "protocol": protocol.build_protocol(
            evaluator, case.read_options, code=f"image-translate {__version__}", seed=seed, **case.data
        ),
        "subject": case.provenance,
        "images": evaluator.per_image_rows(),
    }
