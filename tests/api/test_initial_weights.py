"""Weights that a training starts from: those of the model's generators, and the settings of its networks."""

import pytest
import torch

from translate.api.initial_weights import initial_network_settings, read_initial_weights
from translate.api.run_record import RunRecord
from translate.config import resolve, to_dict
from translate.errors import UsageError
from translate.methods import METHODS
from translate.trained import find

CYCLEGAN = METHODS["cyclegan"]
SIZES = {"g_width": 4, "d_width": 4, "crop_size": 32, "load_size": 32}


def cyclegan_config(**settings):
    return CYCLEGAN.resolve_config(
        resolve(CYCLEGAN.Config, ("test", {**SIZES, "generator": "resnet_3blocks", **settings}))
    )


def test_the_generators_are_those_of_the_model(cyclegan_folder):
    lines = []
    weights = read_initial_weights(CYCLEGAN, cyclegan_config(init_from=str(cyclegan_folder)), lines.append)
    model = find.read_model(cyclegan_folder).method
    assert set(weights) == {"g_ab", "g_ba"}
    for network, tensors in weights.items():
        for key, tensor in model.get_submodule(network).state_dict().items():
            assert torch.equal(tensors[key], tensor)
    (line,) = lines
    assert str(cyclegan_folder) in line
    assert line.endswith("; d_a, d_b start from random weights")


def test_other_networks_are_refused_with_the_flags_that_differ(cyclegan_folder):
    cfg = cyclegan_config(init_from=str(cyclegan_folder), g_width=8, norm="batch")
    with pytest.raises(UsageError) as caught:
        read_initial_weights(CYCLEGAN, cfg, lambda line: None)
    assert "--g-width" in str(caught.value)
    assert "--norm" in str(caught.value)
    assert "--generator" not in str(caught.value)


def test_a_new_run_takes_the_networks_of_the_model_and_a_started_one_its_own(cyclegan_folder, tmp_path):
    settings = initial_network_settings(CYCLEGAN, str(cyclegan_folder), tmp_path)
    assert (settings["generator"], settings["g_width"]) == ("resnet_3blocks", 4)
    assert set(settings) <= set(CYCLEGAN.network_settings)
    RunRecord("cyclegan", tmp_path, 1, to_dict(cyclegan_config(g_width=8))).write(tmp_path)
    (tmp_path / "state-2.ckpt").write_bytes(b"")
    assert initial_network_settings(CYCLEGAN, "no_such_model", tmp_path)["g_width"] == 8


def test_weights_are_checked_where_the_method_puts_them(cyclegan_folder):
    """A method that takes a part of what it is given, and puts it elsewhere, is asked before keys and shapes are compared."""

    class Part(CYCLEGAN):
        def initial_weights(self, given):
            wide = {key: torch.cat([x, x]) if x.ndim else x for key, x in given["g_ab"].items()}
            return {"g_ba": given["g_ab"] if self.cfg.g_width == 4 else wide}

    lines = []
    given = read_initial_weights(Part, cyclegan_config(init_from=str(cyclegan_folder)), lines.append)
    assert set(given) == {"g_ab", "g_ba"}, "they are placed when the engine loads them"
    assert lines[0].endswith(f"starting from {cyclegan_folder}: g_ba; g_ab, d_a, d_b start from random weights")
    with pytest.raises(UsageError, match="its network g_ba differs"):
        read_initial_weights(Part, cyclegan_config(init_from=str(cyclegan_folder), g_width=8), lines.append)
