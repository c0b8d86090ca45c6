"""The model folder: what is written is what is loaded, and what is damaged is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import translate
from translate import images
from translate.errors import ModelError, UsageError
from translate.methods import METHODS
from translate.trained import folder as model_folder
from translate.trained import translator

Draw = Callable[..., np.ndarray]
Build = Callable[..., Path]


@pytest.mark.parametrize("name", METHODS)
def test_equal_weights_give_equal_bytes(build: Build, name: str) -> None:
    first, second, other = (build(name, seed=seed) / "model.safetensors" for seed in (0, 0, 1))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("name", METHODS)
def test_the_file_holds_what_conversion_needs_and_nothing_else(build: Build, name: str) -> None:
    cls, folder = METHODS[name], build(name)
    cfg = cls.resolve_config(cls.Config(g_width=4, d_width=4, crop_size=min(64, cls.Config().crop_size)))
    method = cls.on_meta(cfg)
    expected = {
        f"{attribute}.{key}"
        for attribute in (*method.generator_names.values(), *method.style_networks, *method.sampling_networks)
        for key in method.get_submodule(attribute).state_dict()
    }
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert set(file.keys()) == expected
        assert file.metadata() == {"format": "pt"}


def test_keys_are_those_of_the_reference(cyclegan_folder: Path, pix2pix_folder: Path) -> None:
    cyclegan = load_file(cyclegan_folder / "model.safetensors")
    assert {"g_ab.model.1.weight", "g_ba.model.1.bias", "g_ab.model.10.conv_block.1.weight"} <= cyclegan.keys()
    assert {key.split(".")[0] for key in cyclegan} == {"g_ab", "g_ba"}
    pix2pix = load_file(pix2pix_folder / "model.safetensors")
    assert {"g.model.model.0.weight", "g.model.model.1.model.2.running_mean"} <= pix2pix.keys()


def test_what_is_written_is_what_is_loaded(build: Build, draw: Draw) -> None:
    cls = METHODS["cyclegan"]
    cfg = cls.Config(generator="resnet_3blocks", g_width=4, d_width=4, crop_size=64, load_size=64)
    method = cls(cfg).eval()
    model = translator.load(build("cyclegan", generator="resnet_3blocks"), device="cpu")
    x = images.to_tensor(draw(19, 16, 16))[None]
    with torch.inference_mode():
        assert torch.equal(model(x, pixels="reference"), method.translate(x, "b"))


def test_a_residual_output_is_stored_and_built_again(build: Build, tmp_path: Path) -> None:
    """Models without one say nothing of it, so that they load in versions that do not know it."""
    cls, settings = METHODS["cyclegan"], {"generator": "resize_unet_2levels_1blocks", "g_width": 4, "crop_size": 64}
    method = cls(cls.Config(**settings, d_width=4, load_size=64, norm="batch", residual="on")).eval()
    method.g_ab.set_colour_map(0.5 * torch.eye(3), torch.tensor([0.1, 0.2, 0.3]))
    model_folder.write_trained_model(tmp_path, method, title="nothing", seen=0)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["networks"]["residual"] == "on"
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    made = translator.load(tmp_path, device="cpu")(x)
    torch.testing.assert_close(made, 0.5 * x + torch.tensor([0.1, 0.2, 0.3])[:, None, None])
    other = json.loads((build("cyclegan", **settings) / "config.json").read_text(encoding="utf-8"))
    assert "residual" not in other["networks"]


def test_double_precision_is_kept(tmp_path: Path) -> None:
    cls = METHODS["cyclegan"]
    cfg = cls.Config(generator="resnet_3blocks", g_width=4, d_width=4, crop_size=64, load_size=64)
    model_folder.write_trained_model(tmp_path, cls(cfg).double(), title="nothing", seen=0)
    assert {w.dtype for w in load_file(tmp_path / "model.safetensors").values()} == {torch.float64}
    assert translator.load(tmp_path, device="cpu")(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_config_says_what_the_contract_says(pix2pix_folder: Path, cyclegan_folder: Path) -> None:
    info = json.loads((pix2pix_folder / "config.json").read_text(encoding="utf-8"))
    assert info["method"] == "pix2pix"
    assert info["version"] == translate.__version__
    assert info["networks"]["generator"] == "unet_64"
    assert info["networks"]["g_width"] == 4
    assert info["size"] == {"multiple_of": 64, "minimum": 64}
    assert info["domains"] == {name: {"channels": 3, "range": [-1, 1]} for name in "ab"}
    assert (info["norm_statistics"], info["dropout"]) == ("sample", "on")
    other = json.loads((cyclegan_folder / "config.json").read_text(encoding="utf-8"))
    assert other["size"] == {"multiple_of": 4, "minimum": 8}
    assert other["dropout"] == "off"


def test_the_card_has_what_the_hub_reads(cyclegan_folder: Path) -> None:
    card = (cyclegan_folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "pipeline_tag: image-to-image\n" in card.split("---\n")[1]


@pytest.fixture
def copy(cyclegan_folder: Path, tmp_path: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((cyclegan_folder / name).read_bytes())
    return tmp_path


def refuses(folder: Path) -> None:
    with pytest.raises(ModelError) as caught:
        translator.load(folder, device="cpu")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -1])
def test_a_truncated_file_is_refused(copy: Path, name: str, kept: int) -> None:
    data = (copy / name).read_bytes().rstrip(b"\n")
    (copy / name).write_bytes(data[:kept])
    refuses(copy)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b"3", b"null", b'"x"', b"{}", b"[" * 100_000])
def test_a_config_that_is_no_config_is_refused(copy: Path, content: bytes) -> None:
    (copy / "config.json").write_bytes(content)
    refuses(copy)


@pytest.mark.parametrize("key", ["method", "networks", "directions", "size", "domains"])
@pytest.mark.parametrize("value", [None, 3, [], {}, "missing"])
def test_a_config_with_a_damaged_field_is_refused(copy: Path, key: str, value: Any) -> None:
    info = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    if value == "missing":
        del info[key]
    else:
        info[key] = value
    (copy / "config.json").write_text(json.dumps(info), encoding="utf-8")
    refuses(copy)


@pytest.mark.parametrize("change", [
    {"method": "no such method"}, {"size": {"multiple_of": 3, "minimum": 3}}, {"directions": {"b": "d_b"}},
    {"directions": {"c": "g_ab"}}, {"networks": {"g_width": 5}}, {"networks": {"colour": 3}},
    {"domains": {"a": {"channels": 1, "range": [-1, 1]}, "b": {"channels": 3, "range": [-1, 1]}}},
], ids=str)  # fmt: skip
def test_a_config_that_does_not_fit_the_weights_is_refused(copy: Path, change: dict[str, Any]) -> None:
    info = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    for key, value in change.items():
        info[key] = {**info[key], **value} if key == "networks" else value
    (copy / "config.json").write_text(json.dumps(info), encoding="utf-8")
    refuses(copy)


@pytest.mark.parametrize("damage", ["one missing", "one of another shape", "none", "whole numbers"])
def test_weights_that_do_not_fit_are_refused(copy: Path, damage: str) -> None:
    weights = load_file(copy / "model.safetensors")
    if damage == "one missing":
        del weights["g_ab.model.1.weight"]
    elif damage == "one of another shape":
        weights["g_ab.model.1.weight"] = weights["g_ab.model.1.weight"][:, :2].contiguous()
    elif damage == "none":
        weights = {}
    else:
        weights["g_ab.model.1.weight"] = weights["g_ab.model.1.weight"].to(torch.int64)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    refuses(copy)


def replace_tensor(folder: Path, file: str, key: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weights = load_file(folder / file)
    weights[key] = change(weights[key])
    save_file(weights, folder / file, {"format": "pt"})


def with_one(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """A change of the last number of a tensor."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[-1] = value
        return tensor

    return change


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(build: Build, tmp_path: Path, value: float) -> None:
    folder = build("cyclegan", generator="resnet_1blocks", folder=tmp_path)
    replace_tensor(folder, "model.safetensors", "g_ba.model.18.bias", with_one(value))
    with pytest.raises(ModelError, match=r"g_ba\.model\.18\.bias is not finite") as caught:
        translate.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.float8_e5m2])
