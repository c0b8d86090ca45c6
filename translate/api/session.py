"""Training session: how a training is put together, from the settings and the data folder to the loop."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from translate import atomic, locks
from translate.api import label_settings, output_settings, training_data
from translate.api.disk_estimate import estimate_disk
from translate.api.initial_weights import read_initial_weights
from translate.api.presets import advise_preset
from translate.api.run_fork import ForkPoint
from translate.api.run_record import (
    Preset,
    RunRecord,
    check_same_pairs,
    check_same_settings,
    read_started_run,
    relative_path,
)
from translate.api.validation import ValidationEvaluator, split_for_validation
from translate.callbacks import ProgressCallback, ignore_line
from translate.config import TrainConfig, to_dict
from translate.convolution_choice import ConvolutionRecord
from translate.data import layouts, loader, value_scan
from translate.data.known_pairs import KnownPairs
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.data.split import Split
from translate.dataset_check import one_size, quick
from translate.errors import DataError, ProcessLostError, UsageError
from translate.methods import Method
from translate.methods.base import Batch, DataStage
from translate.methods.input_perturbation import check_input_perturbation
from translate.run_folder import MODEL, list_checkpoints, list_model_folders
from translate.runtime import devices, distributed
from translate.runtime.precision import Precision, configure_tf32, resolve_precision
from translate.text import file_size
from translate.trained import folder as model_folder
from translate.trained.detect import Weights
from translate.training import checkpoint, convolutions, cuda_graphs, growth, loop
from translate.training.cadence import Cadence
from translate.training.callback_list import CallbackList
from translate.training.engine import Engine
from translate.training.forecast import describe_length
from translate.training.monitors.discriminator_outputs import DiscriminatorOutputMonitor
from translate.training.monitors.health_checks import HealthMonitor
from translate.training.schedule import Schedule
from translate.training.validation import Validation
from translate.version import __version__

SAMPLE_ROWS = 4
"""Rows of a sample grid."""


@dataclass
class TrainingSession:
    """A training put together in phases, each of which needs what the ones before it have found.

    Errors that a user can fix come early: before the folder is touched if the settings or the data are wrong, before the
    first step in any case.
    """

    method_class: type[Method]
    cfg: TrainConfig
    root: Path
    """The data folder."""
    folder: Path
    """The run folder."""
    say: Callable[[str], None]
    preset: Preset | None = None
    """Preset that the settings are based on, for the record."""
    progress: ProgressCallback | None = None
    """See `loop.Training.progress`."""
    may_change: bool = False
    """A run in the folder is resumed even if settings that decide the weights differ from its own."""
    fork: ForkPoint | None = None
    """Run and checkpoint that a new run in the folder begins with."""
    callbacks: tuple[Any, ...] = ()
    """Callbacks of the caller, for the first process."""

    device: torch.device = field(init=False)
    precision: Precision = field(init=False)
    loader_options: LoaderOptions = field(init=False)
    split: Split = field(init=False)
    """The training images."""
    pairs: KnownPairs | None = field(init=False)
    """Known pairs among them; None where none are named."""
    evaluator: ValidationEvaluator | None = field(init=False)
    """Metrics of the validation, in the first process; None without validation."""
    schedule: Schedule = field(init=False)
    initial_weights: dict[str, Weights] = field(init=False)
    """Weights by network that a new run starts from instead of random ones."""
    state: dict[str, Any] | None = field(init=False)
    """The newest checkpoint; None in a new run."""
    method: Method = field(init=False)
    engine: Engine = field(init=False)
    fingerprint: str = field(init=False)
    """Digest of the list of training images and of the recipe of albumentations."""
    environment: dict[str, str | int | bool] = field(init=False)
    """Versions, device and threads: the last bits of the weights depend on them."""
    loaders: tuple[Loader, ...] = field(init=False)
    """Loader of the images in the first stage, and that of the known pairs where there are any."""
    stages: list[training_data.StageLoader] = field(init=False)
    """Loaders of the stages of the data."""
    preprocessing: Preprocessing = field(init=False)
    sample: Batch = field(init=False)
    """The fixed batch of the sample grids and monitors."""
    convolutions: ConvolutionRecord | None = field(init=False)
    """Algorithms of the convolutions, in training and in the validation; None in a run of version 0.1."""

    def run(self) -> int:
        """Train until the plan is fulfilled, and return the images seen.

        Raises a TranslateError for whatever a user can fix, Interrupted after a clean save on a signal, and ProcessLostError
        if another process of the training has ended.
        """
        if self.cfg.threads is not None:
            torch.set_num_threads(self.cfg.threads)
        self.device = devices.resolve_device(self.cfg.device)
        try:
            distributed.init_process_group(self.device)
            return self._run()
        except Exception as e:
            if not distributed.is_lost_process(e):
                raise
            raise ProcessLostError(
                "another process of this training has ended, or cannot be reached; this one stops too, and the last checkpoint "
                "is whole: start all of them again with the same command"
            ) from e

    def _run(self) -> int:
        if distributed.rank() > 0:
            self.say, self.callbacks = ignore_line, ()
        self.check_options()
        self.divide_data()
        self.find_value_ranges()
        self.find_initial_weights()
        with self.locked_folder():
            self.load_checkpoint()
            check_same_pairs(self.folder, self.state, self.pairs, self.say, may_change=self.may_change)
            if self.state is not None and (outcome := self.find_outcome(self.state)):
                CallbackList(self.callbacks, self.say).end(self.state["images"], self.schedule.planned, outcome)
                return self.state["images"]
            self.announce()
            self.build_engine()
            self.identify_data()
            self.restore_checkpoint()
            self.build_loaders()
            self.prepare_method()
            self.choose_convolutions()
            self.check_memory()
            self.write_config()
            self.build_loop().run()
        return self.engine.images

    # Before the folder is touched.

    def check_options(self) -> None:
        """Check the settings that depend on the device."""
        training_data.check_layout_options(self.method_class, self.cfg)
        self.precision = resolve_precision(self.cfg.precision, self.device)
        self.loader_options = training_data.check_data_options(self.cfg, self.device)

    def divide_data(self) -> None:
        """Find the training images, set images aside for validation, and count what the plan takes."""
        cls, cfg = self.method_class, self.cfg
        split = layouts.find_split(self.root, cls.layout, "train", cfg.direction, skip_unmatched=cfg.skip_unmatched)
        for line in split.notices:
            self.say(line)
        cfg, split = label_settings.find_label_settings(cls, cfg, split, self.root, self.folder, self.say)
        self.cfg = cfg = output_settings.find_output_settings(cls, cfg, split, self.folder, self.say)
        with_labels = training_data.with_labels(cls, cfg, split)
        if with_labels != cfg:
            self.cfg = cfg = cls.resolve_config(with_labels)
        check_input_perturbation(cls, cfg)
        if cfg.auto_batch:
            training_data.check_auto_batch(cls.on_meta(cfg))
        if cls.draws_domains_apart(cfg):
            split = split.with_itself(paired=False)
        self.split, validation_set = split_for_validation(self.root, cls.layout, cfg, split, self.say)
        self.split, self.pairs = training_data.find_supervision(cfg, self.root, split, self.split, self.say)
        self.evaluator = None
        if validation_set and distributed.rank() == 0:
            self.evaluator = ValidationEvaluator(self.root, validation_set, cfg, cls.layout, self.device)
        self.schedule = Schedule.from_config(cfg, len(self.split))
        if self.schedule.planned == 0:
            raise UsageError("--epochs and --decay-epochs are both 0: there is nothing to train")

    def find_value_ranges(self) -> None:
        """Take the ranges of values that are not declared from the run that is resumed, or from the set of a new one."""
        found = distributed.broadcast_object(self._ranges_of_run_or_set)
        new = {name: text for name, text in found.items() if text is not None and getattr(self.cfg, name) is None}
        if new:
            self.cfg = self.method_class.resolve_config(replace(self.cfg, **new))

    def _ranges_of_run_or_set(self) -> dict[str, str | None]:
        """Return the settings `range_a` and `range_b` that are known; an old run without them keeps the ranges of the types."""
        has_labels = label_settings.labels_of(self.cfg) is not None
        domains = [domain for domain in self.split.domains if domain == "b" or not has_labels]
        if (record := read_started_run(self.folder)) is not None:
            return {f"range_{domain}": record.settings.get(f"range_{domain}") for domain in domains}
        declared = {domain: getattr(self.cfg, f"range_{domain}") for domain in domains}
        spans = value_scan.find_ranges(self.split, declared, self.say)
        return {f"range_{domain}": span and value_scan.format_range(span) for domain, span in spans.items()}

    def find_initial_weights(self) -> None:
        """Read the weights of `--init-from`, if the run is a new one."""
        is_new = distributed.broadcast_object(lambda: not list_checkpoints(self.folder))
        self.initial_weights = (
            read_initial_weights(self.method_class, self.cfg, self.say)
            if self.cfg.init_from and is_new and self.fork is None
            else {}
        )

    # The folder, and what is in it.

    @contextmanager
    def locked_folder(self) -> Iterator[None]:
        """Hold the lock of the run folder, tidied and with the same settings; in the first process, which alone writes."""
        if distributed.rank() > 0:
            yield
            return
        remedy = "wait for it or use another --run"
        with atomic.remove_empty_folders_on_error(self.folder), locks.lock_folder(self.folder, remedy):
            atomic.check_writable(self.folder)
            atomic.remove_temporaries(self.folder)
            for model in list_model_folders(self.folder):
                atomic.recover_folder(model)
            if self.fork is not None:
                self.fork.begin(self.folder, self.say)
            check_same_settings(self.folder, self.method_class.name, self.cfg, may_change=self.may_change)
            yield

    def load_checkpoint(self) -> None:
        """Read the newest checkpoint, in all processes the same."""
        self.state = distributed.broadcast_object(lambda: checkpoint.load_newest(self.folder, self.say))

    def find_outcome(self, state: dict[str, Any]) -> str:
        """Return how the run has ended, "finished" or "stopped early", and say so; empty if it has not."""
        has_model = distributed.broadcast_object(lambda: model_folder.is_model_folder(self.folder / MODEL))
        images, misses = state["images"], state.get("validation", {}).get("misses", 0)
        if images >= self.schedule.planned and has_model:
            self.say(f"{self.folder}: finished after {images} images; a larger --images or --epochs continues it")
            return "finished"
        if self.cfg.patience is not None and misses >= self.cfg.patience:
            self.say(
                f"{self.folder}: stopped early after {images} images, {misses} validations without improvement; a larger "
                f"--patience continues it"
            )
            return "stopped early"
        return ""

    def announce(self) -> None:
        """Say what begins, before what takes long, and what it will take on disk; warn where there is no room for it."""
        if distributed.rank() > 0:
            return
        cfg, method = self.cfg, self.method_class.on_meta(self.cfg)
        planned, processes = self.schedule.planned, distributed.world_size()
        need = estimate_disk(method, cfg, self.precision, planned, processes)
        size = f"at {cfg.crop_size} px" if cfg.crops else "with whole images"
        length = describe_length(self.schedule, self.state["images"] if self.state else 0)
        self.say(f"{method.name} for {length} {size} on {self.device}; {self.folder} will take {need}")
        free = shutil.disk_usage(self.folder).free
        if free < need.peak:
            self.say(
                f"warning: {file_size(free)} are free there, and {file_size(need.peak)} are needed while a checkpoint is saved"
            )

    # The networks.

    @property
    def data_stages(self) -> tuple[DataStage, ...]:
        """Stages of the training data."""
        return self.method_class.stages(self.cfg, self.schedule.planned, self.schedule.decays_from)

    def build_engine(self) -> None:
        """Build the method's networks and the engine that trains them, with the weights that a new run starts from."""
        cfg, device, precision = self.cfg, self.device, self.precision
        configure_tf32(device, precision)
        self.method = self.method_class(cfg)
        self.engine = Engine(
            self.method,
            self.schedule,
            seed=cfg.seed,
            device=device,
            precision=precision,
            batch_size=cfg.batch_size,
            ema_half_life=cfg.ema_half_life,
            compiled=cfg.compile,
            fixed_size=cfg.crops,
            channels_last=cfg.channels_last == "on",
            runner=cuda_graphs.build_runner(cfg.graph, device, precision, self.say),
            stages=self.data_stages,
        )
        if self.initial_weights:
            self.engine.load_weights(self.initial_weights)

    def identify_data(self) -> None:
        """Take the fingerprint of the data, which must be the same for all processes, and note the environment."""
        recipe = self.loader_options.albumentations
        self.fingerprint = self.split.fingerprint() + (f" {recipe.digest}" if recipe else "")
        self.environment = devices.numerical_environment(self.device)
        own = self.fingerprint, self.pairs and self.pairs.digest
        if len(set(distributed.all_gather_object(own))) > 1:
            raise DataError(
                f"{self.root}: differs between the processes of this training; copy the folder to every machine"
            )

    def restore_checkpoint(self) -> None:
        """Load the checkpoint into the engine, and say what has changed since."""
        if self.state is None:
            return
        try:
            self.engine.load_state(self.state)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            raise UsageError(
                f"{self.folder}: its checkpoint does not fit these networks; leave out the flags that change them, or start a "
                f"new --run with --init-from {self.folder}"
            ) from None
        self.say(f"{self.folder}: resuming after {self.engine.images} images")
        changed = devices.environment_changes(self.state.get("environment", {}), self.environment)
        if changed:
            self.say(f"resumed with {', '.join(changed)}: weights may differ in the last bits")
        if self.state["data"] != self.fingerprint:
            self.say(f"warning: {self.root} has changed since this run was started; it resumes on the new data")

    # The data.

    def build_loaders(self) -> None:
        """Check the training images quickly, and build their loaders and the sample batch."""
        cfg, cls = self.cfg, self.method_class
        self.preprocessing = preprocessing = training_data.build_preprocessing(cfg, self.method)
        split = training_data.with_references(cls, self.split)
        one_size.check_one_size(self.split, preprocessing, cfg.batch_size, cls.one_size)
        if distributed.rank() == 0:
            limits = preprocessing.random_crop_size, preprocessing.minimum, preprocessing.value_ranges
            has_labels = preprocessing.labels is not None
            for line in quick.quick_check(self.root, self.split, *limits, label_maps=has_labels):
                self.say(line)
        options = replace(self.loader_options, rank=distributed.rank(), world_size=distributed.world_size())
        build = partial(Loader, device=self.device, dtype=self.precision.weights, say=self.say)
        pairs = None if self.pairs is None else self.pairs.split
        self.stages = training_data.stage_loaders(self.data_stages, split, preprocessing, options, build, pairs)
        self.loaders = self.stages[0].loaders  # which refuse a set without readable images
        shown = training_data.with_references(cls, training_data.find_held_out(cls, cfg, self.root) or self.split)
        self.sample = loader.fixed_batch(shown, preprocessing, SAMPLE_ROWS, self.device, self.precision.weights)

    def prepare_method(self) -> None:
        """Let the method of a new run that starts from random weights prepare itself from training images."""
        count = self.method.preparation_images
        if not count or self.engine.images or self.initial_weights:
            return
        given = self.split, self.preprocessing, count, self.device, self.precision.weights
        for line in self.engine.prepare(loader.preparation_batches(*given)):
            self.say(line)

    # The last choices and checks, and the loop.

    def choose_convolutions(self) -> None:
        """Choose how convolutions are computed: as the checkpoint says, else as is faster by the first process's clock."""
        recorded = {} if self.state is None else self.state.get("convolutions")
        micro_batch = self.cfg.batch_size // self.accumulate
        self.convolutions = convolutions.choose_convolutions(self.engine, self.sample, micro_batch, recorded, self.say)

    @property
    def accumulate(self) -> int:
        """Micro-batches of a step: with `--auto-batch` at least as many as memory needed before."""
        cfg, state = self.cfg, self.state
        before = state["accumulate"] if state is not None and cfg.auto_batch and "accumulate" in state else 1
        return before if cfg.batch_size % before == 0 and before > cfg.accumulate else cfg.accumulate

    def check_memory(self) -> None:
        """Say how much memory the training is estimated to need; raise UsageError if that is too much."""
        if self.cfg.max_memory is None and self.device.type != "cuda" and not self.method_class.grows:
            return
        cfg = replace(self.cfg, accumulate=self.accumulate)
        data = sum(loader.bytes_needed for loader in self.loaders if loader.tier == "resident")
        example, seen = training_data.with_pair_images(self.sample, cfg), self.state["images"] if self.state else 0
        given = self.method_class, cfg, example, self.device, self.precision, data, self.schedule, seen
        for line in distributed.broadcast_object(lambda: growth.check_memory(*given)):
            self.say(line)

    def write_config(self) -> None:
        """Write the resolved settings into the run folder."""
        if distributed.rank() == 0:
            before = read_started_run(self.folder)
            forked_from = self.fork.name_from(self.folder) if self.fork else before.forked_from if before else None
            from_run = None if self.root.is_absolute() else relative_path(self.root, self.folder)
            record = RunRecord(
                self.method_class.name,
                self.root.resolve(),
                distributed.world_size(),
                to_dict(self.cfg),
                root_from_run=from_run,
                forked_from=forked_from,
                preset=self.preset,
                convolutions=Counter((self.convolutions or {}).values()),
            )
            record.write(self.folder)

    def write_model(self, folder: Path) -> None:
        """Write the networks as they are into a model folder."""
        model_folder.write_trained_model(folder, self.method, title=self.root.resolve().name, seen=self.engine.images)

    def build_validation(self) -> Validation | None:
        """Return the validation in the state of the checkpoint; None without one, and in all processes but the first."""
        if self.evaluator is None:
            return None
        self.evaluator.convolutions = self.convolutions
        validation = Validation(
            self.evaluator, self.folder, self.write_model, self.engine.ema, self.cfg.patience, self.say
        )
        if self.state is not None:
            validation.load_state(self.state.get("validation", {}))
        return validation

    def build_loop(self) -> loop.Training:
        """Return the training loop, with its monitors and validation."""
        cfg = self.cfg
        return loop.Training(
            self.engine,
            training_data.loop_data(self.stages, self.sample),
            self.folder,
            accumulate=self.accumulate,
            auto_batch=cfg.auto_batch,
            cadence=Cadence(cfg.log_every, cfg.save_every, cfg.sample_every, cfg.keep_every, cfg.evaluate_every),
            monitors=(HealthMonitor(self.sample), DiscriminatorOutputMonitor(self.sample)) if cfg.watch else (),
            validation=self.build_validation(),
            write_model=self.write_model,
            extra_state={
                "data": self.fingerprint,
                **({"pairs": self.pairs.digest} if self.pairs else {}),
                "version": __version__,
                "environment": self.environment,
                "convolutions": self.convolutions,
            },
            say=self.say,
            progress=self.progress,
            advise=partial(advise_preset, self.method_class, self.cfg, self.split, self.root, self.folder, self.device),
            log_state=self.state.get("log", {}) if self.state else {},
            callbacks=CallbackList(self.callbacks, self.say),
        )
