"""Pretrained weights by file and SHA-256: nothing is downloaded, and no other file than the published one is used."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch

from translate.errors import ModelError


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights as its authors publish it."""

    file: str
    """Its name."""
    bytes: int
    """Its size."""
    sha256: str
    """Its SHA-256 in hexadecimal, or the first digits of it where no more is published."""
    source: str
    """The place where it is published."""

    def __str__(self) -> str:
        more = "…" if len(self.sha256) < 64 else ""
        return f"{self.file} ({self.bytes / 1e6:.0f} MB, SHA-256 {self.sha256}{more}) from {self.source}"


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def torch_hub_path(file: str) -> Path:
    """Return the path of a file in the folder where torch.hub and torchvision keep downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / file


def read_weights(path: Path, published: PublishedWeights, name: str, option: str = "") -> tuple[bytes, str]:
    """Return the contents of a file of published weights and its SHA-256.

    The file is hashed before anything is decoded, because several formats of weights can hold code. `name` is what messages
    call the weights; `option` is the flag that names the file, if there is one. ModelError if there is no such file, or if it
    is another one.
    """
    if not path.is_file():
        remedy = f", or give it by {option} FILE" if option else ""
        raise ModelError(f"{name}: {path}: no such file; put {published} there{remedy}")
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if not sha256.startswith(published.sha256):
        raise ModelError(f"{name}: {path}: SHA-256 is {sha256}; it must be {published}")
    return content, sha256
