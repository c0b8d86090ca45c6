"""Results kept between runs in the user's cache folder: `$XDG_CACHE_HOME/image-translate`, or `~/.cache/image-translate`.

A cache that cannot be read or written is as good as none: nothing fails for it.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from translate import atomic
from translate.errors import TranslateError


def cache_folder() -> Path:
    """Return the folder, whether or not it exists; a relative $XDG_CACHE_HOME is invalid, and passed over.

    RuntimeError if the user has no home.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "image-translate"


def read_cached(name: str) -> Any:
    """Return what was kept under a name (a relative path); None if there is nothing that can be read."""
    try:
        return json.loads((cache_folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, RuntimeError):
        return None


def list_cached(folder: str) -> list[str]:
    """Return the names that something was kept under in a folder; none if it cannot be read."""
    try:
        return sorted(f"{folder}/{path.name}" for path in (cache_folder() / folder).iterdir())
    except (OSError, RuntimeError):
        return []


def write_cached(name: str, content: Any) -> None:
    """Keep something that JSON holds under a name."""
    with suppress(OSError, TranslateError, RuntimeError):
        path = cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, json.dumps(content).encode())


def read_cached_bytes(name: str) -> bytes | None:
    """Return the content of a file that was kept under a name; None if there is none that can be read."""
    try:
        return (cache_folder() / name).read_bytes()
    except (OSError, RuntimeError):
        return None


def write_cached_bytes(name: str, content: bytes) -> Path | None:
    """Keep a file under a name, and return its path; None if it cannot be written."""
    with suppress(OSError, TranslateError, RuntimeError):
        path = cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, content)
        return path
    return None


def mark_used(name: str) -> None:
    """Note that a kept file was used now (`keep_newest`)."""
    with suppress(OSError, RuntimeError):
        os.utime(cache_folder() / name)


def keep_newest(folder: str, count: int) -> None:
    """Remove all files of a folder but those that were written or used last."""
    with suppress(OSError, RuntimeError):
        files = sorted((cache_folder() / folder).iterdir(), key=lambda path: path.stat().st_mtime)
        for path in files[:-count]:
            path.unlink(missing_ok=True)
