"""A model folder: a trained model on disk.

It holds `model.safetensors` (the generators that conversion needs), `config.json` (all that is needed to build them) and
`README.md` (the model card): the layout of the Hugging Face hub. A folder that was imported with its discriminators has them
in `discriminators.safetensors`, for training to start from.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_weights
from safetensors.torch import save
from torch import Tensor

from translate import config, images
from translate.config import TrainConfig
from translate.errors import ModelError, UsageError
from translate.methods import Method, find_recorded
from translate.methods.configs import STORED_WHEN_ON
from translate.run_folder import METRICS_FILE, model_folders, read_config, run_of_model
from translate.text import one_line, printable
from translate.trained.description import DTYPES
from translate.trained.detect import Weights
from translate.trained.model_card import NO_FACTS, SAMPLE_IMAGE, CardFacts, collect_facts, make_card
from translate.trained.model_info import DomainInfo, ModelInfo, TrainingInfo
from translate.version import __version__

REQUIRED_SETTINGS = ("generator", "norm", "dropout", "g_width", "norm_statistics")
"""Settings without which the networks of a translator would be guessed."""

MODEL_FILES = (
    "model.safetensors", "discriminators.safetensors", "config.json", "README.md", SAMPLE_IMAGE, METRICS_FILE,
)  # fmt: skip
"""All files that a model folder may hold."""


@dataclass
class TrainedModel:
    """A trained model, read and checked."""

    source: Path
    """Model folder or checkpoint of the reference that it was read from."""
    method: Method
    """Its generators hold the weights; its other networks are shapes only."""
    info: ModelInfo
    sha256: str
    """SHA-256 of the weights as they are stored."""
    discriminators: Weights = field(default_factory=dict)
    """Weights by `<attribute>.<key>`; empty unless the model was imported with them."""
    notices: list[str] = field(default_factory=list)
    """Facts that a user should know, such as what was assumed, one line each."""
    origin: str = ""
    """Place on a hub, with the revision, that it was downloaded from; empty for models of this machine."""

    @property
    def samples_from_noise(self) -> bool:
        """True if the model generates images from noise, and translates none."""
        return not self.info.directions and bool(self.method.sampling_networks)

    def generators(self) -> Weights:
        """Return the weights of every generator that conversion needs, by `<attribute>.<key>`."""
        return collect_weights(self.method, exported_networks(self.info, self.method))

    def with_direction(self, to: str) -> "TrainedModel":
        """Return the model with the generator to one target domain alone.

        UsageError, naming the possible ones, if it has none.
        """
        if to not in self.info.directions:
            possible = " and ".join(self.info.directions) or "no domain: it holds discriminators only"
            raise UsageError(f"--to {to}: {self.source} translates to {possible}")
        if len(set(self.info.directions.values())) == 1:
            return self
        info = replace(self.info, directions={to: self.info.directions[to]})
        method = build_method(self.source, info, self.generators())
        return replace(self, method=method, info=info, discriminators={})

    def with_inference_settings(
        self, dropout: bool | None = None, norm_statistics: str | None = None
    ) -> "TrainedModel":
        """Return the model with other settings in conversion; None leaves a setting as it is.

        UsageError where the value is unknown or the networks have no dropout.
        """
        if dropout is None and norm_statistics is None:
            return self
        networks, info = dict(self.info.networks), self.info
        if dropout is not None:
            if dropout and not networks["dropout"] and not info.generator_name.startswith("unet_"):
                raise UsageError(f"--dropout on: {self.source} was trained without dropout, so its networks have none")
            networks["dropout"] = networks["dropout"] or dropout
            info = replace(info, dropout="on" if dropout else "off")
        if norm_statistics is not None:
            if norm_statistics not in ("sample", "running"):
                raise UsageError(f"--norm-statistics {norm_statistics}: unknown; possible: sample, running")
            networks["norm_statistics"] = norm_statistics
            info = replace(info, norm_statistics=norm_statistics)
        info = replace(info, networks=networks)
        method = build_method(self.source, info, self.generators())
        notices = [line for line in self.notices if dropout is None or "--dropout" not in line]
        return replace(self, method=method, info=info, notices=notices)


def exported_networks(info: ModelInfo, method: Method) -> tuple[str, ...]:
    """Return the attributes of the networks that a model folder holds, each once."""
    return tuple(dict.fromkeys((*info.directions.values(), *method.style_networks, *method.sampling_networks)))


def collect_weights(method: Method, networks: Iterable[str]) -> Weights:
    """Return the weights of the named networks by `<attribute>.<key>`, on the CPU."""
    return {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name in networks
        for key, tensor in method.get_submodule(name).state_dict().items()
    }


def build_method(source: Path, info: ModelInfo, weights: Mapping[str, Tensor]) -> Method:
    """Build the method that `info` describes, with the weights in its generators.

    ModelError, which names `source`, where description and weights do not fit together.
    """
    cls = find_recorded(source, info.method, info.networks)
    try:
        method = cls.on_meta(config.resolve(cls.Config, (f"{source}", info.networks)))
        check_info(info, method)
        for attribute in exported_networks(info, method):
            own = {k.removeprefix(f"{attribute}."): v for k, v in weights.items() if k.startswith(f"{attribute}.")}
            method.get_submodule(attribute).load_state_dict(own, assign=True)
        if len(info.directions) < len(method.generator_names):  # some were not imported
            method.generator_names = info.directions
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, UsageError) as e:
        reason = (
            " ".join(str(e).splitlines()[:2]) or type(e).__name__
        )  # torch says in the second line which tensor it is
        raise ModelError(f"{source}: its description and its weights do not fit together: {one_line(reason)}") from None
    return method


def check_weights(source: Path, weights: Weights) -> None:
    """Raise ModelError, which names `source` and the tensor, unless all weights are finite floating-point numbers."""
    for key, tensor in weights.items():
        if key.endswith("num_batches_tracked"):
            continue
        name = str(tensor.dtype).removeprefix("torch.")
        if name not in _FLOATING:
            raise ModelError(f"{source}: not a usable model: {printable(key)} holds {name}, not weights")
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"{source}: not a usable model: {printable(key)} is not finite (it holds NaN or infinite values); "
                f"use an earlier checkpoint"
            )


_FLOATING = {dtype.torch for dtype in DTYPES.values()}


def make_info(method: Method, directions: Mapping[str, str], settings: Iterable[str], **origin: Any) -> ModelInfo:
    """Describe a model.

    Args:
        method: The model.
        directions: Target domain → attribute of its generator, for each generator that the model holds.
        settings: Names of the settings that its networks were built with.
        origin: Further fields of ModelInfo, on where the model comes from.
    """
    cfg = method.cfg
    return ModelInfo(
        method=method.name,
        version=__version__,
        networks=_stored_settings(cfg, settings),
        directions=dict(directions),
        size=method.size_rule,
        domains=_domains(method),
        norm_statistics=getattr(cfg, "norm_statistics", "running"),
        dropout="on" if getattr(cfg, "dropout", False) and method.dropout_in_conversion else "off",
        **origin,
    )


def _stored_settings(cfg: TrainConfig, names: Iterable[str]) -> dict[str, Any]:
    """Return settings by name, as `config.json` has them: none that are None, and of STORED_WHEN_ON only those that are on."""
    values = {name: getattr(cfg, name) for name in names}
    return {name: x for name, x in values.items() if x is not None and (x == "on" or name not in STORED_WHEN_ON)}


def check_info(info: ModelInfo, method: Method) -> None:
    """Raise ValueError where a field that conversion relies on differs from what the method's networks say."""
    if missing := set(REQUIRED_SETTINGS) & set(method.network_settings) - info.networks.keys():
        raise ValueError(f"networks lacks {min(missing)}")
    if not info.directions.items() <= method.generator_names.items():
        raise ValueError(f"directions are {info.directions}, but {method.name} has {dict(method.generator_names)}")
    if info.size != method.size_rule:
        raise ValueError(f"size is {info.size}, but its generator's is {method.size_rule}")
    if info.domains != _domains(method):
        raise ValueError(f"domains are {info.domains}, but its networks' are {_domains(method)}")


