"""Checkpoints of the reference implementation: read, kept, written back, converted with and trained on."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import translate
from translate.errors import ModelError, UsageError
from translate.trained import find, reference_pth

from .reference_files import (
    NOTICE,
    direct,
    discriminator,
    equal,
    four,
    generator,
    load,
    noise,
    part,
    refusal,
    same,
    save,
    save_all,
)

Draw = Callable[..., np.ndarray]
Weights = Mapping[str, Tensor]


# One file.


@pytest.mark.parametrize("name", ["latest_net_G.pth", "latest_net_G_A.pth", "5_net_G_B.pth", "horse.pth", "weights"])
def test_a_generator_alone_translates_to_b_whatever_its_file_is_called(tmp_path: Path, name: str) -> None:
    net = generator("resnet_2blocks")
    model = reference_pth.read_pth(save(tmp_path / name, net))
    assert (model.method.name, model.info.directions, model.notices) == ("cyclegan", {"b": "g_ab"}, [])
    assert same(part(model.generators(), "g_ab"), net.state_dict())
    ready = load(tmp_path / name)
    assert ready.directions == ("b",)
    with pytest.raises(UsageError, match="to b only"):
        ready(noise(), to="a")


@pytest.mark.parametrize(
    ("name", "norm", "dropout", "method", "acts", "told"),
    [
        ("resnet_1blocks", "instance", False, "cyclegan", "off", True),
        ("resnet_1blocks", "instance", True, "cyclegan", "on", True),
        ("resnet_1blocks", "none", True, "cyclegan", "on", True),
        ("resnet_1blocks", "batch", False, "pix2pix", "off", True),
        ("resnet_1blocks", "batch", True, "pix2pix", "on", True),
        ("unet_64", "batch", True, "pix2pix", "on", False),
        ("unet_64", "batch", False, "pix2pix", "on", False),
        ("unet_64", "instance", True, "cyclegan", "off", False),
        ("unet_64", "none", True, "cyclegan", "off", False),
    ],
)
def test_dropout_is_read_off_a_resnet_and_assumed_of_a_unet(
    tmp_path: Path, name: str, norm: str, dropout: bool, method: str, acts: str, told: bool
) -> None:
    """Batch norm says pix2pix, which has dropout; any other norm CycleGAN, which has none. The assumption is one line."""
    path = save(tmp_path / "latest_net_G.pth", generator(name, norm, dropout))
    said: list[str] = []
    model = translate.load(path, device="cpu", say=said.append)
    assert (model.method.name, model.info.dropout, model.info.networks["dropout"]) == (method, acts, acts == "on")
    assert model.info.networks["norm"] == norm
    assert [(str(path) in line, NOTICE in line, method in line.lower(), "\n" in line) for line in said] == (
        [] if told else [(True, True, True, False)]
    )
    for asked in ("on", "off"):
        if asked == "on" and told and not dropout:
            continue
        assert translate.load(path, device="cpu", dropout=asked, say=said.append).info.dropout == asked
    assert len(said) == (0 if told else 1), "nothing is assumed where it is said"


@pytest.mark.parametrize("dropout", ["maybe", "On", "", "true"])
def test_dropout_is_on_or_off(tmp_path: Path, dropout: str) -> None:
    path = save(tmp_path / "x.pth", generator())
    with pytest.raises(UsageError, match="must be on or off"):
        load(path, dropout=dropout)


def test_a_resnet_without_dropout_cannot_be_given_any(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", generator())
    with pytest.raises(UsageError, match="trained without dropout") as caught:
        load(path, dropout="on")
    assert str(path) in str(caught.value)
    assert load(path, dropout="off").info.dropout == "off"


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "before torch 1.6"])
def test_a_file_from_a_wrapped_network_of_long_ago(tmp_path: Path, options: dict[str, bool]) -> None:
    """DataParallel's prefix, and an instance norm's statistics."""
    net = generator("resnet_1blocks")
    old = {f"module.{key}": tensor for key, tensor in net.state_dict().items()}
    for place, channels in {
        "2": 4,
        "5": 8,
        "8": 16,
        "10.conv_block.2": 16,
        "10.conv_block.6": 16,
        "12": 8,
        "15": 4,
    }.items():
        old[f"module.model.{place}.running_mean"] = torch.ones(channels)
        old[f"module.model.{place}.running_var"] = torch.ones(channels)
        old[f"module.model.{place}.num_batches_tracked"] = torch.tensor(0)
    path = save(tmp_path / "latest_net_G_A.pth", old, **options)
    assert same(part(reference_pth.read_pth(path).generators(), "g_ab"), net.state_dict())
    assert torch.equal(load(path)(noise(), pixels="reference"), direct(net, noise()))


def test_batch_norms_of_long_ago_get_their_counter_in_the_model(tmp_path: Path) -> None:
    state = generator("unet_32", "batch").state_dict()
    path = save(tmp_path / "x.pth", {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")})
    found = part(reference_pth.read_pth(path).generators(), "g")
    assert found.keys() == state.keys()
    for key, tensor in state.items():
        assert torch.equal(found[key], torch.zeros_like(tensor) if key.endswith("tracked") else tensor)


# A folder.


def test_each_network_of_a_cyclegan_lands_where_it_works(tmp_path: Path) -> None:
    """The reference's netD_A stands beside netG_A, whose results it judges: they are images of domain b."""
    nets = four()
    translate.import_weights(save_all(tmp_path / "ref", **nets), tmp_path / "model")
    generators = load_file(tmp_path / "model" / "model.safetensors")
    discriminators = load_file(tmp_path / "model" / "discriminators.safetensors")
    for attribute, name in {"g_ab": "G_A", "g_ba": "G_B"}.items():
        assert equal(part(generators, attribute), nets[name].state_dict())
    for attribute, name in {"d_b": "D_A", "d_a": "D_B"}.items():
        assert equal(part(discriminators, attribute), nets[name].state_dict())
    assert {key.split(".")[0] for key in generators} == {"g_ab", "g_ba"}
    assert {key.split(".")[0] for key in discriminators} == {"d_a", "d_b"}
    model = load(tmp_path / "model")
    assert model.directions == ("b", "a")
    assert torch.equal(model(noise(), pixels="reference"), direct(nets["G_A"], noise()))
    assert torch.equal(model(noise(), to="a", pixels="reference"), direct(nets["G_B"], noise()))


