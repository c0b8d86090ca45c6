"""Check of a data folder: decodes its images and reports what is wrong with them. Nothing in it is changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.callbacks import ProgressCallback, ignore_progress
from translate.data.instances import match_instances
from translate.data.label_scan import scan_label_maps
from translate.data.layouts import LAYOUT_CONTENTS
from translate.data.split import ImageRef
from translate.dataset_check import messages, report
from translate.dataset_check.folders import (
    IMAGE_OF_OTHER_NAME,
    DomainFolder,
    detect_layouts,
    find_folders,
    list_files,
    probe_folders,
)
from translate.errors import DataError
from translate.images import LabelFormat

_HARMLESS = ("format not allowed", "folder", "linked folder", IMAGE_OF_OTHER_NAME)
"""Beginnings of the reasons for passing a path over that do not make it a bad file."""


@dataclass(frozen=True)
class CheckOptions:
    """Options of a check."""

    load_size: int
    crop_size: int
    layout: str | None = None
    """One of LAYOUTS; None: detected from the folder."""
    distance: int = 4
    """Bits of the 64-bit perceptual hashes in which near-duplicates may differ."""
    limit: int | None = None
    """Files of each folder that are decoded, evenly spaced; None: all."""
    labels: LabelFormat | None = None
    """Format of the label maps in the folders of domain a; None where these hold images."""


def check_dataset(
    root: Path, options: CheckOptions, say: Callable[[str], None], progress: ProgressCallback = ignore_progress
) -> dict[str, Any]:
    """Check a data folder and return the report that `--json` prints; its paths are relative to the folder.

    `errors` names what makes training impossible, `warnings` what a person should know. Raise DataError if there is no folder.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; give the folder that holds {LAYOUT_CONTENTS[options.layout or 'unpaired']}"
        )
    folders = find_folders(root, options.layout)
    for folder in folders:
        list_files(folder)
    total, failed = sum(len(folder.chosen(options.limit)) for folder in folders), 0
    for finished, item in enumerate(probe_folders(folders, options.load_size, options.limit, say), 1):
        failed += bool(item.error)
        progress(finished, failed, total)
    layouts = [options.layout] if options.layout else detect_layouts(root, folders)
    found: dict[str, Any] = {"root": str(root), "layouts": layouts}
    found["side_by_side"] = any(folder.side_by_side for folder in folders)
    found |= {"load_size": options.load_size, "crop_size": options.crop_size, "splits": {}}
    found["label_maps"] = options.labels is not None
    for folder in folders:
        section = report.folder_section(root, folder, options.load_size, options.crop_size)
        found["splits"].setdefault(folder.split, {})[folder.domain] = section
    found["pairs"] = report.pairs_section(root, folders) if "paired" in layouts else {}
    found["near_duplicates"] = report.near_duplicates_section(root, folders, options.distance)
    found["imbalance"] = report.imbalance_section(folders)
    found["memory"] = report.memory_section(folders, options.load_size)
    found["decoding"] = report.decoding_section(folders)
    certain_layout = options.layout or ("domains" if "domains" in layouts else None)
    found["errors"] = list(messages.error_messages(root, found, certain_layout))
    if options.labels is not None:
        found["errors"] += check_label_maps(folders, options.labels, say)
    found["warnings"] = list(messages.warning_messages(found))
    return found


def check_label_maps(folders: list[DomainFolder], labels: LabelFormat, say: Callable[[str], None]) -> list[str]:
    """Return why the label maps of domain a, or their instance maps, cannot be trained on: one line for each split."""
    found = []
    for folder in [folder for folder in folders if folder.domain in ("a", "ab") and folder.files]:
        instances = folder.path.with_name(f"{folder.split}_inst")
        half = "left" if folder.side_by_side else ""
        try:
            known = match_instances(folder.files, folder.path, instances) if instances.is_dir() else {}
            scan_label_maps([ImageRef(path, half, known.get(path)) for path in folder.files], labels, say)
        except DataError as e:
            found.append(str(e))
    return found


def bad_files(root: Path, report: dict[str, Any]) -> list[Path]:
    """List the bad files of a report: those that training opens but cannot read, and what is no regular file."""
    sections = [section for split in report["splits"].values() for section in split.values()]
    bad = [row["path"] for section in sections for row in section["unreadable"]]
    bad += [
        row["path"] for section in sections for row in section["passed_over"] if not row["reason"].startswith(_HARMLESS)
    ]
    return [root / path for path in sorted(set(bad))]
