"""The description of a trained model, `config.json`, as a typed record. Imports no torch, so that a status is quick."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict

FORMAT = 1


class DomainInfo(TypedDict):
    """Images of one domain."""

    channels: int
    range: list[int]
    """Values of the tensors, [-1, 1]."""
    values: NotRequired[list[float]]
    """Stored values that −1 and 1 stand for; absent: the full range of a file's type."""


class TrainingInfo(TypedDict):
    """Training that a model comes from."""

    data: str
    """Name of the data folder."""
    images: int
    """Training images seen."""
    crop_size: int
    load_size: int


@dataclass(frozen=True)
class ModelInfo:
    """Content of `config.json`. Keys that this version does not know are kept, and written back."""

    method: str
    """Row of METHODS."""
    networks: dict[str, Any]
    """Settings that the networks are built from: fields of the method's config."""
    directions: dict[str, str]
    """Target domain → attribute of the generator that translates to it; empty for a model that translates nothing."""
    size: dict[str, int]
    """Sizes of images that a generator takes: `multiple_of` and `minimum`, in pixels a side."""
    domains: dict[str, DomainInfo]
    norm_statistics: str
    """ "sample" or "running": the statistics that batch norms divide by in conversion."""
    dropout: str
    """ "on" or "off", in conversion."""
    version: str = ""
    """Version of the package that made the model."""
    trained_on: TrainingInfo | None = None
    imported_from: dict[str, str] | None = None
    """File name → SHA-256 of each checkpoint of the reference implementation that the model was imported from."""
    direction: str | None = None
    """ "a2b" or "b2a": how the data folders were read in training; None where that is not known."""
    preprocess: str | None = None
    """Setting of the same name in training; None where it is not known."""
    format: int = FORMAT
    other: dict[str, Any] = field(default_factory=dict)
    """Keys of later versions."""

    @classmethod
    def from_dict(cls, values: Any) -> "ModelInfo":
        """Check the decoded content of `config.json`. ValueError names a key that is missing or has a wrong type."""
        if not isinstance(values, dict):
            raise ValueError(f"its description is a JSON {type(values).__name__}, not an object")
        for key in _REQUIRED:
            if key not in values:
                raise ValueError(f"its description lacks {key!r}")
        for key, kind in _TYPES.items():
            if key in values and not isinstance(values[key], kind):
                raise ValueError(f"{key} in its description is {values[key]!r}, but must be a {kind.__name__}")
        known = {key: value for key, value in values.items() if key in _KEYS}
        return cls(**known, other={key: value for key, value in values.items() if key not in _KEYS})

    @classmethod
    def read(cls, path: Path) -> "ModelInfo":
        """Read a `config.json`. OSError, ValueError or RecursionError where it cannot be read."""
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    def to_dict(self) -> dict[str, Any]:
        """Return what `config.json` holds, without the keys that are not known."""
        known = {key: getattr(self, key) for key in _KEYS}
        return {key: value for key, value in known.items() if value not in (None, "")} | self.other

    def to_json(self) -> str:
        """Return the text of `config.json`."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @property
    def title(self) -> str:
        """Name of the model for people: its method and data, or the files of the reference that it was imported from."""
        if self.trained_on is not None:
            return f"{self.method} on {self.trained_on['data']}"
        return ", ".join(self.imported_from or [self.method])

    @property
    def has_dropout(self) -> bool:
        """True where dropout is active in conversion."""
        return self.dropout == "on"


_KEYS = (
    "format", "method", "version", "networks", "directions", "size", "domains", "norm_statistics", "dropout",
    "trained_on", "imported_from", "direction", "preprocess",
)  # fmt: skip
"""Keys of `config.json`, in the order in which they are written."""

_REQUIRED = ("method", "networks", "directions", "size", "domains", "norm_statistics", "dropout")

_TYPES: dict[str, type] = {
    "format": int, "method": str, "version": str, "networks": dict, "directions": dict, "size": dict, "domains": dict,
    "norm_statistics": str, "dropout": str, "trained_on": dict, "imported_from": dict, "direction": str, "preprocess": str,
}  # fmt: skip

assert {*_KEYS, "other"} == {known.name for known in fields(ModelInfo)}