def test_domains_may_have_different_channels(tmp_path: Path) -> None:
    nets = {
        "G_A": generator(channels=(1, 3)), "G_B": generator(channels=(3, 1), key=1),
        "D_A": discriminator(channels=3, key=2), "D_B": discriminator(channels=1, key=3),
    }  # fmt: skip
    model = load(save_all(tmp_path / "ref", **nets))
    assert {name: domain["channels"] for name, domain in model.info.domains.items()} == {"a": 1, "b": 3}
    assert model(noise(channels=1)).shape == (1, 3, 32, 32)
    assert torch.equal(model(noise(), to="a", pixels="reference"), direct(nets["G_B"], noise()))
    assert model(Image.new("RGB", (9, 7))).mode == "RGB"
    assert model(Image.new("RGB", (9, 7)), to="a").mode == "L"
    swapped = save_all(tmp_path / "swapped", **{**nets, "D_A": nets["D_B"], "D_B": nets["D_A"]})
    assert "channels" in refusal(swapped, swapped / "latest_net_D_")


@pytest.mark.parametrize("channels", [(3, 3), (1, 3)])
def test_a_pix2pix_with_its_discriminator(tmp_path: Path, channels: tuple[int, int]) -> None:
    nets = {"G": generator("unet_32", "batch", channels=channels), "D": discriminator("basic", "batch", sum(channels))}
    model = reference_pth.read_pth_folder(save_all(tmp_path, **nets))
    assert (model.method.name, model.info.directions, model.info.dropout) == ("pix2pix", {"b": "g"}, "on")
    assert equal(part(model.generators(), "g"), nets["G"].state_dict())
    assert equal(part(model.discriminators, "d"), nets["D"].state_dict())
    assert len(model.notices) == 1
    assert NOTICE in model.notices[0]


