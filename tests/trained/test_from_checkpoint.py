"""Models in checkpoints: the same weights, description and SHA-256 as the model folders written beside them."""

import shutil
from pathlib import Path

import pytest
import torch

from translate.errors import ModelError
from translate.trained.folder import read_model_folder
from translate.trained.from_checkpoint import read_model_in_checkpoint

from ..helpers import same_tensors

OLD = Path(__file__).parents[1] / "fixtures" / "v0_1" / "runs"


def assert_same_model(run: Path, state: str, model: str) -> None:
    found, known = read_model_in_checkpoint(run, run / state), read_model_folder(run / model)
    assert found.sha256 == known.sha256
    assert found.info.to_dict() == {**known.info.to_dict(), "version": found.info.version}
    assert same_tensors([*found.generators().values()], [*known.generators().values()])
    assert found.source == run / state


@pytest.mark.parametrize("images", [4, 8])
def test_a_kept_model_is_in_its_checkpoint(kept_run, images):
    """Of averages with the statistics of batch norm, which are not averaged."""
    assert_same_model(kept_run, f"state-{images}.ckpt", f"model-{images}")


def test_the_newest_model_is_in_its_checkpoint(kept_run):
    assert_same_model(kept_run, "state-10.ckpt", "model")


@pytest.mark.parametrize(("method", "state"), [("cyclegan", "state-5.ckpt"), ("pix2pix", "state-6.ckpt")])
def test_models_in_checkpoints_of_version_0_1(method, state, tmp_path):
    """A run says in which direction the data was read; models of that version do not."""
    run = Path(shutil.copytree(OLD / method, tmp_path / method))
    assert_same_model(run, state, "model")


def test_raw_weights_are_not_the_averages(kept_run):
    """Guards the tests above: both are in the checkpoint."""
    found = read_model_in_checkpoint(kept_run, kept_run / "state-8.ckpt").generators()
    state = torch.load(_content(kept_run / "state-8.ckpt"), weights_only=True)["method"]
    assert any(not torch.equal(x, state[key]) for key, x in found.items())


def _content(path: Path):
    import io

    return io.BytesIO(path.read_bytes().split(b"\n", 1)[1])


@pytest.mark.parametrize(
    "settings", ["", 'method = "nothing"', 'method = "cyclegan"', 'method = "pix2pix"\ng_width = 5']
)
def test_settings_that_do_not_fit_are_named(kept_run, tmp_path, settings):
    (tmp_path / "config.toml").write_text(settings)
    with pytest.raises(ModelError) as caught:
        read_model_in_checkpoint(tmp_path, kept_run / "state-8.ckpt")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
