"""Checkpoints of the reference implementation: read, kept, written back, converted with and trained on."""

import contextlib
import copy
import json
import os
import pickle
import tomllib
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
from translate import images
from translate.errors import ModelError, UsageError
from translate.methods import METHODS
from translate.nn.blocks import BatchNorm2d
from translate.nn.init import normal_
from translate.nn.networks import DISCRIMINATORS, find
from translate.trained import reference_pth, translator
from translate.trained.translator import Translator
from translate.training import checkpoint

Draw = Callable[..., np.ndarray]
Weights = Mapping[str, Tensor]

NOTICE = "a U-Net's weights do not tell whether it has dropout"


def generator(
    name: str = "resnet_1blocks", norm: str = "instance", dropout: bool = False, channels: tuple[int, int] = (3, 3),
    *, width: int = 4, key: int = 0,
) -> nn.Module:  # fmt: skip
    """A generator with random weights; its batch norms have seen something."""
    network = find(name)
    assert network is not None
    return randomised(network(*channels, width, norm, dropout), key)


def discriminator(
    name: str = "basic", norm: str = "instance", channels: int = 3, *, layers: int = 3, width: int = 4, key: int = 0
) -> nn.Module:
    return randomised(DISCRIMINATORS[name](channels, width, norm, layers), key)


def randomised(net: nn.Module, key: int) -> nn.Module:
    draws = torch.Generator().manual_seed(key)
    normal_(net, key, gain=0.2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=draws)
            module.running_var.uniform_(0.5, 2, generator=draws)
            module.num_batches_tracked.fill_(7 + key)
    return net.eval()