@pytest.mark.parametrize("name", ["G_A", "G_B", "G"])
def test_a_folder_with_one_generator_is_as_its_file(tmp_path: Path, name: str) -> None:
    net = generator()
    model = load(save_all(tmp_path, **{name: net}))
    assert model.directions == ("b",)
    assert torch.equal(model(noise(), pixels="reference"), direct(net, noise()))


def test_a_folder_may_lack_networks(tmp_path: Path) -> None:
    nets = four()
    model = reference_pth.read_pth_folder(save_all(tmp_path, G_A=nets["G_A"], D_B=nets["D_B"]))
    assert model.info.directions == {"b": "g_ab"}
    assert equal(part(model.discriminators, "d_a"), nets["D_B"].state_dict())
    both = reference_pth.read_pth_folder(save_all(tmp_path, G_B=nets["G_B"]))
    assert both.info.directions == {"b": "g_ab", "a": "g_ba"}


def test_a_unet_cyclegan_has_no_dropout_even_with_batch_norm(tmp_path: Path) -> None:
    """Two generators can be no pix2pix."""
    nets = {name: generator("unet_64", "batch", key=key) for key, name in enumerate(("G_A", "G_B"))}
    model = reference_pth.read_pth_folder(save_all(tmp_path, **nets))
    assert (model.method.name, model.info.dropout, len(model.notices)) == ("cyclegan", "off", 1)


@pytest.mark.parametrize(
    ("epochs", "asked", "taken"),
    [
        (["5", "10", "latest", "iter_1000"], None, "latest"),
        (["5", "10", "100", "iter_1000"], None, "100"),
        (["5", "10", "9"], None, "10"),
        (["iter_200", "iter_1000"], None, "iter_1000"),
        (["5", "10", "latest"], "5", "5"),
        (["5", "latest", "iter_1000"], "iter_1000", "iter_1000"),
    ],
)
def test_the_latest_epoch_is_taken_unless_one_is_named(
    tmp_path: Path, epochs: list[str], asked: str | None, taken: str
) -> None:
    nets = {epoch: {name: generator(key=10 * key + n) for n, name in enumerate(("G_A", "G_B"))} for key, epoch in
            enumerate(epochs)}  # fmt: skip
    for epoch in epochs:
        save_all(tmp_path / "ref", epoch, **nets[epoch])
    save_all(tmp_path / "ref", epochs[0], D_A=discriminator(), D_B=discriminator())
    model = translate.import_weights(tmp_path / "ref", tmp_path / "model", epoch=asked)
    assert equal(part(model.generators(), "g_ab"), nets[taken]["G_A"].state_dict())
    assert equal(part(model.generators(), "g_ba"), nets[taken]["G_B"].state_dict())
    assert bool(model.discriminators) == (taken == epochs[0])
    assert all(name.startswith(f"{taken}_net_") for name in model.info.imported_from)


def test_an_epoch_that_is_not_there(tmp_path: Path) -> None:
    folder = save_all(tmp_path / "ref", "5", G_A=generator())
    save_all(folder, "latest", G_A=generator())
    with pytest.raises(ModelError, match=r"no epoch '7'.*5, latest") as caught:
        translate.import_weights(folder, tmp_path / "model", epoch="7")
    assert str(folder) in str(caught.value)
    with pytest.raises(UsageError, match="single file"):
        translate.import_weights(folder / "5_net_G_A.pth", tmp_path / "model", epoch="5")
    assert not (tmp_path / "model").exists()


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    net = generator()
    save_all(tmp_path, G=net)
    for name in ("train_opt.txt", "loss_log.txt", "latest_net_F.pth", "latest_net_G.pth.bak", "net_G.pth"):
        (tmp_path / name).write_text("something else")
    (tmp_path / "web").mkdir()
    assert same(part(reference_pth.read_pth_folder(tmp_path).generators(), "g_ab"), net.state_dict())


