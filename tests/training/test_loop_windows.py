"""A training by the rules of Windows, as far as this system can keep them."""

import pytest

from translate import cli
from translate.cli import resume, train  # noqa: F401 (imported before the rules hold)
from translate.training import checkpoint

from ..windows import as_on_windows

SMALL = [
    "--crop-size",
    "32",
    "--load-size",
    "32",
    "--g-width",
    "4",
    "--d-width",
    "4",
    "--threads",
    "1",
    "--device",
    "cpu",
]
OFTEN = [
    "--save-every",
    "2",
    "--keep-every",
    "4",
    "--evaluate-every",
    "4",
    "--evaluate-metrics",
    "l1",
    "--log-every",
    "1",
]


@pytest.mark.slow
def test_a_training_saves_validates_and_resumes(paired_root, tmp_path, monkeypatch, capfd):
    run = tmp_path / "run"
    words = ["train", "pix2pix", str(paired_root), "--run", str(run), *SMALL, *OFTEN]
    assert cli.run([*words, "--images", "1"]) == 0  # loads what it needs
    with monkeypatch.context() as patch:
        as_on_windows(patch)
        assert cli.run([*words, "--images", "6"]) == 0
        assert cli.run([*words, "--images", "10"]) == 0
    assert "cannot be written" not in capfd.readouterr().err
    assert checkpoint.load_newest(run, pytest.fail)["images"] == 10
    assert sorted(path.name for path in run.glob("state-*")) == ["state-10.ckpt", "state-4.ckpt", "state-8.ckpt"]
    assert (run / "model" / "model.safetensors").is_file()
    assert (run / "model-best" / "model.safetensors").is_file()
    assert not [path.name for path in run.iterdir() if path.name.startswith(".") or path.suffix == ".lock"]
