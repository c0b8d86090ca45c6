"""Weights of another trained model that a new training starts from (`--init-from`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from translate import config
from translate.api.run_record import read_started_run
from translate.config import TrainConfig
from translate.errors import UsageError
from translate.methods import Method
from translate.text import flag_name
from translate.trained import find
from translate.trained.detect import Weights


def initial_network_settings(cls: type[Method], model: str, folder: Path) -> dict[str, Any]:
    """Return the network settings of the model to start from; those that the run recorded, once it has begun."""
    record = read_started_run(folder)
    known = record.settings if record else find.read_model(model).info.networks
    possible = config.setting_names(cls.Config)
    return {name: known[name] for name in cls.network_settings if name in known and name in possible}


def read_initial_weights(cls: type[Method], cfg: TrainConfig, say: Callable[[str], None]) -> dict[str, Weights]:
    """Return weights by network of the model that `cfg.init_from` names.

    These are its generators, and its discriminators if it was imported with them and is of the same method. Raises UsageError
    if the keys or shapes of a network differ from those of the settings, ModelError if there is no usable model.
    """
    assert cfg.init_from is not None
    model = find.read_model(cfg.init_from)
    method = cls.on_meta(cfg)
    weights = {
        method.generator_names[to]: model.method.generator_for(to).state_dict()
        for to in model.info.directions
        if to in method.generator_names
    }
    if not model.info.directions:  # a model that generates images from noise
        weights |= {name: model.method.get_submodule(name).state_dict() for name in model.method.sampling_networks}
    if model.method.name == method.name:
        for key, tensor in model.discriminators.items():
            network, _, name = key.partition(".")
            weights.setdefault(network, {})[name] = tensor
    placed = method.initial_weights(weights)  # as the engine will load them
    for network, tensors in placed.items():
        expected = method.get_submodule(network).state_dict()
        if {key: tensor.shape for key, tensor in tensors.items()} != {key: t.shape for key, t in expected.items()}:
            known = model.info.networks
            flags = [name for name, value in known.items() if getattr(cfg, name, value) != value] or list(known)
            raise UsageError(
                f"--init-from {cfg.init_from}: its network {network} differs from that of these settings; leave out "
                f"{', '.join(map(flag_name, flags))}"
            )
    others = [name for update in method.updates.values() for name in update.networks if name not in placed]
    more = f"; {', '.join(others)} start from random weights" if others else ""
    say(f"starting from {cfg.init_from}: {', '.join(placed)}{more}")
    return weights
