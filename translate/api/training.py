"""Starting a training and going on with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import translate
from translate import atomic, config, run_folder
from translate.api import session
from translate.api.models import load, say_to_stderr
from translate.api.validation import ValidationEvaluator, split_for_validation
from translate.config import TrainConfig
from translate.data import layouts, loader
from translate.data.preprocessing import Preprocessing
from translate.data.split import Split
from translate.dataset_check import quick
from translate.errors import DataError, ModelError, ProcessLostError, UsageError
from translate.methods import METHODS, Method
from translate.run_folder import BEST_MODEL, run_path
from translate.runtime import devices, distributed
from translate.runtime.precision import Precision, configure_tf32, resolve_precision, use_channels_last
from translate.trained import folder as model_folder
from translate.trained import translator
from translate.trained.detect import Weights
from translate.trained.translator import Translator
from translate.training import checkpoint, cuda_graphs, loop, memory_estimate
from translate.training.engine import Engine
from translate.training.monitors.discriminator_outputs import DiscriminatorOutputMonitor
from translate.training.monitors.health_checks import HealthMonitor
from translate.training.schedule import Schedule
from translate.training.validation import Validation

SAMPLES = 4
"""Rows of a sample grid."""


@dataclass(frozen=True)
class Run:
    """A training on disk."""

    path: Path
    images: int
    """Training images seen."""

    def translator(self, device: str = "auto") -> Translator:
        """The trained model, ready for use."""
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
    """Trains a method on a data folder, or goes on where an earlier call stopped; `flags` are those of the command line.

    Raises a TranslateError (one line, with an exit code) for anything a user can mend, before any long work starts.
    """
    cls = _method(method)
    folder = run_path(run, method, Path(root))
    cfg = _resolve(cls, method, preset, config, flags, folder)
    return _train(cls, cfg, Path(root), folder, say, may_change=False)


def resume(run: str | Path, *, say: Callable[[str], None] = say_to_stderr, **flags: Any) -> Run:
    """Goes on with a run; `flags` change its settings on purpose. ModelError if there is no such run."""
    folder = run_path(run, "", Path())
    if not (folder / "config.toml").is_file():
        raise ModelError(f"{folder}: no run there; translate train starts one")
    if flags.get("init_from") is not None:
        raise UsageError("--init-from says what a new run starts from; this one has begun")
    saved, root, name, _ = _recorded(folder)
    cls = METHODS[name]
    cfg = cls.resolve_config(config.resolve(cls.Config, (str(folder / "config.toml"), saved), ("flags", flags)))
    return _train(cls, _with_sizes(cfg), root, folder, say, may_change=True)


def _method(name: str) -> type[Method]:
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; possible: {', '.join(METHODS)}")
    return METHODS[name]


def _resolve(
    cls: type[Method], method: str, preset: str, file: str | Path | None, flags: dict[str, Any], folder: Path
) -> Any:
    """Defaults < preset < networks of the model to start from < config file < flags, checked against the method."""
    if preset not in cls.presets:
        raise UsageError(f"--preset {preset}: unknown; possible: {', '.join(cls.presets)}")
    layers: list[tuple[str, dict[str, Any]]] = [(f"preset {preset}", dict(cls.presets[preset]))]
    if file is not None:
        values = config.read_toml(Path(file))
        wanted = values.pop("method", method)
        if wanted != method:
            raise UsageError(f"{file}: is for method {wanted}, not {method}")
        for record in ("root", "processes"):  # a run's own config.toml may serve as a --config file
            values.pop(record, None)
        layers.append((str(file), {name.replace("-", "_"): value for name, value in values.items()}))
    start = flags.get("init_from") or layers[-1][1].get("init_from")
    if start is not None:
        layers.insert(1, (f"--init-from {start}", _networks_of(cls, start, folder)))
    return cls.resolve_config(_with_sizes(config.resolve(cls.Config, *layers, ("flags", flags))))


def _with_sizes(cfg: Any) -> Any:
    """The load size filled in and checked."""
    if cfg.load_size is None:
        cfg = replace(cfg, load_size=cfg.default_load_size)
    if cfg.crop_size > cfg.load_size:
        raise UsageError(
            f"--crop-size {cfg.crop_size} is larger than --load-size {cfg.load_size}; images are resized to the load size "
            f"and then cropped: lower the first or raise the second"
        )
    return cfg


def _train(
    cls: type[Method], cfg: Any, root: Path, folder: Path, say: Callable[[str], None], *, may_change: bool
) -> Run:
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    device = devices.resolve_device(cfg.device)
    try:
        distributed.init_process_group(device)
        return _train_started(cls, cfg, root, folder, say, device, may_change=may_change)
    except Exception as e:
        if not distributed.is_lost_process(e):
            raise
        raise ProcessLostError(
            "another process of this training has ended, or cannot be reached; this one stops too, and the last checkpoint is "
            "whole: start all of them again with the same command"
        ) from e


def _train_started(
    cls: type[Method], cfg: Any, root: Path, folder: Path, say: Callable[[str], None], device: torch.device,
    *, may_change: bool,
) -> Run:  # fmt: skip
    tell = say if distributed.rank() == 0 else _silent
    precision = resolve_precision(cfg.precision, device)
    session.check_data_options(cfg, device)
    split = layouts.find_split(root, cls.layout, "train", cfg.direction)
    named = cls.with_labels(cfg, split.label_names, exclusive=not any(isinstance(x, tuple) for x in split.labels))
    cfg = cfg if named == cfg else cls.resolve_config(named)
    split, known = split_for_validation(root, cls.layout, cfg, split, tell)
    measure = ValidationEvaluator(root, known, cfg, cls.layout, device) if known and distributed.rank() == 0 else None
    schedule = Schedule.from_config(cfg, len(split))
    if schedule.planned == 0:
        raise UsageError("--epochs and --decay-epochs are both 0: there is nothing to train")
    start = _initial_weights(cls, cfg, tell) if cfg.init_from and not run_folder.list_checkpoints(folder) else {}
    if distributed.rank() > 0:  # the first process holds the lock and writes
        return _train_locked(cls, cfg, root, folder, tell, split, schedule, device, precision, start, measure)
    with atomic.remove_empty_folders_on_error(folder), atomic.lock_folder(folder, "wait for it or use another --run"):
        atomic.check_writable(folder)
        atomic.remove_temporaries(folder)
        for model in ("model", BEST_MODEL):
            atomic.recover_folder(folder / model)
        _compare(folder, cls.name, cfg, may_change)
        return _train_locked(cls, cfg, root, folder, tell, split, schedule, device, precision, start, measure)


def _silent(line: str) -> None:
    pass


def _train_locked(
    cls: type[Method], cfg: Any, root: Path, folder: Path, say: Callable[[str], None], split: Split,
    schedule: Schedule, device: torch.device, precision: Precision, start: dict[str, Weights],
    measure: ValidationEvaluator | None,
) -> Run:  # fmt: skip
    state = distributed.broadcast_object(lambda: checkpoint.load_newest(folder, say))
    is_exported = distributed.broadcast_object(lambda: model_folder.is_model_folder(folder / "model"))
    if state is not None and state["images"] >= schedule.planned and is_exported:
        say(f"{folder}: finished after {state['images']} images; a larger --images or --epochs goes on")
        return Run(folder, state["images"])
    if state is not None and cfg.patience is not None and state.get("validation", {}).get("misses", 0) >= cfg.patience:
        say(
            f"{folder}: ended early after {state['images']} images, {state['validation']['misses']} validations without a "
            f"better model; a larger --patience goes on"
        )
        return Run(folder, state["images"])
    configure_tf32(device, precision)
    method = cls(cfg)
    _check_auto_batch(cfg, method)
    engine = Engine(
        method, schedule, seed=cfg.seed, device=device, precision=precision, batch_size=cfg.batch_size,
        ema_half_life=cfg.ema_half_life, compiled=cfg.compile, fixed_size=cfg.preprocess != "none",
        channels_last=use_channels_last(cfg.channels_last, device, precision),
        runner=cuda_graphs.build_runner(cfg.graph, device, precision, say),
    )  # fmt: skip
    for attribute, weights in start.items():  # now that they are kept at the precision of the training
        method.get_submodule(attribute).load_state_dict(weights)
    fingerprint, environment = split.fingerprint() + session.recipe_digest(cfg), devices.numerical_environment(device)
    if len(set(distributed.all_gather_object(fingerprint))) > 1:
        raise DataError(
            f"{root}: not the same files for all processes of this training; copy the folder to every machine"
        )
    if state is not None:
        try:
            engine.load_state(state)
        except (RuntimeError, ValueError, KeyError):
            raise UsageError(
                f"{folder}: its checkpoint does not fit these networks; leave out the flags that change them, or start a new "
                f"--run with --init-from {folder}"
            ) from None
        say(f"{folder}: going on after {engine.images} images")
        changed = devices.environment_changes(state.get("environment", {}), environment)
        if changed:
            say(f"resumed with {', '.join(changed)}: weights may differ in the last bits")
        if state["data"] != fingerprint:
            say(f"warning: {root} has changed since this run was started: the data is not what it was")
    recipe = session.build_preprocessing(cfg, method)
    if distributed.rank() == 0:
        for line in quick.quick_check(root, split, recipe.random_crop_size):
            say(line)

    def load_by(recipe: Preprocessing) -> loader.Loader:
        return loader.Loader(
            split, recipe, batch_size=cfg.batch_size, seed=cfg.seed, device=device, dtype=precision.weights,
            rank=distributed.rank(), world_size=distributed.world_size(), options=session.loader_options(cfg), say=say,
        )  # fmt: skip

    source = load_by(recipe)
    whole = None
    if getattr(cfg, "whole_in_decay", False) and recipe.load_size != cfg.crop_size:
        whole = session.LaterLoader(schedule.decays_from, lambda: load_by(replace(recipe, load_size=cfg.crop_size)))
    shown = layouts.held_out_split(root, cls.layout, cfg.direction) or split
    sample = loader.fixed_batch(shown, recipe, SAMPLES, device, precision.weights)
    if cfg.max_memory is not None or device.type == "cuda":
        split_up = replace(cfg, accumulate=_micro_batches(cfg, state))
        kept = source.bytes_needed if source.tier == "resident" else 0
        say(
            distributed.broadcast_object(
                lambda: memory_estimate.check_memory(cls, split_up, sample, device, precision, kept)
            )
        )
    if distributed.rank() == 0:
        with atomic.storage_errors(folder):
            atomic.write(folder / "config.toml", config.to_toml(_record(cls.name, root, cfg)).encode())

    def write_model(place: Path) -> None:
        model_folder.write_trained_model(place, method, title=root.resolve().name, seen=engine.images)

    validation = Validation(measure, folder, write_model, engine.ema, cfg.patience, say) if measure else None
    if validation is not None and state is not None:
        validation.load_state(state.get("validation", {}))
    loop.Training(
        engine,
        session.loop_data(source, sample, whole),
        folder,
        accumulate=_micro_batches(cfg, state),
        auto_batch=cfg.auto_batch,
        cadence=loop.Cadence(cfg.log_every, cfg.save_every, cfg.sample_every, cfg.keep_every, cfg.evaluate_every),
        monitors=(HealthMonitor(sample), DiscriminatorOutputMonitor(sample)) if cfg.watch else (),
        validation=validation,
        write_model=write_model,
        extra_state={"data": fingerprint, "version": translate.__version__, "environment": environment},
        say=say,
    ).run()
    return Run(folder, engine.images)


def _micro_batches(cfg: Any, state: dict[str, Any] | None) -> int:
    """In how many parts a batch is taken: with --auto-batch not fewer than memory had allowed before."""
    before = state["accumulate"] if state is not None and cfg.auto_batch and "accumulate" in state else 1
    return before if cfg.batch_size % before == 0 and before > cfg.accumulate else cfg.accumulate


def _record(method: str, root: Path, cfg: TrainConfig) -> dict[str, Any]:
    return {
        "method": method,
        "root": str(root.resolve()),
        "processes": distributed.world_size(),
        **config.to_dict(cfg),
    }


def _recorded(folder: Path) -> tuple[dict[str, Any], Path, str, int]:
    """The settings of a run's config.toml, its data folder, method and number of processes; ModelError if it is damaged."""
    path = folder / "config.toml"
    saved = config.read_toml(path)
    root, method, processes = (saved.pop(key, None) for key in ("root", "method", "processes"))
    if method not in METHODS or not isinstance(root, str) or not isinstance(processes, int):
        raise ModelError(f"{path}: not the record of a run: its method, root or processes are missing or unknown")
    return saved, Path(root), method, processes