@pytest.mark.parametrize(
    ("changed", "net", "word"),
    [
        ("G_B", generator(width=5), "g_width is 5"),
        ("G_B", generator("resnet_2blocks"), "generator is resnet_2blocks"),
        ("G_B", generator(norm="none"), "norm is none"),
        ("G_B", generator(dropout=True), "dropout is True"),
        ("G_B", generator(channels=(1, 3)), "output_channels is 1"),
        ("D_B", discriminator(width=5), "d_width is 5"),
        ("D_B", discriminator("n_layers", layers=2), "discriminator is n_layers"),
        ("D_B", discriminator("pixel"), "discriminator is pixel"),
        ("D_A", discriminator(norm="batch"), "norm is batch"),
        ("D_A", discriminator(channels=1), "takes 1 channels"),
        ("D_B", discriminator(channels=6), "takes 6 channels"),
        ("D_A", generator(), "holds a generator"),
        ("G_A", discriminator(), "holds a discriminator"),
    ],
)
def test_networks_that_do_not_belong_together_name_their_file(
    tmp_path: Path, changed: str, net: nn.Module, word: str
) -> None:
    save_all(tmp_path, **{**four(), changed: net})
    assert word in refusal(tmp_path, tmp_path / f"latest_net_{changed}.pth")


def test_a_pix2pix_discriminator_that_judges_other_images(tmp_path: Path) -> None:
    save_all(tmp_path, G=generator("unet_32", "batch"), D=discriminator("basic", "batch", 3))
    assert "takes 3 channels, but the generators' images have 6" in refusal(tmp_path, tmp_path / "latest_net_D.pth")


def test_a_folder_of_both_methods(tmp_path: Path) -> None:
    assert "one file at a time" in refusal(save_all(tmp_path, **four(), G=generator()))


# The model folder.


def test_an_imported_folder_holds_what_the_contract_says(tmp_path: Path) -> None:
    nets = four()
    source = save_all(tmp_path / "ref", **nets)
    translate.import_weights(source, tmp_path / "new" / "model")
    folder = tmp_path / "new" / "model"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "discriminators.safetensors", "model.safetensors"
    ]  # fmt: skip
    for name, attributes in (("model", ("g_ab", "g_ba")), ("discriminators", ("d_b", "d_a"))):
        with safe_open(folder / f"{name}.safetensors", "pt") as file:
            assert file.metadata() == {"format": "pt"}
            keys = {f"{a}.{key}" for a in attributes for key in nets["G_A" if name == "model" else "D_A"].state_dict()}
            assert set(file.keys()) == keys
    assert {"g_ab.model.1.weight", "g_ba.model.10.conv_block.5.bias"} <= set(load_file(folder / "model.safetensors"))
    info = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hashes = {name: info["imported_from"].pop(f"latest_net_{name}.pth") for name in nets}
    assert len(set(hashes.values())) == 4
    assert info == {
        "format": 1,
        "method": "cyclegan",
        "version": translate.__version__,
        "networks": {
            "input_channels": 3, "output_channels": 3, "generator": "resnet_1blocks", "norm": "instance",
            "dropout": False, "g_width": 4, "norm_statistics": "sample", "discriminator": "basic", "d_width": 4,
            "d_layers": 3,
        },
        "directions": {"b": "g_ab", "a": "g_ba"},
        "size": {"multiple_of": 4, "minimum": 8},
        "domains": {"a": {"channels": 3, "range": [-1, 1]}, "b": {"channels": 3, "range": [-1, 1]}},
        "norm_statistics": "sample",
        "dropout": "off",
        "imported_from": {},
    }  # fmt: skip
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert all(word in card for word in ("latest_net_G_A.pth", "resnet_1blocks", "pytorch-CycleGAN-and-pix2pix"))


@pytest.mark.parametrize("asked", [{"dropout": "off"}, {"norm_statistics": "running"}, {"dropout": True}])
def test_the_folder_keeps_the_behaviour_that_was_asked_for(tmp_path: Path, asked: dict[str, Any]) -> None:
    path = save(tmp_path / "x.pth", generator("unet_64", "batch", True))
    translate.import_weights(path, tmp_path / "model", say=lambda line: None, **asked)
    said: list[str] = []
    kept, given = translate.load(tmp_path / "model", device="cpu", say=said.append), load(path, **asked)
    assert said == [], "what was assumed at the import is settled"
    assert replace(kept.info, imported_from={}) == replace(given.info, imported_from={})
    x = noise(size=64)
    assert torch.equal(kept(x), given(x))
    assert (torch.equal(kept(x), load(path)(x))) == (asked == {"dropout": True})


