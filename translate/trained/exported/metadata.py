"""Description of an exported model inside its file: for people, and for `translate convert`. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from translate.records import is_text
from translate.trained.model_info import ModelInfo
from translate.version import __version__

INPUT, OUTPUT = "image", "translation"
"""Names of the input and the output."""
CONFIG, SPEC = "image_translate.config", "image_translate.export"
"""Keys of the entries that `translate convert` reads: the content of config.json, and what was exported of it."""


@dataclass(frozen=True)
class ExportRecord:
    """Record of what an exported file computes."""

    to: str
    """Target domain."""
    dtype: str
    """Arithmetic inside, "fp32" or "fp16"."""
    with_preprocessing: bool
    """True: uint8 images in and out, of any size."""
    weights_sha256: str
    """SHA-256 of the weights that it was made from."""


def make_metadata(info: ModelInfo, record: ExportRecord, scale: int) -> dict[str, str]:
    """Return the entries of a file by name; `scale`: pixels a side of the output for each pixel of the input."""
    kept = "" if scale == 1 else f"; the output is {scale} times as high and wide"
    rule = f"multiples of {info.size['multiple_of']} pixels, at least {info.size['minimum']}"
    if record.with_preprocessing:
        size = f"any; padded inside to {rule}, and cropped{kept}"
        kind = "uint8, 0 to 255, (batch, height, width, channels); label maps: class numbers"
        output = "uint8, 0 to 255, (batch, height, width, channels)"
    else:
        size = f"{rule}; pad at the right and the bottom by reflection, and crop the output{kept}"
        kind = "float32, -1 to 1, (batch, channels, height, width); label maps: one-hot"
        output = "float32, -1 to 1, (batch, channels, height, width)"
    return {
        "model_name": info.title,
        "license": info.license or "not stated",
        "size_rule": size,
        "input": kind,
        "output": output,
        "noise": "none: dropout is left out, and a latent code is the mean of all codes",
        "arithmetic": record.dtype,
        "producer": f"image-translate {__version__}",
        CONFIG: info.to_json(),
        SPEC: json.dumps(record.__dict__),
    }


def read_metadata(entries: Mapping[str, str]) -> tuple[ModelInfo, ExportRecord]:
    """Return what the entries of a file say. ValueError, in words, where it was not exported here or is damaged."""
    for key in (CONFIG, SPEC):
        if key not in entries:
            raise ValueError("was not written by translate export, so its images and sizes are not known")
    try:
        info, record = ModelInfo.from_dict(json.loads(entries[CONFIG])), json.loads(entries[SPEC])
    except RecursionError:
        raise ValueError("its description is nested too deeply") from None
    return info, _checked(record)


def _checked(record: Any) -> ExportRecord:
    kinds = {
        "to": is_text,
        "dtype": is_text,
        "with_preprocessing": lambda x: isinstance(x, bool),
        "weights_sha256": is_text,
    }
    if not isinstance(record, dict):
        raise ValueError("its description of the export is no object")
    for key, is_right in kinds.items():
        if not is_right(record.get(key)):
            raise ValueError(f"its description of the export has no usable {key!r}")
    return ExportRecord(**{key: record[key] for key in kinds})
