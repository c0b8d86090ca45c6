"""Options of an augmentation, declared once for the flags and the keyword arguments, and its result."""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate import config, images
from translate.config import option
from translate.conversion.options import SOURCE_TYPES, ConversionOptions
from translate.conversion.output_paths import Item, check_writable
from translate.errors import UsageError


@dataclass(frozen=True)
class AugmentOptions:
    """Options of an augmentation. Raises UsageError that names the flag where a value is not possible."""

    ratio: float = option(
        1.0,
        "translations for each training image: 0.5 translates half of them; more than one for a direction only by a model with "
        "noise",
        low=0,
        group="Translation",
    )
    to: str = option(
        "b",
        "target domain: b; a with a two-way model; the name of a domain with StarGAN; or several, as b,a, in turn",
        group="Translation",
    )
    seed: int = option(
        0,
        "seed of the draw of the images, and of the noise of models with dropout or latent codes",
        group="Translation",
    )
    allow_moving: bool = option(
        False,
        "translate images with masks, boxes or keypoints also by a model that moves or repaints shapes",
        group="Translation",
    )
    batch_size: int = option(8, "images of one size that a GPU translates at a time", low=1, group="Speed")
    max_pixels: int = option(
        images.MAX_PIXELS, "refuse images of more than N pixels; they are listed as failed", low=1, group="Input"
    )
    format: str = option(
        "keep",
        "file format of the translations; keep is that of each image",
        choices=("keep", *images.WRITER_NAMES),
        group="Output",
    )
    quality: int | None = option(
        None,
        "quality of jpg, webp and avif, from 1 to 100 [default: jpg as a JPEG input, at least 85, else 95; webp 90; avif 85]",
        low=1,
        high=100,
        group="Output",
    )
    background: str = option("white", "colour that replaces transparency: a name or #rrggbb", group="Output")
    dry_run: bool = option(False, "list the translations without writing anything", group="Output")
    report: bool = option(
        False, "also write OUT/report.html: images before and after, and the failures", group="Output"
    )
    mark: bool = option(True, "say in the metadata of the translations that a model made them", group="Output")
    source_type: str = option(
        "composite",
        "source type in the mark: composite (a changed photo) or generated (from edges or labels)",
        choices=SOURCE_TYPES,
        group="Output",
    )
    strip_gps: bool = option(
        False, "leave out of the translations where a photo was taken; says what it left out", group="Output"
    )

    def __post_init__(self) -> None:
        config.check_options(self)
        check_writable(self.format)
        if not math.isfinite(self.ratio):
            raise UsageError(f"--ratio {self.ratio}: must be a finite number")
        if len(set(self.targets)) < len(self.targets) or "" in self.targets:
            raise UsageError(f"--to {self.to}: must be a domain, or several different ones with commas between")

    @property
    def targets(self) -> tuple[str, ...]:
        """Target domains."""
        return tuple(self.to.split(","))

    def conversion_options(self, to: str) -> ConversionOptions:
        """Return the options of the conversion to one of the target domains."""
        shared = (
            "seed",
            "batch_size",
            "max_pixels",
            "format",
            "quality",
            "background",
            "mark",
            "source_type",
            "strip_gps",
        )
        values: dict[str, Any] = {name: getattr(self, name) for name in shared}
        return ConversionOptions(to=to, **values)


@dataclass
class AugmentResult:
    """Counts and failures of an augmentation."""

    output: Path
    """Folder of the augmented set."""
    originals: int = 0
    """Images of the set, of all splits."""
    training: int = 0
    """Images of the training split, from which translations are drawn."""
    done: int = 0
    """Translations written."""
    skipped: int = 0
    """Translations of earlier runs."""
    copied: int = 0
    """Files copied by this run: originals, their labels, and whatever else the set holds."""
    label_files: int = 0
    """Files of labels that name translations, and masks of translations."""
    classes: dict[str, int] = field(default_factory=dict)
    """Class → planned translations of its images, where images lie in folders of classes."""
    edge_correlation: float | None = None
    """Mean correlation of the edges of images and their translations, where it was measured."""
    failures: dict[str, str] = field(default_factory=dict)
    """Input → reason of the failure."""
    notices: Counter[str] = field(default_factory=Counter)
    """Notice, such as what a format cannot hold → number of images."""
    seconds: float = 0.0
    """Wall time."""
    planned: list[Item] = field(default_factory=list)
    """Images and translations of a dry run."""
    report: Path | None = None
    """The HTML report, if one was written."""
