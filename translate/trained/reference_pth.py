"""Reading and writing of `.pth` checkpoints of the reference implementation (pytorch-CycleGAN-and-pix2pix).

The reference keeps one file for each network, `<epoch>_net_<network>.pth`: a bare state dict. Our layers have the same names,
so only the architecture has to be detected, from the names and shapes.
"""

import argparse
import hashlib
import io
import pickle
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from translate import config
from translate.config import TrainConfig
from translate.errors import ModelError, UsageError
from translate.methods import METHODS
from translate.methods.configs import DISCRIMINATOR_SETTINGS, GENERATOR_SETTINGS
from translate.text import printable
from translate.trained.detect import Architecture, UnknownArchitecture, Weights
from translate.trained.folder import TrainedModel, build_method, check_weights, make_info
from translate.trained.wrapped import NetworkEntry, direction_of, find_networks, prefer_averaged

NETWORK_ATTRIBUTES = {"G": "g", "D": "d", "G_A": "g_ab", "G_B": "g_ba", "D_A": "d_b", "D_B": "d_a"}
"""Name of a network in the reference → attribute of our method. Its netD_A judges the results of netG_A: images of domain b."""

DEFAULT_GENERATORS = {
    "pix2pix": "unet_256",
    "cyclegan": "resnet_9blocks",
    "cut": "antialias_9blocks",
    "pix2pixhd": "pix2pixhd_global",
}
"""Method that a checkpoint may be of → its usual generator, for checkpoints that hold discriminators only."""

PAIR_METHODS = ("pix2pix", "pix2pixhd")
"""Methods whose discriminator sees an input image and an output image together."""

REFERENCE_GENERATORS = ("resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128")
"""Generators that the reference builds by name."""

FILE_NAME = re.compile(rf"(?P<epoch>.+)_net_(?P<network>{'|'.join(NETWORK_ATTRIBUTES)})\.pth")


@dataclass(frozen=True)
class NetworkFile:
    """One network of a checkpoint."""

    path: Path
    attribute: str
    weights: Weights
    architecture: Architecture
    sha256: str


def read_pth(path: Path) -> TrainedModel:
    """Read a file as a model: of one network, or of the two generators of a CycleGAN that one checkpoint holds.

    Blurs mean CUT, batch norm pix2pix, any other norm CycleGAN, whatever the file is called. Of a checkpoint that holds more
    than a bare state dict, the generator is taken, with its averaged weights if they are there. ModelError if the file is not a
    network of the reference, or holds several generators, or is a pickle with code.
    """
    entries, sha256 = _read(path)
    chosen, notices = _choose(path, entries)
    if len(chosen) > 1:
        parts = [NetworkFile(path, name, entry.weights, entry.architecture, sha256) for name, entry in chosen.items()]
        return _assemble(path, "cyclegan", parts, notices)
    (entry,) = chosen.values()
    found = entry.architecture
    method = _method_of(found)
    if found.kind == "generator":
        attribute = METHODS[method].generator_names["b"]
    else:  # a discriminator of pairs takes the channels of two images; which of CycleGAN's two it is, only the name can tell
        match = FILE_NAME.fullmatch(path.name)
        named = NETWORK_ATTRIBUTES[match["network"]] if match else ""
        alone = named in ("d_a", "d_b") or found.in_channels % 2 == 1
        method = "cyclegan" if alone and method == "pix2pix" else method
        attribute = "d_b" if method == "cyclegan" else "d"
        attribute = named if method == "cyclegan" and named in ("d_a", "d_b") else attribute
    return _assemble(path, method, [NetworkFile(path, attribute, entry.weights, found, sha256)], notices)


def _method_of(found: Architecture) -> str:
    """Return the method that trains such a network, by pix2pixHD's layers, CUT's blurs and the batch norm of pix2pix."""
    if found.name.startswith("pix2pixhd"):
        return "pix2pixhd"
    if found.name.startswith("antialias"):
        return "cut"
    return "pix2pix" if found.norm == "batch" else "cyclegan"


def _choose(path: Path, entries: list[NetworkEntry]) -> tuple[dict[str, NetworkEntry], list[str]]:
    """Return the networks of a file that make the model, by attribute, and a notice of what was chosen and assumed.

    A single network has the attribute "". ModelError if several would do.
    """
    if len(entries) == 1:
        (entry,) = entries
        return {"": entry}, [
            f"{path}: took the {entry.architecture.kind} in its entry {_named(entry)}"
        ] if entry.place else []
    generators = prefer_averaged([entry for entry in entries if entry.architecture.kind == "generator"])
    if len(generators) == 1:
        (entry,) = generators
        return {"": entry}, [f"{path}: took the generator in its entry {_named(entry)} of {len(entries)} networks"]
    directed = {name: entry for entry in generators if (name := direction_of(entry.name))}
    if len(generators) == len(directed) == 2:
        taken = ", ".join(f"{_named(directed[name])} for {to}" for name, to in (("g_ab", "a to b"), ("g_ba", "b to a")))
        return directed, [f"{path}: took {taken}, by their names as in the reference (netG_A translates a to b)"]
    names = ", ".join(_named(entry) for entry in (generators or entries))
    raise ModelError(
        f"{path}: holds several {'generators' if generators else 'discriminators'}, in its entries {names}; "
        f"save one of them alone, as a state dict in a file of its own"
    )


