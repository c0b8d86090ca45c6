"""Feature extractors: pretrained networks by name and by the SHA-256 of their weights.

Nothing is downloaded: weights come with an installed package, or in a file that the user names. Only the published files
are accepted, so that a name always means the same numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from translate import images
from translate.errors import DataError, UsageError
from translate.evaluation import backbones
from translate.evaluation.image_sets import batch_by_size
from translate.nn.features import FEATURE_NETWORKS
from translate.nn.features.efficientnet_lite import load_efficientnet_lite
from translate.nn.features.thin_resnet import load_thin_resnet50
from translate.nn.pretrained import PublishedWeights, is_installed, read_weights, torch_hub_path

BATCH = 16
"""Images in a batch of the network."""


@dataclass(frozen=True)
class ExtractorSpec:
    """Row of EXTRACTORS: a network with its published weights."""

    build: Callable[[bytes], nn.Module]
    """Build the network from the contents of the weights' file."""
    weights: PublishedWeights
    tag: str
    """Suffix of a metric's name, as in KID-EL0; "" where the metric is defined on this network."""
    side: int | None
    """Side of the square that images are resized to; None: the network resizes them."""
    resize: str
    """Filter and size of the resizing, for the protocol."""
    package: str = ""
    """Import name of the package that must be installed, beside torch and torchvision."""
    packaged_weights: Callable[[], Path] | None = None
    """Return the file of the weights in an installed package, if one brings them."""
    reader: str = ""
    """Import name of the package that reads the format of the weights, if torch does not."""
    remedy: str = "install image-translate[metrics]"
    """Words that say what to do where a package is missing."""


def _of_feature_network(name: str, build: Callable[[bytes], nn.Module], tag: str) -> ExtractorSpec:
    """Return the row for a network of FEATURE_NETWORKS."""
    spec = FEATURE_NETWORKS[name]
    remedy = f"run: {spec.install}"
    return ExtractorSpec(build, spec.weights, tag, 224, _BICUBIC, spec.package, spec.packaged_file, spec.reader, remedy)


_BICUBIC = "Pillow bicubic, antialiased, to 224 px"
_INCEPTION = PublishedWeights(
    "pt_inception-2015-12-05-6726825d.pth",
    95_628_359,
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "github.com/mseitzer/pytorch-fid/releases (fid_weights)",
)
_DINOV2 = PublishedWeights(
    "dinov2_vits14_pretrain.pth",
    88_283_115,
    "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    "github.com/facebookresearch/dinov2",
)
_CLIP = PublishedWeights(
    "ViT-B-32.pt",
    353_976_522,
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "github.com/openai/CLIP (clip/clip.py)",
)

EXTRACTORS: dict[str, ExtractorSpec] = {
    "efficientnet-lite0": _of_feature_network("efficientnet-lite0", load_efficientnet_lite, "EL0"),
    "inception": ExtractorSpec(
        backbones.inception,
        _INCEPTION,
        "",
        None,
        "bilinear of TensorFlow 1, not antialiased, to 299 px",
        "torch_fidelity",
    ),
    "dinov2": ExtractorSpec(backbones.dinov2, _DINOV2, "DINOv2", 224, _BICUBIC),
    "clip": ExtractorSpec(backbones.clip, _CLIP, "CLIP", 224, _BICUBIC, "torch_fidelity"),
    "thin-resnet50": _of_feature_network("thin-resnet50", load_thin_resnet50, "R50"),
}
"""Table of the extractors. FID and the Inception Score are defined on `inception` alone."""


@dataclass(frozen=True)
class Features:
    """Outputs of an extractor for N images."""

    features: np.ndarray
    """Features (N, D) float32."""
    logits: np.ndarray | None
    """Logits (N, K) float32 of a classifier, else None."""


class Extractor:
    """Feature extractor: a network with its published weights, on a device."""

    def __init__(self, name: str, network: nn.Module, device: torch.device | str = "cpu") -> None:
        self.name, self.spec, self.device = name, EXTRACTORS[name], torch.device(device)
        self.network = network.to(self.device).eval().requires_grad_(False)

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights' file."""
        return self.spec.weights.sha256

    def __call__(self, pixels: Iterable[np.ndarray], batch_size: int = BATCH) -> Features:
        """Return the features of images (H, W, 1 or 3) uint8 of any sizes, in their order.

        DataError for images of other numbers of channels.
        """
        with torch.inference_mode():
            outputs = [self.network(batch.to(self.device)) for batch in self._batches(pixels, batch_size)]
        features = np.concatenate([features.cpu().numpy() for features, _ in outputs])
        logits = [logits.cpu().numpy() for _, logits in outputs if logits is not None]
        return Features(features, np.concatenate(logits) if logits else None)

    def _batches(self, pixels: Iterable[np.ndarray], batch_size: int) -> Iterator[Tensor]:
        """Yield batches (N, 3, H, W) uint8 of images of one size."""
        for batch in batch_by_size(map(self._preprocess, pixels), batch_size):
            yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)

    def _preprocess(self, pixels: np.ndarray) -> np.ndarray:
        """Return an image in colour and at the size of the network: (side, side, 3)."""
        if pixels.shape[2] not in (1, 3):
            raise DataError(f"{self.name}: images of {pixels.shape[2]} channels; the extractor takes 1 or 3")
        colour = pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)
        return colour if self.spec.side is None else images.resize(colour, self.spec.side, self.spec.side)


def find_extractor(name: str) -> ExtractorSpec:
    """Return a row of EXTRACTORS. UsageError for an unknown name."""
    if name not in EXTRACTORS:
        raise UsageError(f"--extractor {name}: unknown; possible: {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name]


def is_available(name: str) -> bool:
    """Return whether an extractor can be loaded without naming a file."""
    spec = find_extractor(name)
    return not _missing_package(spec) and _default_path(spec).is_file()


def load_extractor(name: str, weights: Path | None = None, device: torch.device | str = "cpu") -> Extractor:
    """Load an extractor with its published weights: the file given, else that of its package or of torch's folder.

    UsageError if its package is not installed, ModelError if the file is missing or is another one.
    """
    spec = find_extractor(name)
    if missing := _missing_package(spec):
        raise UsageError(f"--extractor {name}: {missing} is not installed; {spec.remedy}")
    content, _ = read_weights(weights or _default_path(spec), spec.weights, f"--extractor {name}", "--weights")
    return Extractor(name, spec.build(content), device)


def _missing_package(spec: ExtractorSpec) -> str:
    """Return the import name of a package that is needed and not installed; "" if all are."""
    return next((name for name in (spec.package, spec.reader) if name and not is_installed(name)), "")


def _default_path(spec: ExtractorSpec) -> Path:
    return spec.packaged_weights() if spec.packaged_weights else torch_hub_path(spec.weights.file)