def in_precision(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """With weights of this type; those of float64 are not also float32's."""
    net.to(dtype)
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.mul_(1 + 2**-40)
    return net


def save(path: Path, content: Any, **options: Any) -> Path:
    """What the reference keeps of a network: its bare state dict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content.state_dict() if isinstance(content, nn.Module) else content, path, **options)
    return path


def save_all(folder: Path, epoch: str = "latest", **networks: nn.Module) -> Path:
    for name, net in networks.items():
        save(folder / f"{epoch}_net_{name}.pth", net)
    return folder


def four(width: int = 4, name: str = "resnet_1blocks") -> dict[str, nn.Module]:
    """The networks of a CycleGAN, all different."""
    generators = {network: generator(name, width=width, key=key) for key, network in enumerate(("G_A", "G_B"))}
    return generators | {f"D_{side}": discriminator(key=key) for key, side in enumerate("AB", 2)}


def same(left: Weights, right: Weights) -> bool:
    """The same names in the same order, the same types and the same bits."""
    return list(left) == list(right) and all(
        left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]) for key in left
    )


def part(weights: Weights, attribute: str) -> dict[str, Tensor]:
    """The weights of one network, under the reference's names."""
    return {key.removeprefix(f"{attribute}."): t for key, t in weights.items() if key.startswith(f"{attribute}.")}


def equal(left: Weights, right: Weights) -> bool:
    """As `same`, in any order."""
    return left.keys() == right.keys() and same(left, {key: right[key] for key in left})


def load(path: Path, **options: Any) -> Translator:
    return translate.load(path, device="cpu", say=lambda line: None, **options)


def noise(count: int = 1, channels: int = 3, size: int = 32, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images that differ in brightness and contrast, so that their statistics do."""
    draws = torch.Generator().manual_seed(5)
    x = torch.rand(count, channels, size, size, generator=draws, dtype=torch.float64) * 2 - 1
    scale = torch.linspace(1, 0.2, count, dtype=torch.float64)[:, None, None, None]
    return (x * scale + (1 - scale) * 0.7).to(dtype)


def direct(net: nn.Module, x: Tensor, norm_statistics: str = "sample") -> Tensor:
    """What the network itself gives in evaluation, without keys: no dropout."""
    for module in net.modules():
        if isinstance(module, BatchNorm2d):
            module.norm_statistics = norm_statistics
    with torch.inference_mode():
        return net(x)


def refusal(path: Path, named: Path | str | None = None) -> str:
    """The one line that says why a file or folder is no model."""
    with pytest.raises(ModelError) as caught:
        translator.read_model(path)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert str(named or path) in str(caught.value)
    return str(caught.value)


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


# Files that are no weights.


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
    train(unpaired_root, tmp_path / "run", folder)
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
            assert translator.read_model(path).info.networks["generator"] == "resnet_1blocks"
        except ModelError as e:
            assert "\n" not in str(e)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({}, "no weights"),
        ([torch.zeros(3)], "list"),
        (torch.zeros(3), "Tensor"),
        ({"state_dict": generator().state_dict()}, "'state_dict'"),
        ({**generator().state_dict(), "epoch": 3}, "'epoch'"),
        ({"fc.weight": torch.zeros(3, 3)}, "'fc.weight'"),
        ({k: t for k, t in generator().state_dict().items() if k != "model.7.bias"}, "'model.7.bias'"),
        ({**generator().state_dict(), "model.7.gamma": torch.zeros(1)}, "'model.7.gamma'"),
        ({**generator().state_dict(), "model.7.bias": torch.zeros(99)}, "(99,)"),
    ],
    ids=["nothing", "list", "tensor", "nested", "number", "other", "missing", "too many", "shape"],
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


# There and back.


@pytest.mark.parametrize(
    ("name", "norm", "dropout", "channels", "dtype"),
    [
        ("resnet_2blocks", "instance", False, (3, 3), torch.float32),
        ("resnet_1blocks", "batch", True, (1, 3), torch.float64),
        ("resnet_1blocks", "none", True, (4, 2), torch.float16),
        ("unet_32", "batch", False, (3, 3), torch.bfloat16),
        ("unet_32", "batch", True, (3, 3), torch.float32),
        ("unet_64", "instance", True, (3, 1), torch.float64),
    ],
)
def test_import_after_export_is_the_identity(
    tmp_path: Path, name: str, norm: str, dropout: bool, channels: tuple[int, int], dtype: torch.dtype
) -> None:
    """Every tensor bit for bit, its type and its name; from the folder and from the file alike."""
    net = in_precision(generator(name, norm, dropout, channels), dtype)
    state = net.state_dict()
    first = save(tmp_path / "latest_net_G.pth", net)
    imported = translate.import_weights(first, tmp_path / "model", say=lambda line: None)
    for source, target in ((tmp_path / "model", "from_folder.pth"), (first, "from_file.pth")):
        assert translate.export(source, tmp_path / target, say=lambda line: None) == tmp_path / target
        written = torch.load(tmp_path / target, weights_only=True)
        assert type(written) is dict
        assert same(written, state)
    again = translate.import_weights(tmp_path / "from_folder.pth", tmp_path / "again", say=lambda line: None)
    assert same(again.generators(), imported.generators())
    kept = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("model", "again")]
    assert kept[0] == kept[1], "equal weights are equal bytes"


def test_discriminators_are_kept_bit_for_bit(tmp_path: Path) -> None:
    nets = {"D_A": discriminator("n_layers", layers=2), "D_B": discriminator("n_layers", layers=2, key=1)}
    save_all(tmp_path / "ref", **{name: in_precision(net, torch.float64) for name, net in nets.items()})
    translate.import_weights(tmp_path / "ref", tmp_path / "model")
    kept = translator.read_model(tmp_path / "model").discriminators
    assert equal(part(kept, "d_b"), nets["D_A"].state_dict())
    assert equal(part(kept, "d_a"), nets["D_B"].state_dict())


def test_a_trained_model_is_exported_in_both_directions(tmp_path: Path, cyclegan_folder: Path) -> None:
    kept = load_file(cyclegan_folder / "model.safetensors")
    for to, attribute in (("b", "g_ab"), ("a", "g_ba")):
        said: list[str] = []
        path = translate.export(cyclegan_folder, tmp_path / to / "latest_net_G.pth", to=to, say=said.append)
        assert equal(torch.load(path, weights_only=True), part(kept, attribute))
        assert torch.equal(load(path)(noise()), load(cyclegan_folder)(noise(), to=to))
        assert ["resnet_3blocks" in line and "resnet_9blocks" in line for line in said] == [True]
    with pytest.raises(UsageError, match="--to c"):
        translate.export(cyclegan_folder, tmp_path / "c.pth", to="c")


def test_the_two_exports_are_one_model_again(tmp_path: Path, cyclegan_folder: Path) -> None:
    for to, name in (("b", "G_A"), ("a", "G_B")):
        translate.export(cyclegan_folder, tmp_path / "ref" / f"latest_net_{name}.pth", to=to, say=lambda line: None)
    model = translate.import_weights(tmp_path / "ref", tmp_path / "model")
    assert same(model.generators(), translator.read_model(cyclegan_folder).generators())


def test_what_the_reference_builds_by_name_is_exported_without_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    path = save(tmp_path / "x.pth", generator("resnet_6blocks", width=1))
    translate.export(path, tmp_path / "y.pth", say=said.append)
    assert said == []


class Theirs(nn.Module):
    """ResNet of three blocks with instance norm, in torch's own layers: the names of the reference follow from the order."""

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv_block = nn.Sequential(
                nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
                nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv_block(x)

    def __init__(self, w: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7), nn.InstanceNorm2d(w), nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, 2, 1), nn.InstanceNorm2d(2 * w), nn.ReLU(),
            nn.Conv2d(2 * w, 4 * w, 3, 2, 1), nn.InstanceNorm2d(4 * w), nn.ReLU(),
            *[self.Block(4 * w) for _ in range(3)],
            nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(2 * w), nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(w), nn.ReLU(),
            nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def test_what_is_exported_fills_another_implementation(tmp_path: Path, cyclegan_folder: Path) -> None:
    path = translate.export(cyclegan_folder, tmp_path / "latest_net_G_A.pth", say=lambda line: None)
    theirs = Theirs(4)
    theirs.load_state_dict(torch.load(path, weights_only=True), strict=True)
    with torch.no_grad():
        expected = theirs(noise())
    torch.testing.assert_close(load(cyclegan_folder)(noise()), expected, rtol=0, atol=1e-5)
    path = save(tmp_path / "latest_net_G_B.pth", randomised(theirs, 9))
    with torch.no_grad():
        torch.testing.assert_close(load(path)(noise()), theirs(noise()), rtol=0, atol=1e-5)


RESNET_CONVS = ["1", "4", "7", "10.conv_block.1", "11.conv_block.1", "12.conv_block.1", "13", "16", "20"]
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
INNER = "model.model.1.model"
KEYS = {
    ("resnet_3blocks", "instance", False): [
        f"model.{place}.{kind}"
        for place in (*RESNET_CONVS, "10.conv_block.5", "11.conv_block.5", "12.conv_block.5")
        for kind in ("weight", "bias")
    ],
    ("resnet_3blocks", "batch", True): [
        *(f"model.{place}.weight" for place in RESNET_CONVS),
        "model.20.bias",
        *(f"model.{block}.conv_block.6.weight" for block in (10, 11, 12)),
        *(f"model.{place}.{kind}" for place in (2, 5, 8, 14, 17) for kind in BATCH_NORM),
        *(f"model.{block}.conv_block.{n}.{kind}" for block in (10, 11, 12) for n in (2, 7) for kind in BATCH_NORM),
    ],
    ("unet_16", "batch", True): [
        "model.model.0.weight", "model.model.3.weight", "model.model.3.bias",
        *(f"{INNER}{level}.{n}.weight" for level in ("", ".3.model") for n in (1, 5)),
        *(f"{INNER}{level}.{n}.{kind}" for level in ("", ".3.model") for n in (2, 6) for kind in BATCH_NORM),
        *(f"{INNER}.3.model.3.model.{n}.weight" for n in (1, 3)),
        *(f"{INNER}.3.model.3.model.4.{kind}" for kind in BATCH_NORM),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "norm", "dropout"), KEYS)
def test_exported_names_are_the_reference_s(tmp_path: Path, name: str, norm: str, dropout: bool) -> None:
    path = save(tmp_path / "x.pth", generator(name, norm, dropout, width=2))
    translate.export(path, tmp_path / "y.pth", say=lambda line: None)
    assert sorted(torch.load(tmp_path / "y.pth", weights_only=True)) == sorted(KEYS[name, norm, dropout])


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
        model = translator.read_model(tmp_path / attribute)
        assert (model.info.directions, model.generators()) == ({}, {})
        assert equal(part(model.discriminators, attribute), net.state_dict())
        for place in (tmp_path / name, tmp_path / attribute):
            with pytest.raises(ModelError, match="discriminators only"):
                load(place)


# Conversion.


@pytest.mark.parametrize(
    ("name", "norm", "dropout"),
    [("resnet_2blocks", "instance", False), ("resnet_1blocks", "batch", True), ("unet_32", "batch", True),
     ("unet_64", "instance", True)],
)  # fmt: skip
def test_the_file_the_folder_and_the_network_give_the_same_pixels(
    tmp_path: Path, draw: Draw, name: str, norm: str, dropout: bool
) -> None:
    net = generator(name, norm, dropout)
    path = save(tmp_path / "latest_net_G.pth", net)
    translate.import_weights(path, tmp_path / "model", say=lambda line: None)
    pixels = draw(3, 64, 64)
    picture = Image.fromarray(pixels)
    results = [np.asarray(load(place)(picture)) for place in (path, tmp_path / "model", tmp_path)]
    assert all(np.array_equal(result, results[0]) for result in results)
    x = images.to_tensor(pixels)[None]
    assert torch.equal(load(path, dropout="off")(x, pixels="reference"), direct(net, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_weights_of_other_precisions_are_computed_with_as_asked(tmp_path: Path, dtype: torch.dtype) -> None:
    net = in_precision(generator("resnet_1blocks", "batch"), dtype)
    path = save(tmp_path / "x.pth", net)
    translate.import_weights(path, tmp_path / "model")
    for place in (path, tmp_path / "model"):
        assert torch.equal(load(place)(noise(), pixels="reference"), direct(copy.deepcopy(net).float(), noise()))
        exact = load(place, precision="fp64")(noise(dtype=torch.float64), pixels="reference")
        assert torch.equal(exact, direct(copy.deepcopy(net).double(), noise(dtype=torch.float64)))


@pytest.mark.parametrize(
    ("name", "norm", "usual"),
    [("resnet_1blocks", "instance", "on"), ("unet_64", "batch", "on"), ("unet_64", "instance", "off")],
)
def test_dropout_off_is_the_network_alone_and_on_is_the_same_noise_each_time(
    tmp_path: Path, name: str, norm: str, usual: str
) -> None:
    net = generator(name, norm, True)
    path = save(tmp_path / "x.pth", net)
    x = noise(size=64)
    off, on = load(path, dropout="off"), load(path, dropout="on")
    assert torch.equal(off(x, pixels="reference"), direct(net, x))
    assert torch.equal(off(x, seed=3), off(x))
    assert torch.equal(on(x), on(x))
    assert not torch.equal(on(x), off(x))
    assert not torch.equal(on(x, seed=1), on(x))
    assert torch.equal(load(path)(x), (on if usual == "on" else off)(x))
    for value, same_as in ((True, on), (False, off)):
        assert torch.equal(load(path, dropout=value)(x), same_as(x))


def test_what_a_model_folder_says_can_be_overridden_both_ways(tmp_path: Path, pix2pix_folder: Path) -> None:
    x = noise(size=64)
    on, off = load(pix2pix_folder), load(pix2pix_folder, dropout="off")
    assert torch.equal(off(x, pixels="reference"), direct(load(pix2pix_folder).method.get_submodule("g"), x))
    assert not torch.equal(off(x), on(x))
    path = save(tmp_path / "x.pth", generator("unet_64", "batch", True))
    translate.import_weights(path, tmp_path / "model", dropout="off", norm_statistics="running")
    again = load(tmp_path / "model", dropout="on", norm_statistics="sample")
    assert torch.equal(again(x), load(path)(x))
    assert not torch.equal(again(x), load(tmp_path / "model")(x))


def test_norm_statistics_are_each_image_s_own_or_those_of_training(tmp_path: Path) -> None:
    net = generator("unet_32", "batch")
    path = save(tmp_path / "x.pth", net)
    x = noise()
    for statistics in ("sample", "running"):
        model = load(path, dropout="off", norm_statistics=statistics)
        assert model.info.norm_statistics == statistics
        assert torch.equal(model(x, pixels="reference"), direct(net, x, statistics))
    assert not torch.equal(direct(net, x, "sample"), direct(net, x, "running"))
    assert torch.equal(load(path, dropout="off")(x, pixels="reference"), direct(net, x, "sample"))
    with pytest.raises(UsageError, match="sample, running"):
        load(path, norm_statistics="batch")


@pytest.mark.parametrize("statistics", ["sample", "running"])
@pytest.mark.parametrize(("name", "dropout"), [("resnet_1blocks", False), ("resnet_1blocks", True), ("unet_64", True)])
def test_a_batch_is_its_images_one_by_one_with_batch_norm(
    tmp_path: Path, name: str, dropout: bool, statistics: str
) -> None:
    """Bit for bit in float64; in float32 a convolution's own rounding may depend on the batch."""
    path = save(tmp_path / "x.pth", generator(name, "batch", dropout))
    for precision, tolerance in (("fp64", 0), ("fp32", 2e-4)):
        model = load(path, norm_statistics=statistics, precision=precision)
        x = noise(3, size=64, dtype=model.precision.weights)
        singles = torch.cat([model(image[None]) for image in x])
        torch.testing.assert_close(model(x), singles, rtol=0, atol=tolerance)
        assert not torch.equal(singles[0], singles[1])


def test_pixels_are_rounded_or_cut_off_as_the_reference_does(tmp_path: Path, draw: Draw) -> None:
    path = save(tmp_path / "x.pth", generator("resnet_2blocks"))
    model = load(path)
    source = Image.fromarray(draw(8, 40, 36))
    y = model(images.to_tensor(np.asarray(source))[None])[0].permute(1, 2, 0).numpy()
    cut = ((y + 1) / 2.0 * 255.0).astype(np.uint8)
    rounded = np.rint((y.astype(np.float64) + 1) * 127.5).astype(np.uint8)
    assert np.array_equal(np.asarray(model(source, pixels="reference")), cut)
    assert np.array_equal(np.asarray(model(source)), rounded)
    assert (rounded.astype(int) - cut).mean() == pytest.approx(0.5, abs=0.05)
    source.save(tmp_path / "photo.png")
    for pixels, expected in (("reference", cut), ("rounded", rounded)):
        translate.convert(model, tmp_path / "photo.png", tmp_path / pixels, pixels=pixels)
        translate.convert(model, tmp_path / "photo.png", tmp_path / f"{pixels}.png", pixels=pixels)
        for made in (tmp_path / pixels / "photo.png", tmp_path / f"{pixels}.png"):
            with Image.open(made) as image:
                assert np.array_equal(np.asarray(image), expected)
    with pytest.raises(UsageError, match="rounded, reference"):
        model(source, pixels="floor")
    with pytest.raises(UsageError, match="rounded, reference"):
        translate.convert(model, tmp_path / "photo.png", tmp_path / "x", pixels="floor")


def test_cutting_off_is_numpys_for_every_level_and_its_neighbours() -> None:
    levels = np.arange(256, dtype=np.float32) / np.float32(255) * 2 - 1
    near = [np.nextafter(levels, np.float32(side), dtype=np.float32).clip(-1, 1) for side in (-2, 2)]
    for x in (levels, *near, np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)):
        expected = ((x + 1) / 2.0 * 255.0).astype(np.uint8)
        assert np.array_equal(images.quantize(torch.from_numpy(x), truncate=True).numpy(), expected)


def settings_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.jsonl").read_bytes().splitlines()[-1])["settings"]


def test_the_manifest_records_what_decides_the_pixels_and_a_change_makes_them_anew(tmp_path: Path, draw: Draw) -> None:
    path = save(tmp_path / "x.pth", generator("unet_64", "batch", True))
    (tmp_path / "in").mkdir()
    Image.fromarray(draw(1, 20, 20)).save(tmp_path / "in" / "photo.png")

    def convert(**options: Any) -> tuple[int, int]:
        result = translate.convert(
            path, tmp_path / "in", tmp_path / "out", device="cpu", say=lambda line: None, **options
        )
        return result.done, result.skipped

    assert convert() == (1, 0)
    known = {"dropout": "on", "norm_statistics": "sample", "pixels": "rounded", "precision": "fp32"}
    assert known.items() <= settings_of(tmp_path / "out").items()
    assert convert() == (0, 1)
    seen = {(tmp_path / "out" / "photo.png").read_bytes()}
    for change in ({"dropout": "off"}, {"norm_statistics": "running"}, {"pixels": "reference"}, {"precision": "fp64"}):
        assert convert(**change) == (1, 0), change
        assert convert(**change) == (0, 1), change
        assert settings_of(tmp_path / "out") == {**settings_of(tmp_path / "out"), **known, **change}
        seen.add((tmp_path / "out" / "photo.png").read_bytes())
    assert len(seen) >= 4
    assert convert(dropout="on") == (1, 0)
    assert convert() == (0, 1), "what is asked for is what the model does anyway"


def test_channels_that_pictures_do_not_have_are_for_tensors_and_arrays(tmp_path: Path, draw: Draw) -> None:
    model = load(save(tmp_path / "x.pth", generator(channels=(4, 2))))
    assert model(noise(2, channels=4)).shape == (2, 2, 32, 32)
    np.save(tmp_path / "four.npy", draw(channels=4))
    assert translate.convert(model, tmp_path / "four.npy", tmp_path / "out").failures == {}
    assert np.load(tmp_path / "out" / "four.npy").shape == (*draw().shape[:2], 2)
    failures = translate.convert(model, tmp_path / "four.npy", tmp_path / "png", format="png").failures
    assert failures == {"four.npy": "png holds 1 or 3 channels, not 2; use --format tiff or npy"}
    Image.fromarray(draw()).save(tmp_path / "photo.png")
    failures = translate.convert(model, tmp_path / "photo.png", tmp_path / "out").failures
    assert failures == {"photo.png": "has 3 channels, but 4 are wanted"}
    with pytest.raises(UsageError, match="1 or 3 channels"):
        model(Image.fromarray(draw()))
    with pytest.raises(UsageError, match=r"\(N, 4, H, W\)"):
        model(noise())


# Training goes on from it.


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
    assert "resuming after 2 images" in said[0]
    assert not any("starting from" in line for line in said)
    assert not torch.equal(state_of(tmp_path / "run")["g_ab.model.1.weight"], trained["g_ab.model.1.weight"])


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


# Odd files, folders and calls.


def test_training_in_double_precision_starts_from_the_very_weights(tmp_path, unpaired_root):
    nets = {name: in_precision(net, torch.float64) for name, net in four().items()}
    train(unpaired_root, tmp_path / "run", save_all(tmp_path / "ref", **nets), precision="fp64")
    state = state_of(tmp_path / "run")
    for attribute, name in {"g_ab": "G_A", "g_ba": "G_B", "d_b": "D_A", "d_a": "D_B"}.items():
        assert equal(part(state, attribute), nets[name].state_dict()), attribute


def test_weights_in_another_memory_layout_are_imported(tmp_path):
    nets = {name: net.to(memory_format=torch.channels_last) for name, net in four().items()}
    translate.import_weights(save_all(tmp_path / "ref", **nets), tmp_path / "model")
    assert equal(part(translator.read_model(tmp_path / "model").discriminators, "d_b"), nets["D_A"].state_dict())


def test_tensors_that_are_one_in_memory_are_imported(tmp_path):
    state, first = generator().state_dict(), {}
    tied = {key: first.setdefault(t.shape, t) for key, t in state.items()}
    translate.import_weights(save(tmp_path / "x.pth", tied), tmp_path / "model")
    assert equal(part(load_file(tmp_path / "model" / "model.safetensors"), "g_ab"), tied)


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


def test_a_config_file_may_name_the_model_with_a_hyphen(tmp_path, unpaired_root):
    start = save_all(tmp_path / "ref", **four())
    (tmp_path / "c.toml").write_text(f'init-from = "{start}"\nimages = 1\ncrop-size = 32\n')
    translate.train(
        "cyclegan", unpaired_root, run=tmp_path / "run", config=tmp_path / "c.toml", device="cpu", say=lambda line: None
    )


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


def test_a_key_twice_is_refused(tmp_path):
    state = generator().state_dict()
    refusal(save(tmp_path / "x.pth", {**state, **{f"module.{k}": t + 1 for k, t in state.items()}}))


def test_a_lone_file_whose_name_denies_its_content(tmp_path):
    refusal(save_all(tmp_path, D_A=generator()))


def test_a_loaded_model_is_not_asked_for_another_behaviour(tmp_path, draw):
    Image.fromarray(draw()).save(tmp_path / "photo.png")
    model = load(save(tmp_path / "x.pth", generator(dropout=True)))
    with pytest.raises(UsageError):
        translate.convert(model, tmp_path / "photo.png", tmp_path / "y.png", dropout="off")


def test_nothing_but_the_error_is_said(tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps(dict(generator().state_dict()), 4))
    assert "UserWarning" not in refusal(tmp_path / "x.pth")


def test_complex_numbers_are_no_weights(tmp_path):
    refusal(save(tmp_path / "x.pth", {k: t.to(torch.complex64) for k, t in generator().state_dict().items()}))
