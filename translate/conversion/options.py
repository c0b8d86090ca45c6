"""Options of a conversion, declared once for the flags and the keyword arguments, and its result.

Nothing that needs torch, which takes seconds to import, is imported here: `convert --help` shows the options.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translate import config, images
from translate.config import option
from translate.conversion import tiling
from translate.conversion.content_credentials import ContentSigner
from translate.conversion.output_paths import Item, check_writable
from translate.conversion.watch.folder_events import check_watchfiles
from translate.errors import UsageError
from translate.images import Mark
from translate.text import flag_name
from translate.trained.pixel_modes import PIXEL_MODES
from translate.version import __version__

if TYPE_CHECKING:
    from translate.conversion.example_style import Style
    from translate.trained.translator import Translator

SOURCE_TYPES = {"composite": images.COMPOSITE, "generated": images.GENERATED}
"""Digital source types of IPTC by name: a changed photo, or an image generated from edges or labels."""


def make_mark(method: str, sha256: str, source_type: str) -> Mark:
    """Return the mark that names the model in the metadata of outputs: its method and weights, and IPTC's `source_type`."""
    return Mark(f"image-translate {__version__}", method, sha256[:12], source_type)


@dataclass(frozen=True)
class ConversionOptions:
    """Options of a conversion. Raises UsageError that names the flag where a value is not possible."""

    to: str = option(
        "b", "target domain: b; a with a two-way model; the name of a domain with StarGAN", group="Translation"
    )
    seed: int = option(0, "seed of the noise of models with dropout or latent codes", group="Translation")
    samples: int | None = option(
        None,
        "write N different outputs for each input, photo-0.png, photo-1.png …, by a model with noise "
        "[default: one, photo.png]",
        low=1,
        group="Translation",
    )
    style: str | Path | None = option(
        None,
        "example image of the target domain, whose style all outputs get, by a model with an encoder of styles "
        "[default: none]",
        group="Translation",
    )
    pixels: str = option(
        "rounded",
        "how integer pixels are computed: rounded to the nearest, or as by the reference implementation (cut off)",
        choices=PIXEL_MODES,
        group="Translation",
    )
    temporal: float = option(
        0.0,
        "smooth videos against flicker: weight of the frames before where nothing moves, from 0 (off) to 0.95; for models "
        "without noise",
        low=0,
        high=0.95,
        group="Translation",
    )
    batch_size: int = option(8, "images of one size that a GPU translates at a time", low=1, group="Speed")
    tile: int | str = option(
        "auto",
        "side of the tiles in which large images are translated; auto tiles images that do not fit into memory; off never",
        choices=("auto", "off"),
        low=tiling.MIN_TILE,
        group="Speed",
    )
    scratch: str | Path | None = option(
        None, "folder for temporary files of tiled images [default: keep them in memory]", group="Speed"
    )
    shard: str | None = option(
        None,
        "I/N: convert part I (from 0) of N [default: the rank under torchrun or in a Slurm array, else everything]",
        group="Speed",
    )
    merge: bool = option(False, "only merge the manifests of shards, converting nothing", group="Speed")
    cluster: str | None = option(
        None,
        "convert on a Ray cluster: its address, auto or local; all nodes must share the folders [default: this process]",
        group="Speed",
    )
    watch: bool = option(
        False,
        "keep running, and convert what arrives in the folder INPUT, until Ctrl-C; needs the extra watch",
        group="Input",
    )
    limit: int | None = option(None, "stop after N images [default: convert all]", low=1, group="Input")
    max_pixels: int = option(
        images.MAX_PIXELS,
        "refuse images of more than N pixels, or whose outputs have more; they are listed as failed",
        low=1,
        group="Input",
    )
    input_range: str | None = option(
        None,
        "LOW:HIGH, the input values that map to −1 and 1, for models that store no range "
        "[default: the full range of the file's data type]",
        group="Input",
    )
    instances: str | Path | None = option(
        None,
        "folder of instance maps, named as the inputs, for models that were trained with --instance-edges [default: none]",
        group="Input",
    )
    first_frame: bool = option(False, "convert only the first frame of an animation", group="Input")
    format: str = option(
        "keep",
        "file format of the outputs; keep is that of each input",
        choices=("keep", *images.WRITER_NAMES),
        group="Output",
    )
    quality: int | None = option(
        None,
        "quality of jpg, webp, avif and videos, from 1 to 100 [default: jpg as a JPEG input, at least 85, else 95; webp 90; "
        "avif 85; videos 64]",
        low=1,
        high=100,
        group="Output",
    )
    background: str = option("white", "colour that replaces transparency: a name or #rrggbb", group="Output")
    overwrite: bool = option(False, "convert every image again, replacing the outputs", group="Output")
    dry_run: bool = option(False, "list the outputs without writing anything", group="Output")
    report: bool = option(
        False, "also write OUTPUT/report.html: images before and after, and the failures", group="Output"
    )
    mark: bool = option(True, "say in the metadata of the outputs that a model made them", group="Output")
    source_type: str = option(
        "composite",
        "source type in the mark: composite (a changed photo) or generated (from edges or labels)",
        choices=SOURCE_TYPES,
        group="Output",
    )
    watermark: bool = option(
        False,
        "hide a faint pattern in the pixels, by which `identify` knows that a model made them (docs/provenance.md)",
        group="Output",
    )
    c2pa_key: str | Path | None = option(
        None,
        "private key (PEM) that signs the outputs with content credentials (C2PA), with --c2pa-cert; needs the extra c2pa "
        "[default: not signed]",
        group="Output",
    )
    c2pa_cert: str | Path | None = option(
        None, "certificate of the key and those of its issuers (PEM) [default: not signed]", group="Output"
    )
    c2pa_timestamp: str | None = option(
        None,
        "address of a time-stamp authority (RFC 3161), which is asked for each output [default: no time stamps]",
        group="Output",
    )
    strip_gps: bool = option(
        False,
        "leave out where a photo was taken: coordinates, city, street, country, and the maker's note; says what it left out",
        group="Output",
    )

    def __post_init__(self) -> None:
        config.check_options(self)
        if self.scratch is not None and not Path(self.scratch).is_dir():
            raise UsageError(f"--scratch {self.scratch}: no such folder")
        if self.instances is not None and not Path(self.instances).is_dir():
            raise UsageError(f"--instances {self.instances}: no such folder")
        if self.input_range is not None:
            config.parse_range(self.input_range, "--input-range")
        try:
            images.parse_colour(self.background)
        except ValueError:
            raise UsageError(f"--background {self.background}: no such colour; use a name or #rrggbb") from None
        check_writable(self.format)
        if self.samples is not None and self.style is not None:
            raise UsageError("--samples --style: a style leaves no choice between outputs; leave one of them out")
        if (self.c2pa_key is None) != (self.c2pa_cert is None):
            raise UsageError("--c2pa-key --c2pa-cert: signing needs both; give the other one, too")
        if self.c2pa_timestamp is not None and self.c2pa_key is None:
            raise UsageError("--c2pa-timestamp: is for signatures; give --c2pa-key and --c2pa-cert, too")
        if self.watch:
            self._check_watch()
        if self.merge and self.report:
            raise UsageError(
                "--merge --report: merging has no images to show; merge first, then run the same command without --merge"
            )

    def _check_watch(self) -> None:
        """Raise UsageError if `watch` cannot be followed beside the other options, or its package is missing."""
        reasons = {
            "dry_run": "what would be converted is not there yet",
            "merge": "merging converts nothing",
            "limit": "a job that waits for more has no first images",
            "cluster": "a cluster takes the whole list at its start",
            "instances": "instance maps may arrive later than their images",
        }
        for name, reason in reasons.items():
            if getattr(self, name):
                raise UsageError(f"--watch {flag_name(name)}: {reason}; leave one of them out")
        check_watchfiles()

    def check_cluster(self, translator: "Translator") -> None:
        """Raise UsageError if the workers of a cluster, which are sent weights, cannot compute what the translator does."""
        if self.cluster is not None and translator.runtime != "torch":
            raise UsageError(
                f"--cluster {self.cluster} --runtime {translator.runtime}: workers compute by torch; leave one of them out"
            )
        if self.cluster is not None and translator.weights_device.type == "meta":
            raise UsageError(
                f"--cluster {self.cluster}: workers compute by torch, and {translator.source} is for ONNX Runtime; give the "
                f"model that it was made from, or leave --cluster out"
            )

    @property
    def declared_range(self) -> tuple[float, float] | None:
        """Range of the inputs by `input_range`; None where it is not given."""
        return None if self.input_range is None else config.parse_range(self.input_range)

    def load_signer(self) -> ContentSigner | None:
        """Return the signer of the outputs, None without a key. UsageError if it cannot sign."""
        if self.c2pa_key is None or self.c2pa_cert is None:
            return None
        return ContentSigner.load(self.c2pa_key, self.c2pa_cert, self.c2pa_timestamp)

    def output_settings(
        self, translator: "Translator", style: "Style | None" = None, signer: ContentSigner | None = None
    ) -> dict[str, Any]:
        """Return all that decides the bytes of an output, beside the weights, the input and the number of the sample."""
        behaviour = {"dropout": translator.info.dropout, "norm_statistics": translator.info.norm_statistics}
        # absent where not given: journal lines of versions without this option stay done
        declared: dict[str, Any] = {} if self.input_range is None else {"input_range": self.input_range}
        declared |= {} if style is None else {"style": style.sha256}
        declared |= {"watermark": images.WATERMARK_KEY.decode()} if self.watermark else {}
        declared |= {} if signer is None else {"c2pa": signer.settings}
        declared |= {"temporal": self.temporal} if self.temporal else {}
        declared |= {} if translator.runtime == "torch" else {"runtime": translator.runtime}
        return {
            "to": self.to, "quality": self.quality, "seed": self.seed, "pixels": self.pixels,
            "background": self.background, "mark": self.mark and self.source_type, "strip_gps": self.strip_gps,
            "first_frame": self.first_frame,
            "precision": translator.precision.name, **behaviour, **declared,
        }  # fmt: skip


@dataclass
class ConversionResult:
    """Counts, failures and notices of a conversion."""

    output: Path
    """Folder or file of the outputs."""
    done: int = 0
    """Outputs written, of each input as many as there are samples."""
    skipped: int = 0
    """Outputs of earlier runs."""
    others: int = 0
    """Files that are not images by their extension."""
    failures: dict[str, str] = field(default_factory=dict)
    """Input → reason of the failure."""
    notices: Counter[str] = field(default_factory=Counter)
    """Notice, such as what a format cannot hold → number of images."""
    seconds: float = 0.0
    """Wall time."""
    planned: list[Item] = field(default_factory=list)
    """Inputs and outputs of a dry run."""
    report: Path | None = None
    """The HTML report, if one was written."""
