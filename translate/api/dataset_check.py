"""What is wrong with a data folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from translate import atomic, config, images
from translate.api.models import say_to_stderr
from translate.data.layouts import LAYOUTS
from translate.dataset_check import check
from translate.errors import UsageError


def check_data(
    root: str | Path,
    *,
    layout: str | None = None,
    load_size: int | None = None,
    crop_size: int = 256,
    distance: int = 4,
    limit: int | None = None,
    quarantine: str | Path | None = None,
    say: Callable[[str], None] = say_to_stderr,
) -> dict[str, Any]:
    """Decodes the images of a data folder and tells what is wrong with them; nothing in it is changed.

    The report's `errors` name what makes training impossible, its `warnings` what a person should know. `quarantine` is a
    file to write the paths of the bad files to. Without `load_size` it follows the crop as in training.
    """
    root, load_size = Path(root), load_size if load_size is not None else config.default_load_size(crop_size)
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: unknown; possible: {', '.join(LAYOUTS)}")
    if not 0 < crop_size <= load_size:
        raise UsageError(f"--crop-size {crop_size}: must be at least 1 and at most --load-size, which is {load_size}")
    if not 0 <= distance <= 16:
        raise UsageError(f"--distance {distance}: must be from 0 (equal hashes) to 16 of their 64 bits")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: must be at least 1")
    if quarantine is not None:
        _check_list(Path(quarantine))
    options = check.CheckOptions(load_size, crop_size, layout, distance, limit)
    report = check.check_dataset(root, options, say)
    if quarantine is not None:
        bad = check.bad_files(root, report)
        with atomic.storage_errors(Path(quarantine).parent):
            atomic.write(Path(quarantine), b"".join(_line(path) for path in bad))
        say(f"{quarantine}: {len(bad)} bad files")
    return report


def _check_list(path: Path) -> None:
    """UsageError where the list would take the place of something else."""
    if path.is_dir() or images.extension(path) in images.IMAGE_EXTENSIONS:
        raise UsageError(
            f"--quarantine {path}: is a folder or the name of an image; give a file for the list, as bad.txt"
        )


def _line(path: Path) -> bytes:
    """One path and a line feed, in the bytes of the file system; as a JSON string where it would not be one line."""
    name = str(path)
    plain = "\n" not in name and "\r" not in name and not name.startswith('"')
    return (os.fsencode(path) if plain else json.dumps(name).encode()) + b"\n"
