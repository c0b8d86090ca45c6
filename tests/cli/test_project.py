"""`translate project MODEL IMAGE OUTPUT`: what it prints, and models that it refuses."""

import json
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor, nn

from translate.conversion import projection

from .conftest import Fails, Run, write_model


class NoFeatures(nn.Module):
    """Compares pixels alone."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return []


def test_the_files_and_distances_are_named(
    run: Run, fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "AVERAGED", 4)
    monkeypatch.setattr(projection, "load_features", lambda name: NoFeatures())
    model = write_model(tmp_path / "m", "stylegan2", crop_size=16, noise_size=4)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "in.png")
    words = ["project", model, tmp_path / "in.png", tmp_path / "out.png", "--steps", "1", "--device", "cpu"]
    out, _ = run(*words, "--json")
    assert json.loads(out[0])["codes"].endswith("out.npy")
    fails([str(word) for word in words], 2, "exists; --overwrite")
