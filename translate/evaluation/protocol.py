"""What was measured, on what, how: the record that stands beside each figure, and whether two figures may be compared."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate import atomic
from translate.errors import UsageError
from translate.evaluation import image_sets
from translate.evaluation.evaluator import Evaluator, Subject, metric_of_key, uses_features
from translate.evaluation.uncertainty import Estimate
from translate.text import one_line

SIGNIFICANT = 2
"""Standard errors of a difference beyond which it is more than chance: about 95 %."""

FREE = ("data", "extractor", "extractor_sha256", "extractor_resize", "settings")
"""What may differ between two protocols: the fingerprints say more than a folder's name, and settings belong to a metric."""


def build_protocol(
    judge: Evaluator, way: image_sets.ReadOptions, *, code: str, seed: int, **data: Any
) -> dict[str, Any]:
    """The protocol of a judge's figures: flat but for `settings`, which has a row for each metric.

    `data` says which images these were: the folder's name, split, direction and so on.
    """
    subject = judge.subject
    used = judge.extractor if any(map(uses_features, judge.settings)) else None
    return {
        **data,
        "real_images": len(subject.real),
        "real_sha256": subject.real.sha256(),
        "real_format": subject.real.formats,
        **_inputs(subject),
        "output_images": len(subject.outputs),
        "output_format": subject.outputs.formats,
        "size": way.size,
        "resize": image_sets.RESIZE_FILTER if way.size else None,
        "extractor": used.name if used else None,
        "extractor_sha256": used.sha256 if used else None,
        "extractor_resize": used.spec.resize if used else None,
        "seed": seed,
        "code": code,
        "settings": judge.settings,
    }


def _inputs(subject: Subject) -> dict[str, Any]:
    if subject.inputs is None:
        return {}
    return {"input_images": len(subject.inputs), "input_sha256": subject.inputs.sha256()}


def estimate_to_json(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON has it: what is not finite, as the PSNR of equal images, is null."""
    return {
        "value": _finite(estimate.value),
        "error": _finite(estimate.error),
        "interval": list(estimate.interval) if estimate.interval else None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def write_results(path: Path, record: Mapping[str, Any]) -> None:
    """A record of figures as a JSON file, whole or not at all."""
    with atomic.storage_errors(path.parent):
        atomic.write(path, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


def read_results(path: Path) -> dict[str, Any]:
    """A record of figures; UsageError if the file holds none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        values = [figure["value"] for figure in record["metrics"].values()]
        whole = all(value is None or isinstance(value, int | float) for value in values)
        if not whole or not isinstance(record["protocol"]["settings"], dict):
            raise ValueError("its figures are no numbers")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; give the metrics.json of an evaluation") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise UsageError(f"{path}: no record of an evaluation: {one_line(e)}") from None
    return record


# Comparing.


@dataclass(frozen=True)
class MetricDifference:
    """One figure of two evaluations."""

    key: str
    first: float | None
    second: float | None
    error: float | None
    """Standard error of the difference; None where one of the two is not known."""

    @property
    def value(self) -> float | None:
        """Second less first."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def is_significant(self) -> bool | None:
        """Whether the difference is more than chance; None where that cannot be said."""
        if self.value is None or self.error is None:
            return None
        return abs(self.value) > SIGNIFICANT * self.error


def compare_results(
    first: Mapping[str, Any], second: Mapping[str, Any], names: tuple[str, str]
) -> list[MetricDifference]:
    """The figures that both evaluations have. UsageError, with what differs one a line, unless they were measured alike.

    The two errors are taken as independent: sqrt(a² + b²). On the same images they are not, and the true error of the
    difference is then mostly smaller: what exceeds this one exceeds that.
    """
    shared = [key for key in first["metrics"] if key in second["metrics"]]
    if not shared:
        raise UsageError(f"{names[0]} and {names[1]} have no figure in common; evaluate both with the same --metrics")
    unlike = protocol_differences(first["protocol"], second["protocol"], shared)
    if unlike:
        lines = "\n".join(f"  {line}" for line in unlike)
        raise UsageError(f"{names[0]} and {names[1]} were not measured alike; evaluate one of them again:\n{lines}")
    return [_difference(key, first["metrics"][key], second["metrics"][key]) for key in shared]


def protocol_differences(first: Mapping[str, Any], second: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """What is unlike in two protocols, of the figures named, as "size: 128, 256"."""
    names = sorted((first.keys() | second.keys()) - set(FREE))
    found = [(name, first.get(name), second.get(name)) for name in names]
    rows = dict.fromkeys(metric_of_key(key) for key in keys)
    found += [(row, first["settings"].get(row), second["settings"].get(row)) for row in rows]
    return [f"{name}: {_text(one)}, {_text(other)}" for name, one, other in found if one != other]


def _difference(key: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> MetricDifference:
    errors = [each["error"] for each in (first, second) if each.get("error") is not None]
    return MetricDifference(key, first["value"], second["value"], math.hypot(*errors) if len(errors) == 2 else None)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_text(each)}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)