def test_weights_of_another_type_are_named(build: Build, tmp_path: Path, dtype: torch.dtype) -> None:
    folder = build("cyclegan", generator="resnet_1blocks", folder=tmp_path)
    replace_tensor(folder, "model.safetensors", "g_ab.model.1.weight", lambda tensor: tensor.to(dtype))
    with pytest.raises(ModelError, match=r"g_ab\.model\.1\.weight holds"):
        translate.load(folder)


def test_weights_too_large_for_a_type_are_not_exported_as_infinity(build: Build, tmp_path: Path) -> None:
    """The largest number of float16 is 65504; bfloat16 reaches as far as float32."""
    folder = tmp_path / "model"
    folder.mkdir()
    build("cyclegan", generator="resnet_1blocks", folder=folder)
    replace_tensor(folder, "model.safetensors", "g_ab.model.1.weight", with_one(65500))
    translate.export(folder, tmp_path / "fits", dtype="fp16")
    replace_tensor(folder, "model.safetensors", "g_ab.model.1.weight", with_one(70000))
    with pytest.raises(UsageError, match=r"--dtype fp16: g_ab\.model\.1\.weight has values up to 7e\+04"):
        translate.export(folder, tmp_path / "small", dtype="fp16")
    assert not (tmp_path / "small").exists()
    translate.export(folder, tmp_path / "wide", dtype="bf16")
    translate.load(tmp_path / "wide", device="cpu")