def _domains(method: Method) -> dict[str, DomainInfo]:
    domains: dict[str, DomainInfo] = {}
    for name, domain in method.domains.items():
        domains[name] = {"channels": domain.channels, "range": [-1, 1]}
        if domain.range is not None:
            domains[name]["values"] = list(config.parse_range(domain.range))
        if (labels := domain.labels) is not None:
            domains[name]["labels"] = {
                "count": labels.count, "ignore": labels.ignore, "unknown": labels.unknown, "edges": labels.edges,
                "palette": images.palette_text(labels.palette).splitlines(),
            }  # fmt: skip
    return domains


# Writing.


def write_trained_model(folder: Path, method: Method, *, title: str, seen: int) -> None:
    """Write the generators of a training and their description into an empty folder.

    Args:
        folder: Empty folder.
        method: The method that is trained.
        title: Name of the data set.
        seen: Training images seen.
    """
    info = info_of_training(method, title=title, seen=seen)
    write_model_folder(folder, info, collect_weights(method, exported_networks(info, method)))


def info_of_training(method: Method, *, title: str, seen: int) -> ModelInfo:
    """Describe the model of a training on the data set `title` after `seen` images."""
    cfg = method.cfg
    return make_info(
        method,
        method.generator_names,
        method.network_settings,
        trained_on=TrainingInfo(data=title, images=seen, crop_size=cfg.crop_size, load_size=cfg.load_size),
        direction=cfg.direction,
        preprocess=cfg.preprocess,
    )