def _named(entry: NetworkEntry) -> str:
    return printable(entry.place)


def read_pth_folder(folder: Path, epoch: str | None = None) -> TrainedModel:
    """Read all networks of one epoch in a folder of the reference as one model.

    `epoch`: None is `latest`, else the last one. ModelError if there is no such epoch, or its networks are not of one model.
    """
    named = list_networks(folder)
    epochs = sorted({epoch for epoch, _ in named}, key=_age)
    if not epochs:
        raise ModelError(f"{folder}: no <epoch>_net_<network>.pth in it; networks are {', '.join(NETWORK_ATTRIBUTES)}")
    chosen = epoch or epochs[-1]
    if chosen not in epochs:
        raise ModelError(f"{folder}: no epoch {chosen!r} in it; there are {', '.join(epochs)}")
    paths = {network: path for (epoch, network), path in named.items() if epoch == chosen}
    if len(paths) == 1:
        ((network, path),) = paths.items()
        alone = read_pth(path)
        _check_kind(path, network, "generator" if alone.info.directions else "discriminator")
        return alone
    two_way = {"G_A", "G_B", "D_A", "D_B"} & paths.keys()
    if two_way and {"G", "D"} & paths.keys():
        raise ModelError(f"{folder}: holds networks of a pix2pix model and of a CycleGAN; import one file at a time")
    parts, notices = [], []
    for network, path in paths.items():
        entries, sha256 = _read(path)
        found, said = _choose(path, entries)
        if len(found) > 1:
            raise ModelError(f"{path}: holds two generators beside other files of a model; import it alone")
        (entry,) = found.values()
        _check_kind(path, network, entry.architecture.kind)
        parts.append(NetworkFile(path, NETWORK_ATTRIBUTES[network], entry.weights, entry.architecture, sha256))
        notices += said
    return _assemble(folder, "cyclegan" if two_way else _one_way_method(parts), parts, notices)


def _one_way_method(parts: list[NetworkFile]) -> str:
    """Return the method of a generator G with its discriminator D.

    CUT's discriminator sees the images of domain b alone, and pix2pix's pairs. CUT has instance norm, with or without blurs.
    """
    found = {part.architecture.kind: part.architecture for part in parts}
    generator, discriminator = found["generator"], found["discriminator"]
    if _method_of(generator) == "pix2pixhd":
        return "pix2pixhd"
    sees_b_alone = generator.norm == "instance" and discriminator.in_channels == generator.out_channels
    return "cut" if sees_b_alone or _method_of(generator) == "cut" else "pix2pix"


def _check_kind(path: Path, network: str, kind: str) -> None:
    """Raise ModelError where the kind of a network is not the one that the name of its file says."""
    if kind[0].upper() != network[0]:
        raise ModelError(f"{path}: holds a {kind}, but its name says otherwise")


def list_networks(folder: Path) -> dict[tuple[str, str], Path]:
    """Return (epoch, network) → file, for every file of the reference in the folder, but not in its subfolders."""
    matches = [(FILE_NAME.fullmatch(path.name), path) for path in sorted(folder.glob("*_net_*.pth"))]
    return {(match["epoch"], match["network"]): path for match, path in matches if match}


def _age(epoch: str) -> tuple[int, int, str]:
    """Return a sort key of epochs: iter_N by N, then epochs by number, then latest."""
    number = re.search(r"\d+", epoch)
    return (2 if epoch == "latest" else int(epoch.isdigit()), int(number[0]) if number else 0, epoch)


