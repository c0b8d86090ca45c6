"""Training from a model: `--init-from` takes generators and discriminators of a trained or imported one."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import translate
from translate.errors import ModelError, UsageError
from translate.methods import METHODS
from translate.training import checkpoint

from ..trained.reference_files import discriminator, equal, four, generator, in_precision, part, save, save_all

Draw = Callable[..., np.ndarray]
Weights = Mapping[str, Tensor]


def train(root: Path, run: Path, start: Path, method: str = "cyclegan", **flags: Any) -> list[str]:
    """A training in which no weight moves, as its rate is zero; what it says."""
    said: list[str] = []
    still = {"images": 2, "crop_size": 32, "lr": 0.0, "device": "cpu", "precision": "fp32", "log_every": 1000}
    translate.train(method, root, run=run, init_from=str(start), say=said.append, **{**still, **flags})
    return said


def state_of(run: Path) -> dict[str, Tensor]:
    state = checkpoint.load_newest(run, print)
    assert state is not None
    return state["method"]


def settings_of_run(run: Path) -> dict[str, Any]:
    return tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("imported", [False, True], ids=["reference folder", "model folder"])
def test_training_starts_from_all_four_networks(tmp_path: Path, unpaired_root: Path, imported: bool) -> None:
    """Their architecture, which no flag tells, and their weights; with a rate of zero they are those at the end."""
    nets = {
        **{
            name: generator("resnet_2blocks", "none", True, width=3, key=key) for key, name in enumerate(("G_A", "G_B"))
        },
        **{f"D_{s}": discriminator("n_layers", "none", layers=2, width=5, key=key) for key, s in enumerate("AB", 2)},
    }
    start = save_all(tmp_path / "ref", **nets)
    if imported:
        translate.import_weights(start, tmp_path / "model")
        start = tmp_path / "model"
    said = train(unpaired_root, tmp_path / "run", start)
    assert "anew" not in said[0]
    assert all(name in said[0] for name in ("g_ab", "g_ba", "d_a", "d_b", str(start)))
    known = {"generator": "resnet_2blocks", "norm": "none", "dropout": True, "g_width": 3, "discriminator": "n_layers",
             "d_layers": 2, "d_width": 5}  # fmt: skip
    assert known.items() <= settings_of_run(tmp_path / "run").items()
    state, kept = state_of(tmp_path / "run"), load_file(tmp_path / "run" / "model" / "model.safetensors")
    for attribute, name in {"g_ab": "G_A", "g_ba": "G_B", "d_b": "D_A", "d_a": "D_B"}.items():
        assert equal(part(state, attribute), nets[name].state_dict()), attribute
    for attribute, name in {"g_ab": "G_A", "g_ba": "G_B"}.items():
        assert equal(part(kept, attribute), nets[name].state_dict()), attribute


def test_training_of_pix2pix_starts_from_both_networks(tmp_path: Path, paired_root: Path) -> None:
    """Statistics of batch norm move with the data, whatever the rate."""
    nets = {"G": generator("unet_32", "batch", width=3), "D": discriminator("pixel", "batch", 6, width=5)}
    train(paired_root, tmp_path / "run", save_all(tmp_path / "ref", **nets), "pix2pix")
    state = state_of(tmp_path / "run")
    for attribute, name in (("g", "G"), ("d", "D")):
        found = part(state, attribute)
        assert found.keys() == nets[name].state_dict().keys()
        for key, tensor in nets[name].named_parameters():
            assert torch.equal(found[key], tensor), key
        counters = {key: t for key, t in nets[name].state_dict().items() if key.endswith("num_batches_tracked")}
        assert counters
        assert all(found[key] > t for key, t in counters.items()), "they are counted on"
    assert settings_of_run(tmp_path / "run")["dropout"] is True


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"g_width": 8}, "--g-width"),
        ({"norm": "batch"}, "--norm"),
        ({"dropout": True}, "--dropout"),
        ({"generator": "resnet_2blocks"}, "--generator"),
        ({"output_channels": 1, "lambda_identity": 0.0}, "--output-channels"),
        ({"d_width": 8}, "--d-width"),
        ({"discriminator": "pixel"}, "--discriminator"),
        ({"discriminator": "n_layers", "d_layers": 2}, "--d-layers"),
    ],
)
def test_flags_that_contradict_the_model_are_refused(
    tmp_path: Path, unpaired_root: Path, flags: dict[str, Any], named: str
) -> None:
    start = save_all(tmp_path / "ref", **four())
    with pytest.raises(UsageError) as caught:
        train(unpaired_root, tmp_path / "run", start, **flags)
    assert named in str(caught.value)
    assert f"--init-from {start}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_flags_that_agree_with_the_model_or_do_not_concern_it_are_welcome(tmp_path: Path, unpaired_root: Path) -> None:
    nets = four()
    start = save_all(tmp_path / "ref", G_A=nets["G_A"], G_B=nets["G_B"])
    said = train(unpaired_root, tmp_path / "run", start, g_width=4, norm="instance", discriminator="pixel", d_width=2)
    assert said[0].endswith("; d_a, d_b start from random weights")
    assert settings_of_run(tmp_path / "run")["discriminator"] == "pixel"
    assert equal(part(state_of(tmp_path / "run"), "g_ba"), nets["G_B"].state_dict())


def test_a_config_file_may_name_the_model(tmp_path: Path, unpaired_root: Path) -> None:
    nets = four()
    start = save_all(tmp_path / "ref", **nets)
    (tmp_path / "c.toml").write_text(
        f'init_from = "{start}"\nimages = 1\ncrop_size = 32\nlr = 0.0\nprecision = "fp32"\n'
    )
    translate.train(
        "cyclegan", unpaired_root, run=tmp_path / "run", config=tmp_path / "c.toml", say=lambda line: None, device="cpu"
    )
    assert equal(part(state_of(tmp_path / "run"), "d_b"), nets["D_A"].state_dict())


@pytest.mark.slow
def test_the_same_command_goes_on_without_the_model_it_started_from(tmp_path: Path, unpaired_root: Path) -> None:
    """The record of the run says what its networks are; its weights are those of the checkpoint."""
    translate.import_weights(save_all(tmp_path / "ref", **four()), tmp_path / "model")
    train(unpaired_root, tmp_path / "run", tmp_path / "model", lr=1e-3)
    trained = state_of(tmp_path / "run")
    for path in (tmp_path / "model").iterdir():
        path.unlink()
    (tmp_path / "model").rmdir()
    assert "finished after 2 images" in train(unpaired_root, tmp_path / "run", tmp_path / "model", lr=1e-3)[0]
    said = train(unpaired_root, tmp_path / "run", tmp_path / "model", lr=1e-3, images=3)
    assert any("resuming after 2 images" in line for line in said)
    assert not any("starting from" in line for line in said)
    assert not torch.equal(state_of(tmp_path / "run")["g_ab.model.1.weight"], trained["g_ab.model.1.weight"])


@pytest.mark.slow
def test_going_on_is_not_starting_again(tmp_path: Path, unpaired_root: Path) -> None:
    """Two images at once, or one and one more: the same weights, so the model was not read again in between."""
    start = save_all(tmp_path / "ref", **four())
    train(unpaired_root, tmp_path / "whole", start, lr=1e-3, images=2)
    train(unpaired_root, tmp_path / "parts", start, lr=1e-3, images=1)
    train(unpaired_root, tmp_path / "parts", start, lr=1e-3, images=2)
    assert equal(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))


@pytest.mark.parametrize("name", ["latest_net_G_A.pth", "latest_net_G_B.pth"])
def test_a_generator_alone_starts_the_way_to_b_only(tmp_path: Path, unpaired_root: Path, name: str) -> None:
    net = generator()
    said = train(unpaired_root, tmp_path / "run", save(tmp_path / name, net), d_width=3)
    assert said[0] == f"starting from {tmp_path / name}: g_ab; g_ba, d_a, d_b start from random weights"
    state, cls = state_of(tmp_path / "run"), METHODS["cyclegan"]
    fresh = cls(cls.Config(generator="resnet_1blocks", g_width=4, d_width=3, crop_size=32, load_size=32)).state_dict()
    assert equal(part(state, "g_ab"), net.state_dict())
    for attribute in ("g_ba", "d_a", "d_b"):
        assert equal(part(state, attribute), part(fresh, attribute)), attribute


def test_discriminators_alone_are_gone_on_with_too(tmp_path: Path, unpaired_root: Path) -> None:
    net = discriminator("pixel", width=3)
    said = train(
        unpaired_root,
        tmp_path / "run",
        save(tmp_path / "latest_net_D_A.pth", net),
        generator="resnet_1blocks",
        g_width=2,
    )
    assert said[0].endswith(": d_b; g_ab, g_ba, d_a start from random weights")
    assert equal(part(state_of(tmp_path / "run"), "d_b"), net.state_dict())


def test_a_model_to_start_from_that_is_not_there(tmp_path: Path, unpaired_root: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        train(unpaired_root, tmp_path / "run", tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_training_in_double_precision_starts_from_the_very_weights(tmp_path, unpaired_root):
    nets = {name: in_precision(net, torch.float64) for name, net in four().items()}
    train(unpaired_root, tmp_path / "run", save_all(tmp_path / "ref", **nets), precision="fp64")
    state = state_of(tmp_path / "run")
    for attribute, name in {"g_ab": "G_A", "g_ba": "G_B", "d_b": "D_A", "d_a": "D_B"}.items():
        assert equal(part(state, attribute), nets[name].state_dict()), attribute


def test_averages_start_from_the_loaded_weights(tmp_path: Path, unpaired_root: Path) -> None:
    """With a rate of zero the average of a weight is that weight, however long the half-life."""
    nets = four()
    train(unpaired_root, tmp_path / "run", save_all(tmp_path / "ref", **nets), ema_half_life=1000)
    exported = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for attribute, name in {"g_ab": "G_A", "g_ba": "G_B"}.items():
        assert equal(part(exported, attribute), nets[name].state_dict()), attribute


def test_a_config_file_may_name_the_model_with_a_hyphen(tmp_path, unpaired_root):
    start = save_all(tmp_path / "ref", **four())
    (tmp_path / "c.toml").write_text(f'init-from = "{start}"\nimages = 1\ncrop-size = 32\n')
    translate.train(
        "cyclegan", unpaired_root, run=tmp_path / "run", config=tmp_path / "c.toml", device="cpu", say=lambda line: None
    )
