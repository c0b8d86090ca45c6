"""Files that are no checkpoints of the reference: refused by name, and never run."""

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import translate
from translate.errors import ModelError
from translate.trained import find

from .reference_files import discriminator, four, generator, refusal, save, save_all

Draw = Callable[..., np.ndarray]
Weights = Mapping[str, Tensor]


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("place", ["first", "last", "alone"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, zipped: bool, place: str) -> None:
    marker, code = tmp_path / "was run", Code(tmp_path / "was run")
    weights = dict(generator().state_dict())
    content = {"first": {"x": code, **weights}, "last": {**weights, "x": code}, "alone": code}[place]
    path = save(tmp_path / "latest_net_G_A.pth", content, _use_new_zipfile_serialization=zipped)
    save_all(tmp_path / "folder", **four())
    save(tmp_path / "folder" / "latest_net_D_B.pth", content, _use_new_zipfile_serialization=zipped)
    assert "mkdir" in refusal(path)
    assert "mkdir" in refusal(tmp_path / "folder", tmp_path / "folder" / "latest_net_D_B.pth")
    with pytest.raises(ModelError):
        translate.import_weights(path, tmp_path / "model")
    with pytest.raises(ModelError):
        translate.load(path)
    assert not marker.exists()
    assert not (tmp_path / "model").exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "it would have run"


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(generator(), path)
    assert "code" in refusal(path)


def test_every_file_is_read_as_weights_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpaired_root: Path
) -> None:
    asked = []
    honest = torch.load

    def watched(*args: Any, **options: Any) -> Any:
        asked.append(options.get("weights_only"))
        return honest(*args, **options)

    folder = save_all(tmp_path / "ref", **four())
    monkeypatch.setattr(torch, "load", watched)
    translate.load(folder)
    translate.load(folder / "latest_net_G_A.pth")
    translate.import_weights(folder, tmp_path / "model")
    translate.export(folder, tmp_path / "out.pth")
    translate.train(
        "cyclegan", unpaired_root, run=tmp_path / "run", init_from=str(folder), images=1, crop_size=32, device="cpu"
    )
    assert asked
    assert set(asked) == {True}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_file_cut_short_is_refused_at_any_length(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path / "latest_net_G.pth", generator(), _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    for length in [*range(20), *range(20, len(data), len(data) // 20), len(data) - 8, len(data) - 1]:
        path.write_bytes(data[:length])
        refusal(path)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for seed in range(30):
        rng = np.random.default_rng(seed)
        path.write_bytes(rng.bytes(int(rng.integers(1, 3000))))
        refusal(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_flipped_bits_end_in_a_refusal_or_in_other_numbers(tmp_path: Path, zipped: bool) -> None:
    path = save(tmp_path / "x.pth", generator(width=1), _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, min(len(data), 6000), 15):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bytes(changed))
        try:
            assert find.read_model(path).info.networks["generator"] == "resnet_1blocks"
        except ModelError as e:
            assert "\n" not in str(e)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({}, "no weights"),
        ([torch.zeros(3)], "list"),
        (torch.zeros(3), "Tensor"),
        (
            {"state_dict": {"fc.weight": torch.zeros(3, 3)}},
            "none of its entries (state_dict) is one: in state_dict, key",
        ),
        ({"epoch": 3, "args": {"lr": 1.0}}, "none of its entries (epoch, args) is one"),
        ({**generator().state_dict(), "epoch": 3}, "'epoch'"),
        ({"fc.weight": torch.zeros(3, 3)}, "'fc.weight'"),
        ({k: t for k, t in generator().state_dict().items() if k != "model.7.bias"}, "'model.7.bias'"),
        ({**generator().state_dict(), "model.7.gamma": torch.zeros(1)}, "'model.7.gamma'"),
        ({**generator().state_dict(), "model.7.bias": torch.zeros(99)}, "(99,)"),
    ],
    ids=["nothing", "list", "tensor", "nested", "nothing nested", "number", "other", "missing", "too many", "shape"],
)
def test_weights_of_no_network_of_the_reference(tmp_path: Path, content: Any, word: str) -> None:
    assert word in refusal(save(tmp_path / "x.pth", content))


def test_a_plain_pickle_and_a_text_are_refused(tmp_path: Path) -> None:
    for data in (pickle.dumps({"a": 1}, 2), b"hello", b"<!DOCTYPE html><title>404 Not Found</title>", b"\x89PNG\r\n"):
        path = tmp_path / "latest_net_G.pth"
        path.write_bytes(data)
        refusal(path)


def test_a_missing_model_says_so(tmp_path: Path) -> None:
    refusal(tmp_path / "nothing")
    refusal(tmp_path)


def test_odd_names_are_refused(tmp_path):
    refusal(save(tmp_path / "1.pth", {0: torch.zeros(3)}))
    refusal(
        save(
            tmp_path / "2.pth", {**generator().state_dict(), f"model.{'1' * 5000}.conv_block.1.weight": torch.zeros(3)}
        )
    )


def test_sizes_beyond_memory_are_refused(tmp_path):
    huge = torch.zeros(1).expand(2**40, 3, 7, 7)
    refusal(save(tmp_path / "1.pth", {**generator().state_dict(), "model.1.weight": huge}))


def test_tensors_without_data_are_refused(tmp_path):
    refusal(save(tmp_path / "1.pth", {k: t.to("meta") for k, t in generator().state_dict().items()}))


def test_discriminators_beyond_the_settings_are_models_that_cannot_be_used(tmp_path):
    refusal(save(tmp_path / "1.pth", discriminator("n_layers", layers=7)))


def test_a_key_twice_is_refused(tmp_path):
    state = generator().state_dict()
    refusal(save(tmp_path / "x.pth", {**state, **{f"module.{k}": t + 1 for k, t in state.items()}}))


def test_a_lone_file_whose_name_denies_its_content(tmp_path):
    refusal(save_all(tmp_path, D_A=generator()))


def test_nothing_but_the_error_is_said(tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps(dict(generator().state_dict()), 4))
    assert "UserWarning" not in refusal(tmp_path / "x.pth")


def test_complex_numbers_are_no_weights(tmp_path):
    refusal(save(tmp_path / "x.pth", {k: t.to(torch.complex64) for k, t in generator().state_dict().items()}))


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    state = generator().state_dict()
    state["model.7.bias"][-1] = value
    assert "model.7.bias is not finite" in refusal(save(tmp_path / "x.pth", state))
