"""Settings of label maps: those that follow from the data, or are those of the run that is resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from translate.api.run_record import RunRecord, read_started_run
from translate.callbacks import SayCallback
from translate.config import TrainConfig
from translate.data.instances import attach_instances, has_instances
from translate.data.label_scan import scan_label_maps
from translate.data.split import Split
from translate.images import LabelFormat, palette_text
from translate.methods import Method
from translate.methods.configs import LabelMapConfig, label_format
from translate.runtime import distributed

C = TypeVar("C", bound=TrainConfig)


def find_label_settings(
    cls: type[Method], cfg: TrainConfig, split: Split, root: Path, run: Path, say: SayCallback
) -> tuple[TrainConfig, Split]:
    """Return the config with all settings of label maps, and the training split with its instance maps.

    What is not set is that of the run which is resumed, or follows from the data of a new one.
    """
    if labels_of(cfg) is None:
        return cfg, split
    record = distributed.broadcast_object(lambda: read_started_run(run))
    cfg = with_instance_edges(cfg, root, record)
    split = with_instances(cfg, split, root, "train")
    found = distributed.broadcast_object(lambda: with_label_settings(cfg, split, record, say))
    cfg = cls.resolve_config(found)
    say(describe_labels(cfg))
    return cfg, split


def labels_of(cfg: TrainConfig) -> LabelFormat | None:
    """Return the format of the label maps of domain a; None if it has images."""
    return label_format(cfg) if isinstance(cfg, LabelMapConfig) else None


def with_label_settings(cfg: C, split: Split, record: RunRecord | None, say: SayCallback) -> C:
    """Return the config with the settings of label maps that are found in the data, or in the run that is resumed.

    DataError, which names the file, for label maps that have other values than those of their classes.
    """
    labels = labels_of(cfg)
    if labels is None:
        return cfg
    if record is not None:
        found = {name: record.settings.get(name) for name in ("unknown_label", "palette")}
    else:
        scan = scan_label_maps(split.a, labels, say)
        palette = palette_text(scan.palette) if scan.palette else None
        found = {"unknown_label": scan.has_unknown, "palette": palette}
    new: dict[str, Any] = {name: value for name, value in found.items() if getattr(cfg, name) is None}
    return replace(cfg, **new)


def describe_labels(cfg: TrainConfig) -> str:
    """Return a line on the channels that networks get of label maps."""
    labels = labels_of(cfg)
    assert labels is not None, "domain a has label maps"
    parts = [f"{labels.count} classes"]
    parts += [f"pixels without a label (value {labels.ignore})"] if labels.unknown else []
    parts += ["the edges of objects"] if labels.edges else []
    return f"data: domain a has label maps: {labels.channels} channels, of {' and '.join(parts)}"


def with_instance_edges(cfg: C, root: Path, record: RunRecord | None) -> C:
    """Return the config with the edges of objects on or off, unless that is set.

    As in the run that is resumed; in a new one they are on where the data folder has instance maps.
    """
    if labels_of(cfg) is None or getattr(cfg, "instance_edges", None) is not None:
        return cfg
    is_on = has_instances(root) if record is None else record.settings.get("instance_edges", False)
    new: dict[str, Any] = {"instance_edges": is_on}
    return replace(cfg, **new)


def with_instances(cfg: TrainConfig, split: Split, root: Path, name: str) -> Split:
    """Return a split with its instance maps, if the settings use them; `name`: train, val or test."""
    labels = labels_of(cfg)
    return attach_instances(split, root, name, cfg.direction) if labels is not None and labels.edges else split
