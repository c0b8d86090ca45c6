"""Published weights: read by their SHA-256, and refused with a remedy."""

import hashlib

import pytest

from translate.errors import ModelError
from translate.nn.pretrained import PublishedWeights, is_installed, read_weights, torch_hub_path

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("digits", [64, 8])
def test_the_published_file_is_read(tmp_path, digits):
    """By the whole hash or by its first digits, which is what torchvision publishes."""
    path = tmp_path / "any-name.pth"
    path.write_bytes(CONTENT)
    assert read_weights(path, PublishedWeights("net.pth", 7, SHA256[:digits], "here"), "net") == (CONTENT, SHA256)


def test_another_file_is_refused_by_its_hash(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(b"others")
    with pytest.raises(ModelError) as error:
        read_weights(path, PublishedWeights("net.pth", 7, SHA256, "here"), "--extractor net")
    for part in ("--extractor net", str(path), hashlib.sha256(b"others").hexdigest(), SHA256):
        assert part in str(error.value)


@pytest.mark.parametrize("option", ["--weights", ""])
def test_a_missing_file_is_named_with_its_source(tmp_path, option):
    path = tmp_path / "net.pth"
    with pytest.raises(ModelError) as error:
        read_weights(path, PublishedWeights("net.pth", 3_000_000, SHA256[:8], "example.org"), "net", option)
    for part in (str(path), "net.pth", "3 MB", f"{SHA256[:8]}…", "example.org"):
        assert part in str(error.value)
    assert ("--weights" in str(error.value)) == bool(option)


def test_the_default_folder_is_that_of_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert torch_hub_path("net.pth") == tmp_path / "hub" / "checkpoints" / "net.pth"


def test_packages_are_looked_for_without_importing_them():
    assert is_installed("torch")
    assert not is_installed("no_package_of_this_name")