def _compare(folder: Path, method: str, cfg: Any, may_change: bool) -> None:
    """UsageError if an earlier run in the folder was of another kind; on purpose (`resume`) all but the method may change."""
    path = folder / "config.toml"
    if not run_folder.list_checkpoints(folder) or not path.is_file():
        return
    saved, _, before, processes = _recorded(folder)
    lines = [f"method: {before} in the run, {method} now"] if before != method else []
    if not lines:
        old = config.resolve(type(cfg), (str(path), saved))
        free = () if METHODS[method].on_meta(cfg).coupled else ("accumulate",)
        lines = [] if may_change else config.differences(old, cfg, processes, distributed.world_size(), free)
    if lines:
        raise UsageError(
            f"{folder}: holds a run with other settings:\n  "
            + "\n  ".join(lines)
            + "\nuse another --run, or translate resume RUN with flags to change it on purpose"
        )


def _check_auto_batch(cfg: Any, method: Method) -> None:
    """UsageError where a batch in more parts would not be the same batch, or processes could not agree on it."""
    if not cfg.auto_batch:
        return
    if method.coupled:
        raise UsageError(
            f"--auto-batch on: the images of a batch influence each other ({method.coupled}), so that a batch in more parts "
            f"is another one; use --norm instance --dropout off, or leave out --auto-batch"
        )
    if distributed.world_size() > 1:
        raise UsageError("--auto-batch on works in a single process; with several give --accumulate")


