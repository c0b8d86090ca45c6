"""A run folder: the names of everything in it, and the way from RUN to the folder. Imports no torch and no config."""

from pathlib import Path


def run_path(run: str | Path | None, method: str, root: Path) -> Path:
    """An existing folder or a path as it is; a bare name is a folder of checkpoints/."""
    if run is None:
        return Path("checkpoints") / f"{method}-{root.resolve().name}"
    path = Path(run)
    return path if path.is_absolute() or len(path.parts) > 1 or path.is_dir() else Path("checkpoints") / path


def find_run(run: str | Path) -> Path | None:
    """The folder of the run that RUN names; None if it names no run."""
    path = Path(run)
    path = path if path.exists() else Path("checkpoints") / path
    return path if (path / "config.toml").is_file() or (path / STATS_FILE).is_file() else None


BEST_MODEL = "model-best"
"""The folder of the best model, beside `model`."""


def checkpoint_images(path: Path) -> int:
    """Training images seen, as the name of a checkpoint says."""
    return int(path.stem.removeprefix("state-"))


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first by images seen."""
    found = [path for path in folder.glob("state-*.ckpt") if path.stem.removeprefix("state-").isdigit()]
    return sorted(found, key=checkpoint_images, reverse=True)


STATS_FILE = "stats.jsonl"
