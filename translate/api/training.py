"""Training of a method on a data folder: start a run, resume it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate import config, methods, run_folder
from translate.api.initial_weights import initial_network_settings
from translate.api.models import load, say_to_stderr
from translate.api.plugin_files import load_plugins
from translate.api.presets import find_preset, preset_settings, shorten_preset, with_load_size, without_replaced_length
from translate.api.run_fork import ForkPoint
from translate.api.run_record import Preset, RunRecord
from translate.api.session import TrainingSession
from translate.callbacks import ProgressCallback, SayCallback, TrainingCallback, ignore_line
from translate.catalog.shipped import find_data
from translate.config import TrainConfig
from translate.data import layouts
from translate.errors import ModelError, UsageError
from translate.invocation import command_line
from translate.methods import Method
from translate.run_folder import CONFIG_FILE, RECORD_KEYS, STATS_FILE
from translate.text import suggest
from translate.trained.translator import Translator
from translate.training import stats_file
from translate.training.callback_list import check_callbacks


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

    @property
    def history(self) -> list[dict[str, Any]]:
        """Log points in order, as `stats.jsonl` has them: `images`, and losses, metrics, rates and speed by name."""
        return stats_file.read(self.path / STATS_FILE)


def train(
    method: str,
    root: str | Path,
    *,
    run: str | Path | None = None,
    config: str | Path | None = None,
    preset: str = "paper",
    plugin: str | Path | Sequence[str | Path] = (),
    callbacks: Sequence[TrainingCallback] = (),
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **flags: Any,
) -> Run:
    """Train a method on a data folder, or resume where an earlier call with the same arguments stopped.

    `method` is a row of METHODS, `run` the run folder or a name in checkpoints/ (METHOD-ROOT if not given), `config` a TOML
    file of settings, `preset` the defaults, `plugin` files with further methods or networks; `flags` are settings by the names
    of their flags (`batch_size=4`), which win.
    `callbacks` are told of steps, log points, samples and validations, and change nothing of the training. `progress` gets the
    images seen, 0 and the images planned after each step, and no lines come by the clock then. `say` gets lines for a person;
    None: silence.
    Raises a TranslateError (one line, with an exit code) for anything a user can fix, before any long work starts;
    Interrupted after a clean save on a signal; DivergedError if losses are no longer finite.
    """
    say = say or ignore_line
    check_callbacks(callbacks)
    load_plugins(plugin)
    cls = _find_method(method)
    data = find_data(root, say)
    folder = run_folder.default_run(method, Path(root)) if run is None else run_folder.resolve_run(run)
    file = _read_config_file(cls, config)
    given = file | {name: value for name, value in flags.items() if value is not None}
    chosen = shorten_preset(find_preset(cls, preset, folder, given), given)
    cfg = _resolve_settings(cls, chosen, (str(config), file), flags, folder)
    session = TrainingSession(cls, cfg, data, folder, say, preset=chosen, progress=progress, callbacks=tuple(callbacks))
    return Run(folder, session.run())


def resume(
    run: str | Path,
    *,
    from_images: int | None = None,
    new_run: str | Path | None = None,
    root: str | Path | None = None,
    plugin: str | Path | Sequence[str | Path] = (),
    callbacks: Sequence[TrainingCallback] = (),
    progress: ProgressCallback | None = None,
    say: SayCallback | None = say_to_stderr,
    **flags: Any,
) -> Run:
    """Resume a run; `flags` change its settings on purpose.

    `from_images` begins a new run, `new_run`, with the checkpoint after so many images and leaves `run` as it is; the same call
    again resumes the new run. `root` is where the data folder is now; `plugin`, `callbacks`, `progress` and `say`
    are those of `train`.
    Raises ModelError if there is no such run or checkpoint, else what `train` raises.
    """
    check_callbacks(callbacks)
    load_plugins(plugin)
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
    cls = record.method_class(source)
    recorded = without_replaced_length(record.settings, flags)
    layers = (str(source / CONFIG_FILE), recorded), (config.FLAGS, flags)
    cfg = with_load_size(cls.resolve_config(config.resolve(cls.Config, *layers)))
    data = record.find_root(source) if root is None else Path(root)
    session = TrainingSession(
        cls, cfg, data, folder, say or ignore_line, preset=record.preset, progress=progress, may_change=True, fork=fork,
        callbacks=tuple(callbacks),
    )  # fmt: skip
    return Run(folder, session.run())


def _no_run(folder: Path, run: str | Path) -> str:
    """Return the message that there is no run in a folder."""
    kept = run_folder.split_checkpoint_name(run)
    if kept is None or run_folder.find_run(kept[0]) is None:
        return f"{folder}: no run there; translate train starts one"
    command = command_line("resume", kept[0], "--from", kept[1], "--run", "NEW")
    return f"{run}: is one checkpoint of a run; begin a new run with it: {command}"


def _fork(run: Path, images: int | None, new_run: str | Path | None) -> tuple[ForkPoint, Path]:
    """Return where a new run begins, and its folder. UsageError unless both are given."""
    if images is None:
        raise UsageError(f"--run {new_run}: is for a new run that begins with a checkpoint of {run}; give --from N too")
    if new_run is None:
        raise UsageError(f"--from {images}: leaves {run} as it is and begins a new run; give it a name with --run NEW")
    return ForkPoint(run, images), run_folder.resolve_run(new_run)


def _find_method(name: str) -> type[Method]:
    cls = methods.find(name)
    if cls is None:
        raise UsageError(f"unknown method {name!r}; {suggest(name, methods.names())}; --plugin FILE.py adds others")
    if cls.layout not in layouts.LAYOUTS:
        raise UsageError(f"method {name}: its layout {cls.layout!r} is unknown; possible: {', '.join(layouts.LAYOUTS)}")
    return cls


_Layers = list[tuple[str, dict[str, Any]]]
"""Settings with their sources, of which the last one wins."""


def _read_config_file(cls: type[Method], file: str | Path | None) -> dict[str, Any]:
    """Return the settings of the `--config` file, if there is one. Raises UsageError if it is not the method's."""
    if file is None:
        return {}
    values = config.read_toml(Path(file))
    method = values.get("method", cls.name)
    if method != cls.name:
        raise UsageError(f"{file}: is for method {method}, not {cls.name}")
    # A run's own config.toml may serve as a --config file.
    return {name.replace("-", "_"): value for name, value in values.items() if name not in RECORD_KEYS}


def _resolve_settings(
    cls: type[Method], preset: Preset, file: tuple[str, dict[str, Any]], flags: dict[str, Any], folder: Path
) -> TrainConfig:
    """Return the checked settings: preset < networks of the model to start from < config file < flags."""
    source, values = file
    given = values | {name: value for name, value in flags.items() if value is not None}
    layers: _Layers = [(f"preset {preset.name}", preset_settings(preset, given))]
    if (start := given.get("init_from")) is not None:
        layers.append((f"--init-from {start}", initial_network_settings(cls, start, folder)))
    layers += [(source, without_replaced_length(values, flags)), (config.FLAGS, flags)]
    return cls.resolve_config(with_load_size(config.resolve(cls.Config, *layers)))
