"""Record of a run: the settings, method, data folder and number of processes in its config.toml."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate import atomic, config, records, run_folder
from translate.config import TrainConfig
from translate.data.known_pairs import NAMES, KnownPairs
from translate.errors import DataError, ModelError, UsageError
from translate.invocation import command_line
from translate.methods import Method, find_recorded
from translate.run_folder import CONFIG_FILE, RECORD_KEYS
from translate.runtime import distributed


@dataclass(frozen=True)
class Preset:
    """A preset by name, with its settings that differ from the method's defaults."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """Content of a run's config.toml."""

    method: str
    """A row of METHODS, or a plug-in."""
    root: Path
    """Absolute path of the data folder."""
    processes: int
    settings: dict[str, Any]
    """Settings by name, as they were resolved."""
    root_from_run: str | None = field(default=None, kw_only=True)
    """Path of the data folder from the run folder, with `/`; None where ROOT was given as an absolute path."""
    forked_from: str | None = field(default=None, kw_only=True)
    """Run and images that it began with, as RUN@N with the path from the run folder; None for a run of its own."""
    preset: Preset | None = field(default=None, kw_only=True)
    """Preset that the run was started with, as it was then; None for one without settings, and in records of version 0.1."""

    convolutions: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    """Algorithm → number of shapes of the training's convolutions that are computed so; none where there was no choice."""

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read the record of a run. Raises ModelError if it is not one."""
        settings = run_folder.read_config(folder)
        values = (settings.pop(key, None) for key in RECORD_KEYS)
        method, root, processes, root_from_run, forked_from, preset, convolutions = values
        are_texts = isinstance(method, str) and isinstance(root, str)
        if not are_texts or not records.is_count(processes) or processes == 0:
            raise ModelError(
                f"{folder / CONFIG_FILE}: not the record of a run: its method, root or processes are missing"
            )
        if not all(isinstance(value, str | None) for value in (root_from_run, forked_from)):
            raise ModelError(
                f"{folder / CONFIG_FILE}: not the record of a run: root_from_run or forked_from is no text"
            )
        record = cls(
            method, Path(root), processes, settings, root_from_run=root_from_run, forked_from=forked_from,
            preset=_read_preset(preset, folder), convolutions=convolutions if isinstance(convolutions, dict) else {},
        )  # fmt: skip
        record.method_class(folder)
        return record

    def resolve(self, folder: Path) -> TrainConfig:
        """Return the checked settings. Raises ModelError, which names the run's config.toml, if its method has no such."""
        try:
            return config.resolve(self.method_class(folder).Config, (str(folder / CONFIG_FILE), self.settings))
        except UsageError as e:
            raise ModelError(str(e)) from None

    def method_class(self, folder: Path) -> type[Method]:
        """Return the method of the run in a folder. Raises ModelError if it or its networks are not known here."""
        return find_recorded(folder / CONFIG_FILE, self.method, self.settings)

    def write(self, folder: Path) -> None:
        """Write the record into a run folder. Raises StorageError if that fails."""
        preset = None
        if self.preset is not None and self.preset.settings:
            preset = {"name": self.preset.name, "settings": dict(self.preset.settings)}
        values: tuple[Any, ...] = (self.method, str(self.root), self.processes, self.root_from_run, self.forked_from)
        values = (*values, preset, dict(self.convolutions) or None)
        record = {key: value for key, value in zip(RECORD_KEYS, values, strict=True) if value is not None}
        content = {**record, **self.settings}
        with atomic.storage_errors(folder):
            atomic.write(folder / CONFIG_FILE, config.to_toml(content).encode())

    def find_root(self, folder: Path) -> Path:
        """Return the data folder, relative to the current directory if it is recorded as relative to the run `folder`.

        DataError if it is not found.
        """
        found = run_folder.find_data_folder(folder, {"root": str(self.root), "root_from_run": self.root_from_run})
        if found is None:
            raise DataError(
                f"{self.root}: the data folder of {folder} is not there; say where it is now with --root DIR"
            )
        relative = relative_path(found, Path.cwd()) if self.root_from_run is not None else None
        return found if relative is None else Path(relative)


def relative_path(path: Path, start: Path) -> str | None:
    """Return the path that leads from the folder `start`, with `/`; None from another drive of Windows."""
    try:
        return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
    except ValueError:
        return None


def _read_preset(table: Any, folder: Path) -> Preset | None:
    """Return the preset that a record holds. ModelError where it is no name with settings."""
    if table is None:
        return None
    match table:
        case {"name": str(name), "settings": dict(settings)}:
            return Preset(name, settings)
    raise ModelError(f"{folder / CONFIG_FILE}: its preset is not a name with settings; remove the table [preset]")


def read_started_run(folder: Path) -> RunRecord | None:
    """Return the record of a run that has a checkpoint; None if there is no such run in the folder."""
    has_begun = run_folder.list_checkpoints(folder) and (folder / CONFIG_FILE).is_file()
    return RunRecord.read(folder) if has_begun else None


def check_same_settings(folder: Path, method: str, cfg: TrainConfig, *, may_change: bool) -> None:
    """Check that the run in a folder, if there is one, may be resumed with these settings.

    Raises UsageError that lists the differences, one a line, if the method differs, or if what decides the weights differs
    and `may_change` is false.
    """
    record = read_started_run(folder)
    if record is None:
        return
    lines = [f"method: {record.method} in the run, {method} now"] if record.method != method else []
    if not lines and not may_change:
        old = record.resolve(folder)
        resumable = [] if record.method_class(folder).on_meta(cfg).coupled else ["accumulate"]
        if all(getattr(each, "pairs", None) not in (None, NAMES) for each in (old, cfg)):
            resumable.append("pairs")  # of two tables, the pairs in them are compared by `check_same_pairs`
        lines = config.differences(old, cfg, record.processes, distributed.world_size(), resumable)
    if lines:
        raise _other_settings(folder, lines)


def check_same_pairs(
    folder: Path,
    state: Mapping[str, Any] | None,
    pairs: KnownPairs | None,
    say: Callable[[str], None],
    *,
    may_change: bool,
) -> None:
    """Check that a table of known pairs holds those that the run in a folder was trained on, wherever the file is now.

    `state`: the checkpoint, None in a new run. With `may_change` a line says so if they differ; else UsageError.
    """
    before = state.get("pairs", "") if state is not None else ""
    now = pairs.digest if pairs is not None else ""
    if not before or not now or before == now:  # whether there are any is a setting, and names are those of the data
        return
    if not may_change:
        raise _other_settings(folder, ["--pairs: other pairs in the run, the file has changed"])
    say("warning: --pairs: holds other pairs than those of the run; it resumes on the new ones")


def _other_settings(folder: Path, lines: list[str]) -> UsageError:
    return UsageError(
        f"{folder}: holds a run with other settings:\n  "
        + "\n  ".join(lines)
        + f"\nuse another --run, or change them on purpose, as flags of {command_line('resume', folder)}"
    )
