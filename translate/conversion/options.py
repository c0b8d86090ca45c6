"""How to convert, and what came of it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate import images
from translate.conversion import tiling
from translate.conversion.output_paths import Item
from translate.errors import UsageError
from translate.images import Mark
from translate.trained.translator import Translator, check_pixel_mode
from translate.version import __version__

SOURCE_TYPES = {"composite": images.COMPOSITE, "generated": images.GENERATED}
"""IPTC's terms for what the mark says: a photo that was changed, or a picture made of what is none (edges, labels)."""


def check_quality(quality: int | None) -> None:
    """UsageError where it is no quality that formats have."""
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"--quality {quality}: must be from 1 to 100")


def check_positive(**values: int | None) -> None:
    """UsageError where a flag that counts something is given as less than 1."""
    for name, value in values.items():
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least 1")


def make_mark(method: str, sha256: str, source_type: str) -> Mark:
    """What outputs say of the model that made them: its method and weights; `source_type`: a term of IPTC's."""
    return Mark(f"image-translate {__version__}", method, sha256[:12], source_type)


@dataclass(frozen=True)
class ConversionOptions:
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
    cluster: str | None = None
    """Address of a Ray cluster, or "local" for a Ray of this machine; None: convert in this process."""
    tile: int | str = "auto"
    """Side of the tiles of large images; "auto": where the whole does not fit into memory; "off": never."""
    scratch: str | Path | None = None
    """Folder for what tiled images need beside memory; None: memory."""
    mark: bool = True
    """Outputs say in their metadata that a model made them."""
    source_type: str = "composite"
    """A row of SOURCE_TYPES: what the mark says."""
    strip_gps: bool = False
    """Outputs do not carry where a photo was taken."""
    first_frame: bool = False
    """Of an animation only the first frame is converted."""
    report: bool = False
    """Also make a page with pictures before and after, `report.html`."""

    def __post_init__(self) -> None:
        if self.format != "keep" and images.writer_for(self.format) is None:
            raise UsageError(f"--format {self.format}: unknown; possible: keep, {', '.join(images.WRITERS)}")
        check_quality(self.quality)
        if self.source_type not in SOURCE_TYPES:
            raise UsageError(f"--source-type {self.source_type}: unknown; possible: {', '.join(SOURCE_TYPES)}")
        if self.tile not in ("auto", "off") and not (isinstance(self.tile, int) and self.tile >= tiling.MIN_TILE):
            raise UsageError(f"--tile {self.tile}: must be auto, off or a number of pixels from {tiling.MIN_TILE} up")
        if self.scratch is not None and not Path(self.scratch).is_dir():
            raise UsageError(f"--scratch {self.scratch}: no such folder")
        check_pixel_mode(self.pixels)
        try:
            images.parse_colour(self.background)
        except ValueError:
            raise UsageError(f"--background {self.background}: no such colour; use a name or #rrggbb") from None
        if self.merge and self.report:
            raise UsageError("--merge --report: merging shows no pictures; merge first, then the same without --merge")
        check_positive(batch_size=self.batch_size, limit=self.limit, max_pixels=self.max_pixels)

    def output_settings(self, translator: Translator) -> dict[str, Any]:
        """What decides the bytes of an output, beside the weights and the input."""
        behaviour = {"dropout": translator.info.dropout, "norm_statistics": translator.info.norm_statistics}
        return {
            "to": self.to, "quality": self.quality, "seed": self.seed, "pixels": self.pixels,
            "background": self.background, "mark": self.mark and self.source_type, "strip_gps": self.strip_gps,
            "first_frame": self.first_frame,
            "precision": translator.precision.name, **behaviour,
        }  # fmt: skip


DEFAULT_OPTIONS = ConversionOptions()


@dataclass
class ConversionResult:
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
    report: Path | None = None
    """The page, where one was made."""