def _read(path: Path) -> tuple[list[NetworkEntry], str]:
    """Return the networks in a file, and the SHA-256 of the file."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ModelError(f"{path}: cannot be read: {e.strerror}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about odd pickles, which are refused or read in any case
            with torch.serialization.safe_globals([argparse.Namespace]):  # command-line options: names and values alone
                state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise ModelError(f"{path}: {_refusal(str(e))}") from None
    except Exception as e:  # torch raises errors of many classes for damaged files
        raise ModelError(f"{path}: not a file of weights, or a damaged one ({type(e).__name__})") from None
    if not isinstance(state, dict):
        raise ModelError(f"{path}: holds {type(state).__name__}, not weights by name")
    try:
        entries = find_networks(state)
    except UnknownArchitecture as e:
        raise ModelError(f"{path}: not a network of the reference: {e}") from None
    for entry in entries:
        check_weights(path, entry.weights)
    return entries, hashlib.sha256(data).hexdigest()


def _refusal(message: str) -> str:
    """Return the reason, in one line, why torch did not unpickle a file."""
    code = re.search(r"GLOBAL (\S+)", message)
    if code:
        return (
            f"refused: opening it would run code ({printable(code[1])}); only plain weights are read: "
            f"if you trust the file, save the state dict of its generator alone"
        )
    return "not a file of weights, or one that holds more than plain weights"


def _assemble(source: Path, name: str, parts: list[NetworkFile], notices: list[str]) -> TrainedModel:
    """Assemble a model of the method called `name`; the notices come first among those of the model.

    ModelError where the networks do not fit together, or no such method has them.
    """
    cls = METHODS[name]
    generators = [part for part in parts if part.architecture.kind == "generator"]
    discriminators = [part for part in parts if part.architecture.kind == "discriminator"]
    settings: dict[str, Any] = {}
    notices = list(notices)
    for part in (*generators, *discriminators):
        for key, value in _settings(part, name, alone=not generators).items():
            if settings.setdefault(key, value) != value:
                raise ModelError(f"{part.path}: its {key} is {value}, but that of another network is {settings[key]}")
    if generators and settings["dropout"] is None:
        settings["dropout"] = name == "pix2pix"
        notices.append(
            f"{source}: a U-Net's weights do not tell whether it has dropout; assumed "
            + ("on, as in pix2pix" if name == "pix2pix" else "off, as in CycleGAN")
            + " (--dropout on|off overrides)"
        )
    settings.setdefault("generator", DEFAULT_GENERATORS[name])
    try:
        method = cls.on_meta(config.resolve(cls.Config, (f"{source}", settings)))
    except UsageError as e:
        raise ModelError(f"{e}: {name} cannot have such networks") from None
    for part in discriminators:
        _check_channels(method.cfg, part, name)
    present = {part.attribute for part in generators}
    directions = {to: attribute for to, attribute in cls.generator_names.items() if attribute in present}
    known = (*GENERATOR_SETTINGS, *(DISCRIMINATOR_SETTINGS if discriminators else ()))
    info = make_info(method, directions, known, imported_from={part.path.name: part.sha256 for part in parts})
    method = build_method(source, info, _by_attribute(generators))
    return TrainedModel(
        source, method, info, _joint_sha256(generators or parts), _by_attribute(discriminators), notices
    )


def _settings(part: NetworkFile, method: str, alone: bool) -> dict[str, Any]:
    """Return the settings that follow from a network; of a discriminator the channels too, if there is no generator."""
    found = part.architecture
    if found.kind == "generator":
        channels = (found.in_channels, found.out_channels)
        a, b = reversed(channels) if part.attribute == "g_ba" else channels
        return {
            "generator": found.name, "g_width": found.width, "norm": found.norm, "dropout": found.dropout,
            "input_channels": a, "output_channels": b,
        }  # fmt: skip
    settings = {"discriminator": found.name, "d_width": found.width, "d_layers": found.layers, "norm": found.norm}
    if alone:
        sees_pairs = method in PAIR_METHODS
        a = max(found.in_channels // 2, 1) if sees_pairs else found.in_channels
        b = found.in_channels - a if sees_pairs else found.in_channels
        settings |= {"input_channels": a, "output_channels": b}
    return settings


def _check_channels(cfg: TrainConfig, part: NetworkFile, method: str) -> None:
    """Raise ModelError where a discriminator takes images of other channels than those of the generators."""
    a, b = cfg.input_channels, cfg.output_channels
    expected = {"d": a + b if method in PAIR_METHODS else b, "d_a": a, "d_b": b}[part.attribute]
    if part.architecture.in_channels != expected:
        raise ModelError(
            f"{part.path}: takes {part.architecture.in_channels} channels, but the generators' images have {expected}"
        )


def _by_attribute(parts: Iterable[NetworkFile]) -> Weights:
    """Return the weights of all networks by `<attribute>.<key>`, each in memory of its own."""
    return {
        f"{part.attribute}.{key}": tensor.detach().clone(memory_format=torch.contiguous_format)
        for part in parts
        for key, tensor in part.weights.items()
    }


def _joint_sha256(parts: list[NetworkFile]) -> str:
    """Return the SHA-256 of the only file, or of those of all files together."""
    if len(parts) == 1:
        return parts[0].sha256
    return hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()


def encode_pth(model: TrainedModel, to: str) -> bytes:
    """Return the generator to domain `to` as a file of the reference: a bare state dict under the reference's names."""
    weights = model.method.generator_for(to).state_dict()
    buffer = io.BytesIO()
    torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}, buffer)
    return buffer.getvalue()
