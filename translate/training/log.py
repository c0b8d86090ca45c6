"""What a run tells: TensorBoard, stats.jsonl and the console. None of it can stop training."""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translate import images

CONSOLE_SECONDS = 5.0
"""Least time between two lines on the console."""


class Log:
    """Writes scalars and sample grids by images seen. On resume, what lies beyond the checkpoint is taken back."""

    def __init__(self, folder: Path, images_seen: int, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self.stats = folder / "stats.jsonl"
        self._warned: set[str] = set()
        self._started, self._images_before = time.monotonic(), images_seen
        self._last_line = -CONSOLE_SECONDS
        self._writer: Any = None
        self._safely("stats.jsonl", lambda: _cut(self.stats, images_seen))
        self._safely("TensorBoard", lambda: self._open(images_seen))

    def _open(self, images_seen: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder), purge_step=images_seen + 1 if images_seen else None)

    def text(self, name: str, text: str) -> None:
        """A text page in TensorBoard."""
        if self._writer is not None:
            self._safely("TensorBoard", lambda: self._writer.add_text(name, text, 0))

    def scalars(self, images_seen: int, values: Mapping[str, float]) -> None:
        """One point of every curve, one line of stats.jsonl."""

        def to_file() -> None:
            with open(self.stats, "a", encoding="utf-8") as file:
                file.write(json.dumps({"images": images_seen, **values}) + "\n")

        def to_board() -> None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, images_seen)
            self._writer.flush()

        self._safely("stats.jsonl", to_file)
        if self._writer is not None:
            self._safely("TensorBoard", to_board)

    def grid(self, images_seen: int, sheet: Image.Image) -> None:
        """A sample grid: samples/<images seen>.png and TensorBoard's images page."""

        def to_board() -> None:
            self._writer.add_image("samples", np.asarray(sheet), images_seen, dataformats="HWC")
            self._writer.flush()

        path = self.folder / "samples" / f"{images_seen:08d}.png"
        self._safely("samples", lambda: images.write_image(path, sheet))
        if self._writer is not None:
            self._safely("TensorBoard", to_board)

    def console(self, images_seen: int, planned: int, values: Mapping[str, float]) -> None:
        """One line: how far, how fast, how long still, and the losses. The first, the last, and some in between."""
        seconds = time.monotonic() - self._started
        if seconds - self._last_line < CONSOLE_SECONDS and images_seen < planned:
            return
        self._last_line = seconds
        rate = (images_seen - self._images_before) / max(seconds, 1e-9)
        left = duration((planned - images_seen) / rate) if rate else "?"
        losses = " ".join(f"{k.removeprefix('loss/')} {v:.3f}" for k, v in values.items() if k.startswith("loss/"))
        self.say(f"{images_seen}/{planned} images · {rate:.1f}/s · {left} left · {losses}")

    def close(self) -> None:
        if self._writer is not None:
            self._safely("TensorBoard", self._writer.close)

    def _safely(self, what: str, action: Callable[[], Any]) -> None:
        """A log that cannot be written is said once and then left: training is worth more."""
        try:
            action()
        except Exception as e:
            if what not in self._warned:
                self._warned.add(what)
                self.say(f"warning: {what} cannot be written ({e}); training goes on without it")


def _cut(stats: Path, images_seen: int) -> None:
    """Drops the lines after `images_seen`, and a half-written last one."""
    if not stats.exists():
        return
    kept = []
    for line in stats.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError):
            if json.loads(line)["images"] <= images_seen:
                kept.append(line + "\n")
    temporary = stats.with_name(f".stats-{os.getpid()}")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, stats)


def duration(seconds: float) -> str:
    """Seconds as people say it: 42 s, 3 min, 2 h 05 min, 3 d 4 h."""
    seconds = max(0, round(seconds))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 2:
        return f"{seconds} s"
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{days} d {hours % 24} h"
