"""Results of an evaluation with their protocol: the record of what was measured and how, and the comparison of two records."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate import atomic, records
from translate.errors import UsageError
from translate.evaluation.evaluator import Evaluator, Subject, metric_of_key, uses_features
from translate.evaluation.extractors import EXTRACTORS
from translate.evaluation.image_sets import RESIZE_FILTER, ReadOptions
from translate.evaluation.uncertainty import Estimate
from translate.text import one_line

SIGNIFICANT = 2
"""Standard errors beyond which a difference is significant, at a level of about 95 %."""

NOT_COMPARED = (
    "data", "extractor", "extractor_sha256", "extractor_resize", "settings", "paired", "truth", "trained_against",
)  # fmt: skip
"""Keys of a protocol that may differ: fingerprints say more than a folder's name, settings belong to a metric, how the truth is
known concerns only metrics that both evaluations have, and the networks of a training are the model's."""


def build_protocol(
    evaluator: Evaluator, read_options: ReadOptions, *, code: str, seed: int, **data: Any
) -> dict[str, Any]:
    """Return the protocol of an evaluator's values: flat, except for `settings`, which has a row for each metric.

    `code` is the program with its version. `data` says which images were evaluated: the folder's name, split, direction
    and so on.
    """
    subject = evaluator.subject
    extractor = evaluator.extractor if any(map(uses_features, evaluator.settings)) else None
    return {
        **data,
        "real_images": len(subject.real),
        "real_sha256": subject.real.sha256(),
        "real_format": subject.real.formats,
        **_inputs(subject),
        "output_images": len(subject.outputs),
        "output_format": subject.outputs.formats,
        "size": read_options.size,
        "resize": RESIZE_FILTER if read_options.size else None,
        "extractor": extractor.name if extractor else None,
        "extractor_sha256": extractor.sha256 if extractor else None,
        "extractor_resize": extractor.spec.resize if extractor else None,
        "seed": seed,
        "code": code,
        "settings": evaluator.settings,
    }


def _inputs(subject: Subject) -> dict[str, Any]:
    if subject.inputs is None:
        return {}
    return {"input_images": len(subject.inputs), "input_sha256": subject.inputs.sha256()}


def networks_trained_against(settings: Mapping[str, Any]) -> list[str]:
    """Return the pretrained networks that took part in a training with these settings, by their names, each once.

    They are the features of a projected discriminator or of feature matching, and the network of a perceptual loss. One that
    was given as a file has the name of the extractor that is published in a file of this name.
    """
    features = settings.get("features") or "efficientnet-lite0"
    is_projected = str(settings.get("discriminator") or "").startswith("projected")
    used = [features] if is_projected or _is_positive(settings.get("lambda_features")) else []
    if _is_positive(settings.get("lambda_perceptual")):
        used.append(settings.get("perceptual_network") or "a perceptual network")
    by_file = {spec.weights.file: name for name, spec in EXTRACTORS.items()}
    return list(dict.fromkeys(by_file.get(Path(str(name)).name, str(name)) for name in used))


def _is_positive(value: Any) -> bool:
    return records.is_number(value) and value > 0


def estimate_to_json(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON holds it; values that are not finite, as the PSNR of equal images, are None."""
    return {
        "value": _finite(estimate.value),
        "error": _finite(estimate.error),
        "interval": list(estimate.interval) if estimate.interval else None,
    }


def reference_to_json(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Return the values of a reference as JSON holds them: {key: {value, error}}."""
    return {key: {"value": _finite(each.value), "error": _finite(each.error)} for key, each in estimates.items()}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def write_results(path: Path, record: Mapping[str, Any]) -> None:
    """Write the results of an evaluation as a JSON file, whole or not at all. StorageError if that fails."""
    with atomic.storage_errors(path.parent):
        atomic.write(path, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


def read_results(path: Path) -> dict[str, Any]:
    """Read the results of an evaluation. UsageError if the file does not hold any."""
    try:
        record = records.read_json(path)
        figures = [figure[key] for figure in record["metrics"].values() for key in ("value", "error") if key in figure]
        if not all(value is None or records.is_finite_number(value) for value in figures):
            raise ValueError("its values are not numbers")
        if not all("value" in figure for figure in record["metrics"].values()):
            raise ValueError("a metric has no value")
        if not isinstance(record["protocol"]["settings"], dict):
            raise ValueError("its protocol has no settings")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; give the metrics.json of an evaluation") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise UsageError(f"{path}: not the results of an evaluation: {one_line(e)}") from None
    return record


@dataclass(frozen=True)
class MetricDifference:
    """Difference of one value between two evaluations."""

    key: str
    """Key of the value in the results."""
    first: float | None
    """Value of the first evaluation; None where it is not finite."""
    second: float | None
    """Value of the second evaluation; None where it is not finite."""
    error: float | None
    """Standard error of the difference; None where one of the two errors is not known."""

    @property
    def value(self) -> float | None:
        """Second value less first; None where one of the two is."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def is_significant(self) -> bool | None:
        """True if the difference exceeds SIGNIFICANT standard errors; None where it or its error is not known."""
        if self.value is None or self.error is None:
            return None
        return abs(self.value) > SIGNIFICANT * self.error


def compare_results(
    first: Mapping[str, Any], second: Mapping[str, Any], names: tuple[str, str]
) -> list[MetricDifference]:
    """Compare the values that both evaluations have. `names` are the two files, for messages.

    UsageError, with one line for each difference, if their protocols differ.

    The two errors are taken as independent: sqrt(a² + b²). On the same images they are not, and the true error of the
    difference is then usually smaller: a difference that is significant here is significant there.
    """
    shared = [key for key in first["metrics"] if key in second["metrics"]]
    if not shared:
        raise UsageError(f"{names[0]} and {names[1]} have no metric in common; evaluate both with the same --metrics")
    differences = protocol_differences(first["protocol"], second["protocol"], shared)
    if differences:
        lines = "\n".join(f"  {line}" for line in differences)
        raise UsageError(
            f"{names[0]} and {names[1]} were measured in different ways; evaluate one of them again:\n{lines}"
        )
    return [metric_difference(key, first["metrics"][key], second["metrics"][key]) for key in shared]


def protocol_differences(first: Mapping[str, Any], second: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Return the differences of two protocols as far as they concern the values `keys`, each as "size: 128, 256"."""
    names = sorted((first.keys() | second.keys()) - set(NOT_COMPARED))
    entries = [(name, first.get(name), second.get(name)) for name in names]
    rows = dict.fromkeys(metric_of_key(key) for key in keys)
    entries += [(row, first["settings"].get(row), second["settings"].get(row)) for row in rows]
    return [f"{name}: {_text(one)}, {_text(other)}" for name, one, other in entries if one != other]


def metric_difference(key: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> MetricDifference:
    """Return the difference of a value, {value, error} each, between two evaluations, their errors taken as independent."""
    errors = [each["error"] for each in (first, second) if each.get("error") is not None]
    return MetricDifference(key, first["value"], second["value"], math.hypot(*errors) if len(errors) == 2 else None)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_text(each)}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)
