"""The description of a trained model, `config.json`, as a typed record. Imports no torch, so that a status is quick."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from translate import records
from translate.records import is_count, is_finite_number, is_list_of, is_number, is_table_of, is_text
from translate.text import printable

FORMAT = 1


class LabelInfo(TypedDict):
    """Label maps of one domain."""

    count: int
    """Number of classes, 0 to count − 1."""
    ignore: int
    """Value of pixels without a label."""
    unknown: bool
    """A channel after those of the classes is for pixels without a label."""
    edges: bool
    """The last channel is for the edges of objects, from instance maps."""
    palette: list[str]
    """Row label,red,green,blue,name of each class; empty: default colours."""


class DomainInfo(TypedDict):
    """Images of one domain."""

    channels: int
    range: list[int]
    """Values of the tensors, [-1, 1]."""
    values: NotRequired[list[float]]
    """Stored values that −1 and 1 stand for; absent: the full range of a file's type."""
    labels: NotRequired[LabelInfo]
    """Label maps, of which the networks get `channels` one-hot; absent: the domain has images."""


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
    license: str | None = None
    """Licence of the weights, as an SPDX identifier or in words; None where nobody has stated one."""
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
        try:
            records.check_kinds(values, _KINDS)
        except ValueError as e:
            raise ValueError(f"in its description {e}") from None
        known = {key: value for key, value in values.items() if key in _KEYS}
        return cls(**known, other={key: value for key, value in values.items() if key not in _KEYS})

    @classmethod
    def read(cls, path: Path) -> "ModelInfo":
        """Read a `config.json`. OSError or ValueError where it cannot be read."""
        return cls.from_dict(records.read_json(path))

    def to_dict(self) -> dict[str, Any]:
        """Return what `config.json` holds, without the keys that are not known."""
        known = {key: getattr(self, key) for key in _KEYS}
        return {key: value for key, value in known.items() if value not in (None, "")} | self.other

    def to_json(self) -> str:
        """Return the text of `config.json`."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @property
    def title(self) -> str:
        """Name of the model for people, safe to print: its method and data, or the files that it was imported from."""
        if self.trained_on is not None:
            return printable(f"{self.method} on {self.trained_on['data']}")
        return printable(", ".join(self.imported_from or [self.method]))

    @property
    def generator_name(self) -> str:
        """Name of the generators: a row of GENERATORS, or that of a method which has generators of its own."""
        return str(self.networks.get("generator", f"{self.method} generator"))

    @property
    def has_dropout(self) -> bool:
        """True where dropout is active in conversion."""
        return self.dropout == "on"


_KEYS = (
    "format", "method", "version", "networks", "directions", "size", "domains", "norm_statistics", "dropout",
    "trained_on", "imported_from", "direction", "preprocess", "license",
)  # fmt: skip
"""Keys of `config.json`, in the order in which they are written."""

_REQUIRED = ("method", "networks", "directions", "size", "domains", "norm_statistics", "dropout")


def _is_positive(value: Any) -> bool:
    return is_count(value) and value > 0


def _is_setting(value: Any) -> bool:
    return value is None or isinstance(value, bool) or is_text(value) or is_number(value)


def _is_size_rule(value: Any) -> bool:
    return is_table_of(value, _is_positive) and value.keys() == {"multiple_of", "minimum"}


def _is_pair(value: Any) -> bool:
    return is_list_of(value, is_finite_number) and len(value) == 2


def _is_domain(value: Any) -> bool:
    known = isinstance(value, dict) and _is_positive(value.get("channels")) and _is_pair(value.get("range"))
    return known and ("values" not in value or _is_pair(value["values"])) and _is_labels(value.get("labels", {}))


def _is_labels(value: Any) -> bool:
    return isinstance(value, dict)  # its content is that of the settings in `networks`: see `folder.build_method`


def _is_training(value: Any) -> bool:
    counts = ("images", "crop_size", "load_size")
    return isinstance(value, dict) and is_text(value.get("data")) and all(is_count(value.get(key)) for key in counts)


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format": (is_count, "a whole number"),
    "method": (lambda value: is_text(value) and value != "", "a name"),
    "version": (is_text, "a text"),
    "networks": (lambda value: is_table_of(value, _is_setting), "an object of settings"),
    "directions": (lambda value: is_table_of(value, is_text), "an object of names"),
    "size": (_is_size_rule, "an object with multiple_of and minimum"),
    "domains": (
        lambda value: bool(value) and is_table_of(value, _is_domain),
        "an object with channels and range of each",
    ),
    "norm_statistics": (lambda value: value in ("sample", "running"), "sample or running"),
    "dropout": (lambda value: value in ("on", "off"), "on or off"),
    "trained_on": (_is_training, "an object with data, images, crop_size and load_size"),
    "imported_from": (lambda value: bool(value) and is_table_of(value, is_text), "an object of file names and SHA-256"),
    "direction": (lambda value: value in ("a2b", "b2a"), "a2b or b2a"),
    "preprocess": (is_text, "a text"),
    "license": (is_text, "a text"),
}

assert {*_KEYS, "other"} == {known.name for known in fields(ModelInfo)}
