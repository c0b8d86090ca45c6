"""Training of a method on a data folder: start a run, resume it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from translate import config, run_folder
from translate.api.initial_weights import initial_network_settings
from translate.api.models import load, say_to_stderr
from translate.api.run_fork import ForkPoint
from translate.api.run_record import RunRecord
from translate.api.session import TrainingSession
from translate.config import TrainConfig
from translate.errors import ModelError, UsageError
from translate.methods import METHODS, Method
from translate.run_folder import CONFIG_FILE, RECORD_KEYS
from translate.trained.translator import Translator


@dataclass(frozen=True)
class Run:
    """A training on disk."""

    path: Path
    """The run folder."""
    images: int
    """Training images seen."""

    def translator(self, device: str = "auto") -> Translator:
        """Load the trained model onto a device."""
        return load(self.path, device=device)


def train(
    method: str,
    root: str | Path,
    *,
    run: str | Path | None = None,
    config: str | Path | None = None,
    preset: str = "paper",
    say: Callable[[str], None] = say_to_stderr,
    **flags: Any,
) -> Run:
    """Train a method on a data folder, or resume where an earlier call with the same arguments stopped.

    `method` is a row of METHODS, `run` the run folder or a name in checkpoints/ (METHOD-ROOT if not given), `config` a TOML
    file of settings, `preset` the defaults; `flags` are settings by the names of their flags (`batch_size=4`), which win.
    Raises a TranslateError (one line, with an exit code) for anything a user can fix, before any long work starts;
    Interrupted after a clean save on a signal; DivergedError if losses are no longer finite.
    """
    cls = _find_method(method)
    folder = run_folder.default_run(method, Path(root)) if run is None else run_folder.resolve_run(run)
    layers = _config_layers(cls, preset, config)
    cfg = _resolve_settings(cls, layers, flags, folder)
    return Run(folder, TrainingSession(cls, cfg, Path(root), folder, say).run())


def resume(
    run: str | Path,
    *,
    from_images: int | None = None,
    new_run: str | Path | None = None,
    root: str | Path | None = None,
    say: Callable[[str], None] = say_to_stderr,
    **flags: Any,
) -> Run:
    """Resume a run; `flags` change its settings on purpose.

    `from_images` begins a new run, `new_run`, with the checkpoint after so many images and leaves `run` as it is; the same call
    again resumes the new run. `root` is where the data folder is now. Raises ModelError if there is no such run or checkpoint,
    else what `train` raises.
    """
    folder = run_folder.resolve_run(run)
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(_no_run(folder, run))
    if flags.get("init_from") is not None:
        raise UsageError("--init-from: is for a new run; this one has begun")
    fork = None
    if from_images is not None or new_run is not None:
        fork, folder = _fork(folder, from_images, new_run)
    source = fork.run if fork and not fork.has_begun(folder) else folder
    record = RunRecord.read(source)
    record.resolve(folder)
    cls = METHODS[record.method]
    layers = (str(source / CONFIG_FILE), record.settings), (config.FLAGS, flags)
    cfg = _with_sizes(cls.resolve_config(config.resolve(cls.Config, *layers)))
    data = record.find_root(source) if root is None else Path(root)
    return Run(folder, TrainingSession(cls, cfg, data, folder, say, may_change=True, fork=fork).run())


def _no_run(folder: Path, run: str | Path) -> str:
    """Return the message that there is no run in a folder."""
    kept = run_folder.split_checkpoint_name(run)
    if kept is None or run_folder.find_run(kept[0]) is None:
        return f"{folder}: no run there; translate train starts one"
    return f"{run}: is one checkpoint of a run; begin a new run with it: translate resume {kept[0]} --from {kept[1]} --run NEW"


def _fork(run: Path, images: int | None, new_run: str | Path | None) -> tuple[ForkPoint, Path]:
    """Return where a new run begins, and its folder. UsageError unless both are given."""
    if images is None:
        raise UsageError(f"--run {new_run}: is for a new run that begins with a checkpoint of {run}; give --from N too")
    if new_run is None:
        raise UsageError(f"--from {images}: leaves {run} as it is and begins a new run; give it a name with --run NEW")
    return ForkPoint(run, images), run_folder.resolve_run(new_run)


def _find_method(name: str) -> type[Method]:
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; possible: {', '.join(METHODS)}")
    return METHODS[name]


_Layers = list[tuple[str, dict[str, Any]]]
"""Settings with their sources, of which the last one wins."""


def _config_layers(cls: type[Method], preset: str, file: str | Path | None) -> _Layers:
    """Return the settings of the preset and of the `--config` file. Raises UsageError if either is not the method's."""
    if preset not in cls.presets:
        raise UsageError(f"--preset {preset}: unknown; possible: {', '.join(cls.presets)}")
    layers: _Layers = [(f"preset {preset}", dict(cls.presets[preset]))]
    if file is not None:
        values = config.read_toml(Path(file))
        method = values.get("method", cls.name)
        if method != cls.name:
            raise UsageError(f"{file}: is for method {method}, not {cls.name}")
        for key in RECORD_KEYS:  # a run's own config.toml may serve as a --config file
            values.pop(key, None)
        layers.append((str(file), {name.replace("-", "_"): value for name, value in values.items()}))
    return layers


def _resolve_settings(cls: type[Method], layers: _Layers, flags: dict[str, Any], folder: Path) -> TrainConfig:
    """Return the checked settings: preset < networks of the model to start from < config file < flags."""
    start = flags.get("init_from") or layers[-1][1].get("init_from")
    if start is not None:
        networks = initial_network_settings(cls, start, folder)
        layers = [layers[0], (f"--init-from {start}", networks), *layers[1:]]
    return cls.resolve_config(_with_sizes(config.resolve(cls.Config, *layers, (config.FLAGS, flags))))


def _with_sizes(cfg: TrainConfig) -> TrainConfig:
    """Return the settings with a load size. Raises UsageError if the crop size is larger than that."""
    if cfg.load_size is None:
        cfg = replace(cfg, load_size=cfg.default_load_size)
    assert cfg.load_size is not None
    if cfg.crop_size > cfg.load_size:
        raise UsageError(
            f"--crop-size {cfg.crop_size} is larger than --load-size {cfg.load_size}; images are resized to the load size "
            f"and then cropped: lower the first or raise the second"
        )
    return cfg
