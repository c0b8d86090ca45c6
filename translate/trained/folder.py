"""A trained model at rest: the model folder, and whatever else MODEL may name.

A model folder holds `model.safetensors` (the generators that conversion needs), `config.json` (all that is needed to build
them) and `README.md` (the card): the layout of the Hugging Face hub. A folder that was imported with its discriminators has
them in `discriminators.safetensors`, for training to go on from.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_weights
from safetensors.torch import save
from torch import Tensor

from translate import config
from translate.errors import ModelError, UsageError
from translate.methods import METHODS, Method
from translate.trained.detect import Weights
from translate.version import __version__

REQUIRED_SETTINGS = ("generator", "norm", "dropout", "g_width", "norm_statistics")
"""Settings without which the networks of a translator would be guessed."""

MODEL_FILES = ("model.safetensors", "discriminators.safetensors", "config.json", "README.md")
"""All that a model folder may hold."""


@dataclass
class TrainedModel:
    """What MODEL names, read and checked."""

    source: Path
    method: Method
    """Its generators hold the weights; its other networks are shapes only."""
    info: dict[str, Any]
    """The content of `config.json`."""
    sha256: str
    """Of the weights as they are kept."""
    discriminators: Weights = field(default_factory=dict)
    """Weights by `<attribute>.<key>`; empty unless the model was imported with them."""
    notices: list[str] = field(default_factory=list)
    """What could not be known and was assumed, one line each."""

    def generators(self) -> Weights:
        """Weights by `<attribute>.<key>` of every generator that conversion needs."""
        return collect_weights(self.method, exported_networks(self.info, self.method))

    def with_inference_settings(
        self, dropout: bool | None = None, norm_statistics: str | None = None
    ) -> "TrainedModel":
        """The model with another behaviour in conversion; None leaves it as it is. UsageError if it cannot."""
        if dropout is None and norm_statistics is None:
            return self
        networks, info = dict(self.info["networks"]), dict(self.info)
        if dropout is not None:
            if dropout and not networks["dropout"] and not networks["generator"].startswith("unet_"):
                raise UsageError(f"--dropout on: {self.source} was trained without dropout: its networks have none")
            networks["dropout"] = networks["dropout"] or dropout
            info["dropout"] = "on" if dropout else "off"
        if norm_statistics is not None:
            if norm_statistics not in ("sample", "running"):
                raise UsageError(f"--norm-statistics {norm_statistics}: unknown; possible: sample, running")
            info["norm_statistics"] = networks["norm_statistics"] = norm_statistics
        info["networks"] = networks
        method = build_method(self.source, info, self.generators())
        return replace(self, method=method, info=info, notices=self.notices if dropout is None else [])


def exported_networks(info: Mapping[str, Any], method: Method) -> tuple[str, ...]:
    """Attributes of the networks that a model folder holds, each once."""
    return tuple(dict.fromkeys((*info["directions"].values(), *method.sampling_networks)))


def collect_weights(method: Method, networks: Iterable[str]) -> Weights:
    """Weights of the named networks by `<attribute>.<key>`, on the CPU."""
    return {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name in networks
        for key, tensor in method.get_submodule(name).state_dict().items()
    }


def build_method(source: Path, info: dict[str, Any], weights: Mapping[str, Tensor]) -> Method:
    """The method that `info` describes, its generators with the weights. ModelError if they do not fit together."""
    try:
        cls = METHODS[info["method"]]
        method = cls.on_meta(config.resolve(cls.Config, (f"{source}", info["networks"])))
        _check_info(info, method)
        for attribute in exported_networks(info, method):
            own = {k.removeprefix(f"{attribute}."): v for k, v in weights.items() if k.startswith(f"{attribute}.")}
            method.get_submodule(attribute).load_state_dict(own, assign=True)
        if len(info["directions"]) < len(method.generator_names):  # some were not imported
            method.generator_names = info["directions"]
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, UsageError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ModelError(f"{source}: its description and its weights do not fit together: {reason}") from None
    return method


def make_info(method: Method, directions: Mapping[str, str], known: Iterable[str], **origin: Any) -> dict[str, Any]:
    """The content of `config.json`; `known` are the settings that the networks were built with."""
    cfg = method.cfg
    return {
        "format": 1,
        "method": method.name,
        "version": __version__,
        "networks": {name: getattr(cfg, name) for name in known if getattr(cfg, name) is not None},
        "directions": dict(directions),
        "size": method.size_rule,
        "domains": _domains(method),
        "norm_statistics": getattr(cfg, "norm_statistics", "running"),
        "dropout": "on" if getattr(cfg, "dropout", False) else "off",
        **origin,
    }


def _check_info(info: dict[str, Any], method: Method) -> None:
    """ValueError where the fields that conversion relies on are not what the method's networks say."""
    if missing := set(REQUIRED_SETTINGS) & set(method.network_settings) - info["networks"].keys():
        raise ValueError(f"networks lacks {min(missing)}")
    for name, possible in (("dropout", ("on", "off")), ("norm_statistics", ("sample", "running"))):
        if info[name] not in possible:
            raise ValueError(f"{name} is {info[name]!r}, but must be {' or '.join(possible)}")
    if not info["directions"].items() <= method.generator_names.items():
        raise ValueError(f"directions are {info['directions']}, but {method.name} has {dict(method.generator_names)}")
    if info["size"] != method.size_rule:
        raise ValueError(f"size is {info['size']}, but its generator's is {method.size_rule}")
    if info["domains"] != _domains(method):
        raise ValueError(f"domains are {info['domains']}, but its networks' are {_domains(method)}")


