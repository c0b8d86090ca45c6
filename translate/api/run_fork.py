"""Fork of a run: a new run that begins with a checkpoint of another one, which stays as it is."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate import atomic, run_folder
from translate.api.run_record import read_started_run, relative_path
from translate.errors import ModelError, UsageError
from translate.invocation import command_line
from translate.run_folder import BEST_MODEL, STATS_FILE
from translate.text import format_number
from translate.trained.find import nothing_after
from translate.trained.run_models import list_saved_models
from translate.training import checkpoint, stats_file


@dataclass(frozen=True)
class ForkPoint:
    """Place in a run at which another one begins."""

    run: Path
    """Run folder."""
    images: int
    """Training images seen."""

    def name_from(self, folder: Path) -> str:
        """Return RUN@N with the path of the run from a new run's folder, so that both can be moved together."""
        return f"{relative_path(self.run, folder) or self.run.resolve()}@{self.images}"

    def has_begun(self, folder: Path) -> bool:
        """Return True if the new run in a folder has begun here. UsageError if the folder holds another run.

        ModelError, which lists what there is, if it has not begun and there is no such checkpoint.
        """
        record = read_started_run(folder)
        if record is not None and record.forked_from == self.name_from(folder):
            return True
        others = [
            path for path in run_folder.list_checkpoints(folder) if run_folder.checkpoint_images(path) != self.images
        ]
        if record is not None or others:
            raise UsageError(
                f"{folder}: holds another run; give a new --run, or resume it with {command_line('resume', folder)}"
            )
        if not run_folder.checkpoint_path(self.run, self.images).is_file():
            raise ModelError(self._missing())
        return False

    def _missing(self) -> str:
        saved = next((saved for saved in list_saved_models(self.run) if saved.images == self.images), None)
        if saved is None:
            return nothing_after(self.run, self.images)
        name = f"{run_folder.run_name(self.run)}@{self.images}"
        command = command_line("train", "METHOD", "ROOT", "--init-from", name)
        return f"{name}: is a model without a checkpoint to resume from; {command} starts from it"

    def begin(self, folder: Path, say: Callable[[str], None]) -> None:
        """Fill the folder of the new run, unless it has begun: the checkpoint, the log points up to it, and the best model."""
        if self.has_begun(folder):
            return
        state = checkpoint.load(run_folder.checkpoint_path(self.run, self.images))
        self._take_best_model(state, folder, say)
        points = [point for point in stats_file.read(self.run / STATS_FILE) if point["images"] <= self.images]
        with atomic.storage_errors(folder):
            atomic.write(folder / STATS_FILE, b"".join(map(stats_file.to_line, points)))
        checkpoint.save(folder, state)
        say(f"{folder}: begins with {self.run} after {self.images} images")

    def _take_best_model(self, state: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
        """Copy the model that was the best at the checkpoint; without it, let the search begin anew."""
        validation = state.get("validation", {})
        if validation.get("best") is None:
            return
        saved = next((saved for saved in list_saved_models(self.run) if saved.images == validation["best_at"]), None)
        if saved is not None and saved.folders:
            best = sorted(saved.folders, key=lambda path: path.name != BEST_MODEL)[0]
            atomic.replace_folder(folder / BEST_MODEL, lambda place: _copy(best, place))
            return
        say(
            f"the best model of {self.run} up to there, {format_number(validation['best'])} after {validation['best_at']} "
            f"images, is no longer kept: the search for the best begins anew"
        )
        state["validation"] = {**validation, "best": None, "best_at": 0, "misses": 0}


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