def _networks_of(cls: type[Method], start: str, folder: Path) -> dict[str, Any]:
    """The settings of the networks to start from; once the run has begun, as it recorded them."""
    if run_folder.list_checkpoints(folder) and (folder / "config.toml").is_file():
        known = _recorded(folder)[0]
    else:
        known = translator.read_model(start).info["networks"]
    return {
        name: known[name] for name in cls.network_settings if name in known and name in config.setting_names(cls.Config)
    }


def _initial_weights(cls: type[Method], cfg: Any, say: Callable[[str], None]) -> dict[str, Weights]:
    """Network → weights of the model to start from: its generators, and its discriminators where it was imported with them."""
    given = translator.read_model(cfg.init_from)
    method = cls.on_meta(cfg)
    start = {
        method.generator_names[to]: given.method.generator_for(to).state_dict()
        for to in given.info["directions"]
        if to in method.generator_names
    }
    if given.method.name == method.name:
        for key, tensor in given.discriminators.items():
            attribute, _, name = key.partition(".")
            start.setdefault(attribute, {})[name] = tensor
    for attribute, weights in start.items():
        wanted = method.get_submodule(attribute).state_dict()
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in wanted.items()}:
            known = given.info["networks"]
            other = [name for name, value in known.items() if getattr(cfg, name, value) != value] or list(known)
            raise UsageError(
                f"--init-from {cfg.init_from}: its network {attribute} is not the one asked for; leave out {_flags(other)}"
            )
    rest = [name for update in method.updates.values() for name in update.networks if name not in start]
    say(f"starting from {cfg.init_from}: {', '.join(start)}" + (f"; {', '.join(rest)} start anew" if rest else ""))
    return start


def _flags(names: Iterable[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)
