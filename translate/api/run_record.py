"""Record of a run: the settings, method, data folder and number of processes in its config.toml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate import atomic, config, run_folder
from translate.config import TrainConfig
from translate.errors import ModelError, UsageError
from translate.invocation import command_line
from translate.methods import METHODS
from translate.run_folder import CONFIG_FILE
from translate.runtime import distributed

RECORD_KEYS = ("method", "root", "processes", "preset")
"""Keys of config.toml that are no settings."""


@dataclass(frozen=True)
class Preset:
    """A preset by name, with its settings that differ from the method's defaults."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """Content of a run's config.toml."""

    method: str
    """A row of METHODS."""
    root: Path
    """Absolute path of the data folder."""
    processes: int
    settings: dict[str, Any]
    """Settings by name, as they were resolved."""
    preset: Preset | None = None
    """Preset that the run was started with, as it was then; None for one without settings, and in records of version 0.1."""

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read the record of a run. Raises ModelError if it is not one, UsageError if the file is no TOML."""
        settings = run_folder.read_config(folder)
        method, root, processes, preset = (settings.pop(key, None) for key in RECORD_KEYS)
        if method not in METHODS or not isinstance(root, str) or not isinstance(processes, int):
            raise ModelError(
                f"{folder / CONFIG_FILE}: not the record of a run: its method, root or processes are missing or unknown"
            )
        return cls(method, Path(root), processes, settings, _read_preset(preset, folder))

    def write(self, folder: Path) -> None:
        """Write the record into a run folder. Raises StorageError if that fails."""
        content = {"method": self.method, "root": str(self.root), "processes": self.processes, **self.settings}
        if self.preset is not None and self.preset.settings:
            content["preset"] = {"name": self.preset.name, "settings": dict(self.preset.settings)}
        with atomic.storage_errors(folder):
            atomic.write(folder / CONFIG_FILE, config.to_toml(content).encode())


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
        old = config.resolve(type(cfg), (str(folder / CONFIG_FILE), record.settings))
        resumable = () if METHODS[method].on_meta(cfg).coupled else ("accumulate",)
        lines = config.differences(old, cfg, record.processes, distributed.world_size(), resumable)
    if lines:
        raise UsageError(
            f"{folder}: holds a run with other settings:\n  "
            + "\n  ".join(lines)
            + f"\nuse another --run, or change them on purpose, as flags of {command_line('resume', folder)}"
        )
