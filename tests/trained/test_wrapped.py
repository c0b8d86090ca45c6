"""Checkpoints of other projects: the generator is found in whatever holds it, or one line says what was found instead."""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import translate
from translate.trained import translator, wrapped
from translate.trained.detect import UnknownArchitecture
from translate.trained.wrapped import direction_of, find_networks, prefer_averaged

from .reference_files import direct, discriminator, generator, load, noise, part, refusal, same, save, save_all

A, B = generator(key=1), generator(key=2)
STATE = A.state_dict()


def prefixed(prefix: str, net: nn.Module = A) -> dict[str, Tensor]:
    return {f"{prefix}{key}": tensor for key, tensor in net.state_dict().items()}


WRAPPED: dict[str, tuple[Any, str]] = {
    "state_dict": ({"state_dict": STATE, "epoch": 3}, "state_dict"),
    "model beside an optimizer": (
        {"model": STATE, "optimizer": torch.optim.Adam(A.parameters()).state_dict(), "epoch": 9}, "model",
    ),
    "a network by name": ({"netG": STATE, "netD": discriminator().state_dict(), "step": torch.tensor(7)}, "netG"),
    "lightning": (
        {"state_dict": prefixed("net_g.") | prefixed("net_d.", discriminator()), "pytorch-lightning_version": "2.0"},
        "state_dict.net_g",
    ),
    "lightning, compiled": ({"state_dict": prefixed("net_g._orig_mod.")}, "state_dict.net_g"),
    "data parallel": ({"state_dict": prefixed("module.")}, "state_dict"),
    "a prefix alone": (prefixed("generator."), "generator"),
    "two prefixes": (prefixed("model.netG."), "model.netG"),
    "averaged": ({"params": B.state_dict(), "params_ema": STATE}, "params_ema"),
    "averaged, apart": ({"model": B.state_dict(), "ema": STATE, "optimizer": {}}, "ema"),
    "averaged, prefixes": (prefixed("g.", B) | prefixed("g_ema.") | prefixed("d.", discriminator()), "g_ema"),
    "options": ({"g": STATE, "args": argparse.Namespace(lr=0.1, name="x")}, "g"),
    "deep": ({"a": {"b": {"state_dict": STATE}}}, "a.b.state_dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
def test_the_generator_is_found_and_its_entry_named(tmp_path: Path, name: str) -> None:
    content, place = WRAPPED[name]
    model = translator.read_model(save(tmp_path / "x.ckpt", content))
    assert same(part(model.generators(), "g_ab"), STATE)
    assert [f"{place} " in f"{notice} " for notice in model.notices] == [True]
    assert (model.info.method, dict(model.info.directions)) == ("cyclegan", {"b": "g_ab"})


@pytest.mark.parametrize(
    ("first", "second"),
    [("netG_A", "netG_B"), ("G_AB", "G_BA"), ("gen_a2b", "gen_b2a"), ("generatorX2Y", "generatorY2X")],
)
def test_two_generators_are_the_two_directions(tmp_path: Path, first: str, second: str) -> None:
    content = {second: B.state_dict(), first: STATE, "D": discriminator().state_dict()}
    path = save(tmp_path / "x.pth", content)
    translated = load(path)
    x = noise(size=16)
    torch.testing.assert_close(translated(x, to="b", pixels="reference"), direct(A, x), rtol=0, atol=0)
    torch.testing.assert_close(translated(x, to="a", pixels="reference"), direct(B, x), rtol=0, atol=0)
    assert f"{first} for a to b, {second} for b to a" in translated.notices[0]
    said: list[str] = []
    translate.import_weights(path, tmp_path / "model", say=said.append)
    assert said == translated.notices
    assert same(translator.read_model(tmp_path / "model").generators(), translator.read_model(path).generators())


@pytest.mark.parametrize("names", [("g_x", "g_y", "g_z"), ("student", "teacher"), ("netG_A", "netG_A2B")])
def test_several_generators_are_refused_by_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    line = refusal(save(tmp_path / "x.pth", dict.fromkeys(names, STATE)))
    assert f"holds several generators, in its entries {', '.join(names)}; save one of them alone" in line


def test_a_wrapped_file_in_a_folder_of_the_reference(tmp_path: Path) -> None:
    save(tmp_path / "latest_net_G_A.pth", {"state_dict": STATE})
    save_all(tmp_path, G_B=B)
    model = translator.read_model(tmp_path)
    assert same(part(model.generators(), "g_ab"), STATE)
    save(tmp_path / "latest_net_G_A.pth", {"netG_A": STATE, "netG_B": STATE})
    assert "two generators beside other files" in refusal(tmp_path, tmp_path / "latest_net_G_A.pth")


def test_a_name_that_steers_the_terminal_is_escaped(tmp_path: Path) -> None:
    model = translator.read_model(save(tmp_path / "x.pth", {"\x1b[2J": STATE}))
    assert "\\x1b[2J" in model.notices[0]
    assert model.notices[0].isprintable()
    assert refusal(save(tmp_path / "x.pth", {"\x1b[2J": {}})).isprintable()
    assert refusal(save(tmp_path / "x.pth", {"\x1b[2J": STATE, "\x1b[3J": STATE})).isprintable()


def test_entries_inside_themselves_and_without_end(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"x": torch.zeros(3)}
    loop["self"] = loop
    with pytest.raises(UnknownArchitecture, match="none of its entries"):
        find_networks(loop)
    wide: dict[str, Any] = {}
    wide.update((str(n), wide) for n in range(100))
    with pytest.raises(UnknownArchitecture, match="none of its entries"):
        find_networks(wide)
    deep: dict[str, Any] = {"g": STATE}
    for _ in range(wrapped.MAX_DEPTH + 1):
        deep = {"a": deep}
    with pytest.raises(UnknownArchitecture, match="none of its entries"):
        find_networks(deep)


def test_a_key_under_a_prefix_that_lacks_another_is_no_network() -> None:
    state = prefixed("net_g.")
    del state["net_g.model.7.bias"]
    with pytest.raises(UnknownArchitecture, match=r"net_g"):
        find_networks(state)


def test_averaged_weights_replace_their_own_twin_only() -> None:
    content = {"a": STATE, "a_ema": STATE, "b": STATE, "schema": STATE, "wide_ema": generator(width=8).state_dict()}
    assert [entry.place for entry in prefer_averaged(find_networks(content))] == ["a_ema", "b", "schema", "wide_ema"]


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("netG_A", "g_ab"), ("netG_B", "g_ba"), ("G_AB", "g_ab"), ("genB2A", "g_ba"), ("G_x2y_ema", "g_ab"), ("netG", None),
        ("netD_A", None), ("gamma", None), ("", None),
    ],
)  # fmt: skip
def test_the_direction_of_a_name(name: str, direction: str | None) -> None:
    assert direction_of(name) == direction


