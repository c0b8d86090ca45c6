"""What tests of conversions read of an output folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translate.conversion.job import ConversionResult

Draw = Callable[..., np.ndarray]
Convert = Callable[..., ConversionResult]


CONTRACT_FIELDS = {"input", "output", "status", "error", "seconds", "sha256"}


def tree(folder: Path) -> dict[str, bytes]:
    """The files of an output folder by relative path, without manifests."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def lines(folder: Path) -> list[dict[str, Any]]:
    """The manifest, line by line."""
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def last(folder: Path) -> dict[str, dict[str, Any]]:
    """Input → its last line."""
    return {line["input"]: line for line in lines(folder)}


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, **options)
    return path


def assert_clean(folder: Path) -> None:
    """Only images and the manifest are left."""
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in left if name.startswith(".") or name == "run.lock"]
