"""Check of a data folder, with the paths of its bad files written to a list if that is asked for."""

import json
import os
from pathlib import Path
from typing import Any

from translate import atomic, config, images
from translate.api.models import say_to_stderr
from translate.callbacks import ProgressCallback, SayCallback, ignore_line, ignore_progress
from translate.catalog.shipped import find_data
from translate.data.layouts import LAYOUTS
from translate.dataset_check import check
from translate.errors import DataError, UsageError
from translate.evaluation.cases import HELD_OUT_SPLITS
from translate.evaluation.truth import TRUTH, KnownTruth, find_truth, resolve_truth, truth_kind
from translate.images import LabelFormat
from translate.methods.configs import LabelMapConfig, label_format, resolve_label_maps


def check_data(
    root: str | Path,
    *,
    layout: str | None = None,
    load_size: int | None = None,
    crop_size: int = 256,
    distance: int = 4,
    limit: int | None = None,
    truth: str | None = None,
    label_count: int | None = None,
    palette: str | Path | None = None,
    ignore_index: int | None = None,
    quarantine: str | Path | None = None,
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
) -> dict[str, Any]:
    """Decode the images of a data folder and report what is wrong with them; nothing in the folder is changed.

    `layout` is a row of LAYOUTS (detected if not given), `load_size` and `crop_size` are in pixels (the load size follows the
    crop size as in training if not given), `distance` counts the bits of 64 in which the hashes of near-duplicates may differ,
    `limit` the files of each folder to decode (all if not given). `truth` is "names" where held-out files of one name show the
    same though the set is unpaired, or "none" (what the card of the folder says if not given). `label_count`,
    `palette` and `ignore_index` are those of a training on label maps, whose values are then checked. `quarantine` is a file to
    write the paths of bad files to. `progress` is called with (files decoded, files that cannot be read, files in all).

    The report's `errors` name what makes training impossible, its `warnings` what a person should know. Raises UsageError,
    DataError if there is no folder, and StorageError if the list cannot be written.
    """
    say = say or ignore_line
    root, load_size = find_data(root, say), load_size if load_size is not None else config.default_load_size(crop_size)
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: unknown; possible: {', '.join(LAYOUTS)}")
    if not 0 < crop_size <= load_size:
        raise UsageError(f"--crop-size {crop_size}: must be at least 1 and at most --load-size, which is {load_size}")
    if not 0 <= distance <= 16:
        raise UsageError(f"--distance {distance}: must be from 0 (equal hashes) to 16")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: must be at least 1")
    if truth is not None and truth not in TRUTH:
        raise UsageError(f"--truth {truth}: must be one of {', '.join(TRUTH)}")
    if quarantine is not None:
        _check_list_path(Path(quarantine))
    options = check.CheckOptions(
        load_size, crop_size, layout, distance, limit, _label_format(label_count, palette, ignore_index)
    )
    report = check.check_dataset(root, options, say, progress or ignore_progress)
    report["truth"] = _truth_section(root, report, truth)
    if quarantine is not None:
        bad = check.bad_files(root, report)
        with atomic.storage_errors(Path(quarantine).parent):
            atomic.write(Path(quarantine), b"".join(_encode_path(path) for path in bad))
        say(f"{quarantine}: {len(bad)} bad files")
    return report


def _label_format(count: int | None, palette: str | Path | None, ignore: int | None) -> LabelFormat | None:
    """Return the format of label maps by the flags of a training; None without them. UsageError if it is not possible."""
    given = {"label_count": count, "palette": None if palette is None else str(palette), "ignore_index": ignore}
    return label_format(resolve_label_maps(config.resolve(LabelMapConfig, (config.FLAGS, given))))


def _truth_section(root: Path, report: dict[str, Any], asked: str | None) -> dict[str, Any]:
    """Describe for each held-out split how its true images are known to methods that train without pairs, or why not."""
    section: dict[str, Any] = {}
    if "unpaired" not in report["layouts"]:
        return section
    rule = resolve_truth(asked, root)
    for split in [split for split in HELD_OUT_SPLITS if split in report["splits"]]:
        try:
            found = find_truth(root, split, "a2b", rule)
        except DataError as e:
            report["warnings"].append(f"--truth names: {e}")
            found = KnownTruth(None, missing=str(e))
        known = truth_kind(found.pairs) if found.pairs else None
        section[split] = {"known": known, "why": found.notice or found.missing}
    return section


def _check_list_path(path: Path) -> None:
    """Check that the list would not replace a folder or an image. Raises UsageError if it would."""
    if path.is_dir() or images.extension(path) in images.IMAGE_EXTENSIONS:
        raise UsageError(
            f"--quarantine {path}: is a folder or the name of an image; give a file for the list, such as bad.txt"
        )


def _encode_path(path: Path) -> bytes:
    """Return a path and a line feed, in the bytes of the file system; as a JSON string if it would not be one line."""
    name = str(path)
    is_plain = "\n" not in name and "\r" not in name and not name.startswith('"')
    return (os.fsencode(path) if is_plain else json.dumps(name).encode()) + b"\n"
