"""What a run tells: TensorBoard, stats.jsonl and the console. None of it can stop training."""

import io
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from translate import atomic, run_folder
from translate.text import duration, format_number
from translate.training import stats_file

if TYPE_CHECKING:
    from translate.training.tensorboard import EventFileWriter


class Log:
    """Writes scalars and sample grids by images seen. On resume, what lies beyond the checkpoint is taken back."""

    def __init__(self, folder: Path, images_seen: int, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self.stats = folder / run_folder.STATS_FILE
        self._warned: set[str] = set()
        self._last, self._pace = images_seen, stats_file.SpeedMeter()
        self._names: list[str] = []
        self._advice: list[str] = []
        self._board: EventFileWriter | None = None
        self._safely(
            "stats.jsonl",
            lambda: self._names.extend(stats_file.scalar_names(stats_file.truncate_after(self.stats, images_seen))),
        )
        self._safely("TensorBoard", lambda: self._open(images_seen))

    def _open(self, images_seen: int) -> None:
        from translate.training.tensorboard import EventFileWriter  # here, where it may fail

        self._board = EventFileWriter(self.folder, images_seen)
        if self._names:
            self._board.layout(self._names)

    def _on_board(self, action: Callable[["EventFileWriter"], None]) -> None:
        if (board := self._board) is not None:
            self._safely("TensorBoard", lambda: action(board))

    def add_settings(self, text: str, method: str, cfg: Any) -> None:
        """How the run was started: a page of text, and the values to compare runs by."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        deciding = {f.name: getattr(cfg, f.name) for f in fields(cfg) if not f.metadata["resumable"]}
        self._on_board(lambda board: board.text(0, "config", indented))
        self._on_board(lambda board: board.add_settings({"method": method, **deciding}))

    def add_advice(self, images_seen: int, line: str) -> None:
        """A line that was said; it stands in the next line of stats.jsonl too."""
        self._advice.append(line)
        self._on_board(lambda board: board.text(images_seen, "advice", line))

    def add_scalars(self, images_seen: int, values: Mapping[str, float]) -> None:
        """One point of every curve, one line of stats.jsonl."""
        point = {"images": images_seen, **values} | ({"advice": self._advice} if self._advice else {})
        self._advice = []
        self._safely("stats.jsonl", lambda: atomic.append(self.stats, stats_file.to_line(point)))
        if new := [name for name in values if name not in self._names]:
            self._names += new
            self._on_board(lambda board: board.layout(self._names))
        self._on_board(lambda board: board.add_scalars(images_seen, values))

    def grid(self, images_seen: int, sheet: Image.Image) -> None:
        """A sample grid: samples/<images seen>.png and TensorBoard's images page."""
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        path = run_folder.sample_path(self.folder, images_seen)
        self._safely("samples", lambda: atomic.write(path, buffer.getvalue()))
        self._on_board(lambda board: board.image(images_seen, "samples", sheet, buffer.getvalue()))

    def print_progress(self, images_seen: int, planned: int, values: Mapping[str, float]) -> None:
        """One line: how far, how fast, how long still, and the losses."""
        new, speed = images_seen - self._last, values["time/images_per_second"]
        self._last = images_seen
        self._pace.add(new, new / speed)
        seconds = self._pace.seconds_for(planned - images_seen)
        parts = [
            f"{images_seen}/{planned} images",
            f"{speed:.1f}/s" if speed >= 1 else f"{speed:.2g}/s",
            f"data wait {values['time/data_wait']:.0%}",
            f"{duration(seconds)} left" if seconds is not None else "",
            *format_losses(values),
        ]
        self.say(" · ".join(filter(None, parts)))

    def _safely(self, what: str, action: Callable[[], Any]) -> None:
        """A log that cannot be written is said once and then left: training is worth more."""
        try:
            action()
        except Exception as e:
            if what not in self._warned:
                self._warned.add(what)
                self.say(f"warning: {what} cannot be written ({e}); training goes on without it")


def format_losses(values: Mapping[str, float]) -> list[str]:
    """The losses of each update in short: "g adv 0.412/0.390 l1 12.35"; those that differ by the domain stand together."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, value in values.items():
        if name.startswith("loss/"):
            _, update, loss = name.split("/", 2)
            found.setdefault(update, {}).setdefault(loss.partition("_")[0], []).append(format_number(value))
    return [
        " ".join([update, *(f"{kind} {'/'.join(same)}" for kind, same in kinds.items())])
        for update, kinds in found.items()
    ]
