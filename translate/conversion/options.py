"""How to convert, and what came of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate import images
from translate.conversion.names import Item
from translate.conversion.translator import PIXELS, Translator
from translate.errors import UsageError


@dataclass(frozen=True)
class Options:
    """How to convert; the names are the flags'."""

    to: str = "b"
    format: str = "keep"
    quality: int | None = None
    batch_size: int = 8
    overwrite: bool = False
    dry_run: bool = False
    limit: int | None = None
    max_pixels: int = images.MAX_PIXELS
    seed: int = 0
    pixels: str = "rounded"
    background: str = "white"
    shard: str | None = None
    """I/N; None: what torchrun or Slurm say, else the whole."""
    merge: bool = False
    """Only join the journals of shards."""

    def __post_init__(self) -> None:
        if self.format != "keep" and images.writer_for(self.format) is None:
            raise UsageError(f"--format {self.format}: unknown; possible: keep, {', '.join(images.WRITERS)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality {self.quality}: must be from 1 to 100")
        if self.pixels not in PIXELS:
            raise UsageError(f"--pixels {self.pixels}: unknown; possible: {', '.join(PIXELS)}")
        try:
            images.colour(self.background)
        except ValueError:
            raise UsageError(f"--background {self.background}: no such colour; use a name or #rrggbb") from None
        for name in ("batch_size", "limit", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least 1")

    def decisive(self, translator: Translator) -> dict[str, Any]:
        """What decides the bytes of an output, beside the weights and the input."""
        behaviour = {name: translator.info[name] for name in ("dropout", "norm_statistics")}
        return {
            "to": self.to, "quality": self.quality, "seed": self.seed, "pixels": self.pixels,
            "background": self.background,
            "precision": translator.precision.name, **behaviour,
        }  # fmt: skip


DEFAULTS = Options()


@dataclass
class Result:
    """What a conversion did."""

    output: Path
    done: int = 0
    skipped: int = 0
    """Already done by an earlier run."""
    others: int = 0
    """Files that are no images by their extension."""
    failures: dict[str, str] = field(default_factory=dict)
    """Input → why it failed."""
    notices: Counter[str] = field(default_factory=Counter)
    """What outputs do not hold of their inputs → of how many images."""
    seconds: float = 0.0
    planned: list[Item] = field(default_factory=list)
    """With `dry_run`: what would be made."""


Progress = Callable[[int, int, int], None]
"""Called with images finished, failed, and in all."""
