"""Pretrained weights by file and SHA-256: nothing is downloaded unasked, and no other file is used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights as its authors give it out."""

    file: str
    bytes: int
    sha256: str
    source: str

    def __str__(self) -> str:
        return f"{self.file} ({self.bytes / 1e6:.0f} MB, SHA-256 {self.sha256}) from {self.source}"