def test_a_failed_import_leaves_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", generator())
    for asked in ({"dropout": "on"}, {"norm_statistics": "batch"}, {"dropout": "perhaps"}):
        with pytest.raises(UsageError):
            translate.import_weights(path, tmp_path / "deep" / "model", **asked)
    assert list(tmp_path.iterdir()) == [path]


def test_a_discriminator_alone_is_a_model_to_train_on_but_not_to_convert_with(tmp_path: Path) -> None:
    for name, net, attribute in (
        ("latest_net_D_A.pth", discriminator(), "d_b"),
        ("latest_net_D_B.pth", discriminator("pixel"), "d_a"),
        ("latest_net_D.pth", discriminator("n_layers", "batch", 6, layers=1), "d"),
    ):
        translate.import_weights(save(tmp_path / name, net), tmp_path / attribute)
        model = find.read_model(tmp_path / attribute)
        assert (model.info.directions, model.generators()) == ({}, {})
        assert equal(part(model.discriminators, attribute), net.state_dict())
        for place in (tmp_path / name, tmp_path / attribute):
            with pytest.raises(ModelError, match="discriminators only"):
                load(place)


# Odd files, folders and calls.


def test_weights_in_another_memory_layout_are_imported(tmp_path):
    nets = {name: net.to(memory_format=torch.channels_last) for name, net in four().items()}
    translate.import_weights(save_all(tmp_path / "ref", **nets), tmp_path / "model")
    assert equal(part(find.read_model(tmp_path / "model").discriminators, "d_b"), nets["D_A"].state_dict())


def test_tensors_that_are_one_in_memory_are_imported(tmp_path):
    state, first = generator().state_dict(), {}
    tied = {key: first.setdefault(t.shape, t) for key, t in state.items()}
    translate.import_weights(save(tmp_path / "x.pth", tied), tmp_path / "model")
    assert equal(part(load_file(tmp_path / "model" / "model.safetensors"), "g_ab"), tied)


@pytest.mark.parametrize(
    "change", [{"dropout": None}, {"norm_statistics": None}, {"dropout": "maybe"}, {"norm_statistics": "foo"}]
)
def test_a_config_without_a_behaviour_is_refused(tmp_path, change):
    translate.import_weights(save(tmp_path / "x.pth", generator()), tmp_path / "model")
    info = json.loads((tmp_path / "model" / "config.json").read_text())
    info = {k: v for k, v in {**info, **change}.items() if v is not None}
    (tmp_path / "model" / "config.json").write_text(json.dumps(info))
    with pytest.raises(ModelError):
        load(tmp_path / "model")


def test_a_discriminator_s_name_says_whose_it_is(tmp_path):
    model = reference_pth.read_pth(save(tmp_path / "latest_net_D_A.pth", discriminator(norm="batch")))
    assert model.method.name == "cyclegan"


def test_a_linked_folder_can_be_replaced_twice(tmp_path):
    path = save(tmp_path / "x.pth", generator())
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for _ in range(2):
        translate.import_weights(path, tmp_path / "link", overwrite=True)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_folder_with_only_a_readme_is_no_model(tmp_path):
    path = save(tmp_path / "x.pth", generator())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("mine")
    with pytest.raises(UsageError):
        translate.import_weights(path, tmp_path / "notes", overwrite=True)
    assert (tmp_path / "notes" / "README.md").read_text() == "mine"


def test_the_current_folder_is_filled_or_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "x.pth", generator())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with contextlib.suppress(UsageError):
        translate.import_weights(path, ".")


def test_an_epoch_may_be_a_number(tmp_path):
    save_all(tmp_path / "ref", "5", G_A=generator(), G_B=generator(key=1))
    translate.import_weights(tmp_path / "ref", tmp_path / "model", epoch=5)
