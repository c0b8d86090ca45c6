"""Versions of the code and of the data that a cell of the ladder is computed with."""

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from translate.images import READABLE_EXTENSIONS, extension

ROOT = Path(__file__).resolve().parents[1]


def code_versions() -> tuple[str, str]:
    """Return the commit, with a + where files of the package or of tools differ from it, and the hash of the package."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    def changed(*folders: str) -> str:
        return "+" if git("status", "--porcelain", *folders) else ""

    return (
        git("rev-parse", "--short=12", "HEAD") + changed("translate", "tools"),
        git("rev-parse", "HEAD:translate") + changed("translate"),
    )


def plugin_versions(files: Sequence[Path]) -> dict[str, str]:
    """Return the hash of a recipe's plug-ins, if it has any: speed and result are properties of them, too."""
    digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files]
    return {"plugins": " ".join(digests)} if digests else {}


def data_version(root: Path) -> dict[str, Any]:
    """Return the number of images of a set, and a hash of the names and sizes of its files: sets ship in more than one size."""
    files = sorted(file for file in root.rglob("*") if file.is_file() and extension(file) in READABLE_EXTENSIONS)
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()}\t{file.stat().st_size}\n".encode())
    return {"images": len(files), "version": digest.hexdigest()[:12]}