def _domains(method: Method) -> dict[str, Any]:
    domains: dict[str, Any] = {}
    for name, domain in method.domains.items():
        domains[name] = {"channels": domain.channels, "range": [-1, 1]}
        if domain.range is not None:
            domains[name]["values"] = list(config.parse_range(domain.range))
    return domains


# Writing.


def write_trained_model(folder: Path, method: Method, *, title: str, seen: int) -> None:
    """Fills an empty folder with the generators of a training, what is needed to build them, and a card."""
    cfg = method.cfg
    origin = {"data": title, "images": seen, "crop_size": cfg.crop_size, "load_size": cfg.load_size}
    info = make_info(method, method.generator_names, method.network_settings, trained_on=origin)
    write_model_folder(folder, info, collect_weights(method, exported_networks(info, method)))


def write_model_copy(folder: Path, model: TrainedModel, dtype: torch.dtype | None = None) -> None:
    """Fills an empty folder with a model, its floating-point weights as `dtype`; None: as they are."""

    def stored(weights: Weights) -> Weights:
        return {key: x.to(dtype) if dtype and x.is_floating_point() else x for key, x in weights.items()}

    write_model_folder(folder, model.info, stored(model.generators()), stored(model.discriminators))


def write_model_folder(
    folder: Path, info: dict[str, Any], generators: Weights, discriminators: Weights | None = None
) -> None:
    """Fills an empty folder."""
    (folder / "model.safetensors").write_bytes(save(generators, metadata={"format": "pt"}))
    if discriminators:
        (folder / "discriminators.safetensors").write_bytes(save(discriminators, metadata={"format": "pt"}))
    (folder / "config.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(info), encoding="utf-8")


def _card(info: dict[str, Any]) -> str:
    if "trained_on" in info:
        trained = info["trained_on"]
        title = f"{info['method']} on {trained['data']}"
        origin = f"trained on {trained['images']} images at {trained['crop_size']} px with image-translate"
    else:
        title = ", ".join(info["imported_from"])
        origin = "imported from a checkpoint of pytorch-CycleGAN-and-pix2pix by image-translate"
    does, command = _work(info)
    return f"""---
library_name: image-translate
pipeline_tag: {"image-to-image" if info["directions"] else "unconditional-image-generation"}
tags: [{info["method"]}, {"image-to-image" if info["directions"] else "image-generation"}]
---

# {title}

{does}; {origin} {info["version"]}.

    {command}
"""


def _work(info: dict[str, Any]) -> tuple[str, str]:
    """What a model does, and the command that has it done."""
    networks = info["networks"]
    if not info["directions"]:
        size = info["size"]["minimum"]
        return f"Makes images of {size}×{size} pixels from noise", "translate sample THIS_FOLDER out/ --count 100"
    targets = " and ".join(info["directions"])
    does = f"{networks['generator']} of width {networks['g_width']}, translates to domain {targets}"
    return does, "translate convert THIS_FOLDER photos/ out/"


# Reading.


def read_model_folder(folder: Path) -> TrainedModel:
    """The model in a model folder; ModelError if it is damaged."""
    try:
        info = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        data = (folder / "model.safetensors").read_bytes()
        weights = load_weights(data)
        extra = folder / "discriminators.safetensors"
        discriminators = load_weights(extra.read_bytes()) if extra.exists() else {}
    except (OSError, ValueError, RecursionError, SafetensorError) as e:
        raise ModelError(f"{folder}: not a usable model: {' '.join(str(e).split())}") from None
    method = build_method(folder, info, weights)
    return TrainedModel(folder, method, info, hashlib.sha256(data).hexdigest(), discriminators)


def find_model_folder(path: Path) -> Path | None:
    """The model folder that a run folder or model folder holds."""
    return next((place for place in (path / "model", path / ".model-old", path) if is_model_folder(place)), None)


def is_model_folder(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()
