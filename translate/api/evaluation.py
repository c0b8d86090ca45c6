"""How good translations are: a model on held-out images, or one folder of images against another."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from translate.api.models import say_to_stderr
from translate.callbacks import ProgressCallback
from translate.config import FLAGS, resolve
from translate.errors import DataError, UsageError
from translate.evaluation import evaluator, extractors, protocol
from translate.evaluation.cases import EvaluationCase, EvaluationOptions, case_from_folders, case_from_model
from translate.evaluation.evaluator import Evaluator
from translate.evaluation.uncertainty import Estimate
from translate.runtime import devices
from translate.trained import translator
from translate.trained.translator import Translator
from translate.version import __version__

DEFAULT_EXTRACTOR = "efficientnet-lite0"
"""The one that works offline at once."""


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
    out: str | Path | None = None,
    progress: ProgressCallback = lambda finished, failed, total: None,
    say: Callable[[str], None] = say_to_stderr,
    **choice: Any,
) -> dict[str, Any]:
    """Figures of a model on the held-out images of ROOT, or of the images in `fake` against those in `real`.

    Gives `metrics` ({name: {value, error, interval}}), `protocol` (what was measured, on what, how), `subject` (what was
    judged) and `images` (figures of single images), and writes them to `metrics.json` in the model's run folder, or to
    `out`. `metrics` are rows of `evaluation.metrics.METRICS`; if none are given, those that the images allow. `extractor`
    is a row of `evaluation.extractors.EXTRACTORS` for metrics of features, `weights` its file or that of LPIPS. `choice`:
    which images, and how (`evaluation.cases.EvaluationOptions`). DataError where the images are too few, or not pairs, for a
    metric that was asked for; UsageError, ModelError.
    """
    chosen, where = resolve(EvaluationOptions, (FLAGS, choice)), devices.resolve_device(device)
    asked = list(dict.fromkeys(evaluator.resolve_metric(name) for name in metrics or ()))
    for name in asked:
        evaluator.check_extractor(name, extractor or DEFAULT_EXTRACTOR)
    own, of_lpips = _whose(weights, asked, extractor or DEFAULT_EXTRACTOR)
    load = partial(extractors.load_extractor, extractor or DEFAULT_EXTRACTOR, own, where)
    needed = any(map(evaluator.uses_features, asked)) if asked else extractor or weights
    ready = load() if needed else None  # before the work, which else might be in vain
    case = _case(model, root, real, fake, chosen, device, precision, progress, say)
    done = Evaluator(case.subject, load, chosen.seed, of_lpips, where, ready)
    names = default_metrics(case, extractor=ready is not None or extractors.is_available(DEFAULT_EXTRACTOR))
    figures = compute_metrics(done, asked) if asked else compute_available_metrics(done, names, say)
    result = build_results(case, done, figures, chosen.seed)
    place = Path(out) if out else case.run_folder / "metrics.json" if case.run_folder else None
    if place:
        protocol.write_results(place, result)
    return result


def compare(first: str | Path, second: str | Path) -> dict[str, Any]:
    """Whether two evaluations differ by more than chance: {"metrics": {name: {first, second, difference, error, exceeds}}}.

    `is_significant` is null where an error is not known. UsageError unless they were measured alike.
    """
    paths = Path(first), Path(second)
    found = protocol.compare_results(
        protocol.read_results(paths[0]), protocol.read_results(paths[1]), (str(first), str(second))
    )
    rows = {
        d.key: {
            "first": d.first,
            "second": d.second,
            "difference": d.value,
            "error": d.error,
            "exceeds": d.is_significant,
        }
        for d in found
    }
    return {"metrics": rows}


def _whose(weights: str | Path | None, asked: Iterable[str], extractor: str) -> tuple[Path | None, Path | None]:
    """The file as the extractor's or as LPIPS's, which gets it if it is asked for and the extractor needs none."""
    file = Path(weights) if weights else None
    extractor_needs_it = (
        any(map(evaluator.uses_features, asked)) and not extractors.find_extractor(extractor).packaged_weights
    )
    return (None, file) if "lpips" in asked and not extractor_needs_it else (file, None)


def _case(
    model: str | Path | Translator | None, root: str | Path | None, real: str | Path | None, fake: str | Path | None,
    choice: EvaluationOptions, device: str, precision: str, progress: ProgressCallback, say: Callable[[str], None],
) -> EvaluationCase:  # fmt: skip
    if model is not None and root is not None and real is None and fake is None:
        if isinstance(model, Translator):
            return case_from_model(model, None, Path(root), choice, progress, say)
        source = translator.read_model(model)
        for notice in source.notices:
            say(notice)
        ready = Translator(source, devices.resolve_device(device), precision)
        return case_from_model(ready, source, Path(root), choice, progress, say)
    if real is not None and fake is not None and model is None and root is None:
        return case_from_folders(Path(real), Path(fake), choice)
    raise UsageError("give MODEL and ROOT, or --real DIR and --fake DIR")


def compute_metrics(done: Evaluator, names: Iterable[str]) -> dict[str, Estimate]:
    """All figures of some rows of METRICS."""
    return {key: figure for name in names for key, figure in done.compute(name).items()}


def compute_available_metrics(done: Evaluator, names: Iterable[str], say: Callable[[str], None]) -> dict[str, Estimate]:
    """The figures that the images allow; of what they do not, a line says why."""
    figures: dict[str, Estimate] = {}
    for name in names:
        try:
            figures |= done.compute(name)
        except DataError as e:
            done.settings.pop(name)
            say(f"left out: {e}")
    if not figures:
        raise DataError("none of the usual metrics can be had of these images; the lines above say why")
    return figures


def default_metrics(case: EvaluationCase, *, extractor: bool) -> list[str]:
    """The metrics that tell most, where none are asked for."""
    subject, paired = case.subject, case.data.get("layout") == "paired"
    names = ["l1", "psnr", "ssim"] if subject.truth else []
    names += [] if paired else ["swd"]
    names += ["kid"] if extractor else []
    names += ["edge_correlation"] if subject.inputs and not paired else []
    return names + (["cycle_psnr"] if subject.translate_back else [])


def build_results(case: EvaluationCase, done: Evaluator, figures: dict[str, Estimate], seed: int) -> dict[str, Any]:
    """What `evaluate` gives."""
    return {
        "metrics": {key: protocol.estimate_to_json(figure) for key, figure in figures.items()},
        "protocol": protocol.build_protocol(
            done, case.read_options, code=f"image-translate {__version__}", seed=seed, **case.data
        ),
        "subject": case.provenance,
        "images": done.per_image_rows(),
    }