def write_model_copy(folder: Path, model: TrainedModel, dtype: torch.dtype | None = None) -> None:
    """Write a model into an empty folder, its floating-point weights as `dtype`; None: as they are.

    With the samples and the metrics of its run, as far as they are of this very model. UsageError where a weight is too
    large for `dtype`.
    """

    def stored(weights: Weights) -> Weights:
        return {key: _cast(key, x, dtype) if dtype and x.is_floating_point() else x for key, x in weights.items()}

    facts = collect_facts(model.source, model.info)
    write_model_folder(folder, model.info, stored(model.generators()), stored(model.discriminators), facts)


def _cast(key: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    cast = x.to(dtype)
    if not torch.isfinite(cast).all():
        name = next(flag for flag, known in DTYPES.items() if known.torch == str(dtype).removeprefix("torch."))
        raise UsageError(
            f"--dtype {name}: {printable(key)} has values up to {x.abs().max():.3g}, but the largest number of this type is "
            f"{torch.finfo(dtype).max:.3g}; use another --dtype"
        )
    return cast


def write_model_folder(
    folder: Path, info: ModelInfo, generators: Weights, discriminators: Weights | None = None,
    facts: CardFacts = NO_FACTS,
) -> None:  # fmt: skip
    """Write the files of a model into an empty folder."""
    (folder / "model.safetensors").write_bytes(save(generators, metadata={"format": "pt"}))
    if discriminators:
        (folder / "discriminators.safetensors").write_bytes(save(discriminators, metadata={"format": "pt"}))
    (folder / "config.json").write_text(info.to_json(), encoding="utf-8")
    (folder / "README.md").write_text(make_card(info, facts), encoding="utf-8")
    if facts.samples is not None:
        (folder / SAMPLE_IMAGE).write_bytes(facts.samples)
    if facts.results:
        (folder / METRICS_FILE).write_text(json.dumps(facts.results, indent=2) + "\n", encoding="utf-8")


# Reading.


def read_model_folder(folder: Path) -> TrainedModel:
    """Read a model folder. ModelError where it is damaged."""
    try:
        info = ModelInfo.read(folder / "config.json")
        data = (folder / "model.safetensors").read_bytes()
        weights = load_weights(data)
        extra = folder / "discriminators.safetensors"
        discriminators = load_weights(extra.read_bytes()) if extra.exists() else {}
    except (OSError, ValueError, SafetensorError) as e:
        raise ModelError(f"{folder}: not a usable model: {one_line(e)}") from None
    check_weights(folder, weights)
    check_weights(folder, discriminators)
    method = build_method(folder, info, weights)
    info = _with_run_settings(info, folder)
    return TrainedModel(folder, method, info, hashlib.sha256(data).hexdigest(), discriminators)


def _with_run_settings(info: ModelInfo, folder: Path) -> ModelInfo:
    """Fill in how the data was read from the run that the model lies in: models of version 0.1 do not say it."""
    run = run_of_model(folder)
    if run is None or None not in (info.direction, info.preprocess):
        return info
    settings: dict[str, Any] = {}
    with suppress(ModelError):  # a damaged run does not make its model unusable
        settings = read_config(run)
    direction, preprocess = (settings.get(name) for name in ("direction", "preprocess"))
    return replace(
        info,
        direction=info.direction or (direction if direction in ("a2b", "b2a") else None),
        preprocess=info.preprocess or (preprocess if isinstance(preprocess, str) else None),
    )


def find_model_folder(path: Path) -> Path | None:
    """Return the model folder of a run folder, or the path itself if it is a model folder; None if it is neither."""
    return next((place for place in (*model_folders(path), path) if is_model_folder(place)), None)


def is_model_folder(folder: Path) -> bool:
    """Return True for a folder that holds the files of a model."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()