# CUT.


def blurs(state: dict[str, Tensor], down: dict[int, int], up: dict[int, int]) -> OrderedDict[str, Tensor]:
    """With the buffers of CUT's layers Downsample and Upsample: outer products of binomial taps, over 16."""
    taps = {3: torch.tensor([1.0, 2, 1]), 4: torch.tensor([1.0, 3, 3, 1])}
    found = OrderedDict(state)
    for size, layers in ((3, down), (4, up)):
        for layer, channels in layers.items():
            found[f"model.{layer}.filt"] = (
                torch.outer(taps[size], taps[size])[None, None].repeat(channels, 1, 1, 1) / 16
            )
    return found


CUT_G = generator("antialias_4blocks")
CUT_D = discriminator("antialias")
CUT_G_STATE = blurs(CUT_G.state_dict(), {7: 8, 11: 16}, {16: 16, 20: 8})
CUT_D_STATE = blurs(CUT_D.state_dict(), {2: 4, 6: 8, 10: 16}, {})


@pytest.mark.parametrize("with_blurs", [True, False])
def test_a_generator_of_cut_is_cut(tmp_path: Path, with_blurs: bool) -> None:
    path = save(tmp_path / "latest_net_G.pth", CUT_G_STATE if with_blurs else CUT_G)
    model = load(path)
    assert (model.info.method, model.info.networks["generator"]) == ("cut", "antialias_4blocks")
    x = noise(size=16)
    torch.testing.assert_close(model(x, pixels="reference"), direct(CUT_G, x), rtol=0, atol=0)


@pytest.mark.parametrize("blurred", [True, False])
def test_a_folder_of_cut_is_cut(tmp_path: Path, blurred: bool) -> None:
    """With --no_antialias its networks are the reference's, but its discriminator sees no pairs. The heads are left out."""
    save(tmp_path / "latest_net_G.pth", CUT_G_STATE if blurred else A)
    save(tmp_path / "latest_net_D.pth", CUT_D_STATE if blurred else discriminator())
    save(tmp_path / "latest_net_F.pth", {"mlp_0.0.weight": torch.zeros(3, 3)})
    model = translator.read_model(tmp_path)
    assert (model.info.method, dict(model.info.directions)) == ("cut", {"b": "g"})
    assert {key.split(".")[0] for key in model.discriminators} == {"d"}
    assert model.info.networks["discriminator"] == ("antialias" if blurred else "basic")
    translate.import_weights(tmp_path, tmp_path / "model", say=lambda line: None)
    assert translator.read_model(tmp_path / "model").sha256


def test_a_discriminator_of_cut_alone(tmp_path: Path) -> None:
    model = translator.read_model(save(tmp_path / "latest_net_D.pth", CUT_D_STATE))
    assert (model.info.method, dict(model.info.directions)) == ("cut", {})
    assert model.info.networks["input_channels"] == model.info.networks["output_channels"] == 3


@pytest.mark.parametrize("taps", [[1.0, 1, 1], [1.0, 2, 1, 0], [1.0, 4, 6, 4, 1]])
def test_another_blur_is_refused(tmp_path: Path, taps: list[float]) -> None:
    state = OrderedDict(CUT_G_STATE)
    kernel = torch.outer(torch.tensor(taps), torch.tensor(taps))
    state["model.7.filt"] = (kernel / kernel.sum())[None, None].repeat(8, 1, 1, 1)
    assert "key 'model.7.filt' is a blur of" in refusal(save(tmp_path / "x.pth", state))
