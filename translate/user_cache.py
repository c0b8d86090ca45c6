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


def write_cached(name: str, content: Any) -> None:
    """Keep something that JSON holds under a name."""
    with suppress(OSError, TranslateError, RuntimeError):
        path = cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, json.dumps(content).encode())
