"""`translate cloak MODEL PHOTO OUTPUT`: what it prints, and what it refuses."""

import json
from pathlib import Path

from PIL import Image

from .conftest import Fails, Run, write_model


def test_the_change_is_told_and_the_photo_written(run: Run, fails: Fails, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", "cyclegan", generator="resnet_1blocks", crop_size=32)
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(tmp_path / "in.jpg")
    words = ["cloak", model, tmp_path / "in.jpg", tmp_path / "out.png", "--steps", "2", "--device", "cpu"]
    _, told = run(*words)
    assert "mean square change of the model's output" in told[-2]
    assert "this model alone" in told[-1]
    record, _ = run(*words, "--overwrite", "--json")
    assert json.loads(record[0])["change"] > 0
    fails([str(word) for word in words], 2, "exists; --overwrite")
    fails([*map(str, words[:3]), str(tmp_path / "out.jpg")], 2, "another format than PNG or TIFF loses the change")
