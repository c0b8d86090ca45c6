"""Model in a checkpoint: the generators of a training as they were after so many images, EMA weights where EMA was on."""

import hashlib
from pathlib import Path
from typing import Any

from safetensors.torch import save

from translate import config, run_folder
from translate.errors import ModelError
from translate.methods import Method, find_recorded
from translate.run_folder import RECORD_KEYS
from translate.text import one_line
from translate.trained.detect import Weights
from translate.trained.folder import TrainedModel, build_method, exported_networks, info_of_training
from translate.training import checkpoint


def read_model_in_checkpoint(run: Path, path: Path) -> TrainedModel:
    """Return the model that the run wrote, or would have written, beside one of its checkpoints: the same weights and SHA-256.

    ModelError if the checkpoint is damaged or does not fit the settings of the run.
    """
    settings = run_folder.read_config(run)
    if not isinstance(settings.get("method"), str):
        raise ModelError(f"{run / run_folder.CONFIG_FILE}: not the record of a run: its method is missing")
    cls = find_recorded(run / run_folder.CONFIG_FILE, settings["method"], settings)
    state = checkpoint.load(path)
    try:
        own = {name: value for name, value in settings.items() if name not in RECORD_KEYS}
        method = cls.on_meta(config.resolve(cls.Config, (str(run / run_folder.CONFIG_FILE), own)))
        info = info_of_training(method, title=Path(str(settings.get("root", "?"))).name, seen=state["images"])
        weights = _generator_weights(state, method, exported_networks(info, method))
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as e:
        raise ModelError(f"{path}: does not fit the settings of its run: {one_line(e)}") from None
    sha256 = hashlib.sha256(save(weights, metadata={"format": "pt"})).hexdigest()
    return TrainedModel(path, build_method(path, info, weights), info, sha256)


def _generator_weights(state: dict[str, Any], method: Method, networks: tuple[str, ...]) -> Weights:
    """Return the weights of the networks by `<attribute>.<key>`: averages, where there are, and all else from the method."""
    averages = state.get("averages", {})
    return {
        f"{network}.{key}": averages.get(network, {}).get(key, state["method"][f"{network}.{key}"]).contiguous()
        for network in networks
        for key in method.get_submodule(network).state_dict()
    }
