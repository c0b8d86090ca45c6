"""Logs of a run: TensorBoard, stats.jsonl, sample grids and the console. A log that cannot be written never stops training."""

import io
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from translate import atomic, run_folder
from translate.config import TrainConfig
from translate.runtime import distributed
from translate.text import duration, format_number, step_rate
from translate.training import run_report, stats_file
from translate.training.charts import discriminator_scalar
from translate.training.loss_names import LossNames

if TYPE_CHECKING:
    from translate.training.tensorboard import EventFileWriter


class Log:
    """Writer of scalars and sample grids by images seen. On resume, points after the checkpoint are dropped."""

    def __init__(
        self, folder: Path, images_seen: int, say: Callable[[str], None], losses: LossNames | None = None
    ) -> None:
        """Open the logs of the run in a folder; `losses`: names of its method's losses."""
        self.folder, self.say, self.losses = folder, say, losses or LossNames()
        self.stats = folder / run_folder.STATS_FILE
        self._warned: set[str] = set()
        self._last_images, self._speed = images_seen, stats_file.SpeedMeter()
        self._names: list[str] = []
        self.pending_advice: list[str] = []
        """Lines of advice for the next line of stats.jsonl."""
        self._events: EventFileWriter | None = None
        self._discriminator_events: EventFileWriter | None = None
        self._safely(
            "stats.jsonl",
            lambda: self._names.extend(stats_file.scalar_names(stats_file.truncate_after(self.stats, images_seen))),
        )
        self._safely("TensorBoard", lambda: self._open_events(images_seen))

    def _open_events(self, images_seen: int) -> None:
        from translate.training.tensorboard import EventFileWriter  # here, where an import that fails is only warned of

        self._events = EventFileWriter(self.folder, images_seen)
        (self.folder / run_folder.DISCRIMINATORS).mkdir(exist_ok=True)
        self._discriminator_events = EventFileWriter(self.folder / run_folder.DISCRIMINATORS, images_seen)
        if self._names:
            self._events.add_custom_scalars(self._names, self.losses)

    def _to_tensorboard(self, action: Callable[["EventFileWriter"], None]) -> None:
        if (events := self._events) is not None:
            self._safely("TensorBoard", lambda: action(events))

    def add_settings(self, text: str, method: str, cfg: TrainConfig) -> None:
        """Add the settings of the run: a page with the `text` of config.toml, and the values to compare runs by."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        deciding = {f.name: getattr(cfg, f.name) for f in fields(cfg) if not f.metadata["resumable"]}
        self._to_tensorboard(lambda events: events.add_text(0, "config", indented))
        self._to_tensorboard(lambda events: events.add_settings({"method": method, **deciding}))

    def add_advice(self, images_seen: int, line: str) -> None:
        """Add a line of advice; it also stands in the next line of stats.jsonl."""
        self.pending_advice.append(line)
        self._to_tensorboard(lambda events: events.add_text(images_seen, "advice", line))

    def add_scalars(self, images_seen: int, values: Mapping[str, float]) -> stats_file.LogPoint:
        """Add one point to every curve, and one line to stats.jsonl; return what that line holds."""
        point = {"images": images_seen, **values} | ({"advice": self.pending_advice} if self.pending_advice else {})
        self.pending_advice = []
        self._safely("stats.jsonl", lambda: atomic.append(self.stats, stats_file.to_line(point)))
        if new := [name for name in values if name not in self._names]:
            self._names += new
            self._to_tensorboard(lambda events: events.add_custom_scalars(self._names, self.losses))
        self._to_tensorboard(lambda events: events.add_scalars(images_seen, values))
        learnt = {
            own: value for name, value in values.items() if (own := discriminator_scalar(name, self.losses)) is not None
        }
        if learnt and (events := self._discriminator_events) is not None:
            self._safely("TensorBoard", lambda: events.add_scalars(images_seen, learnt))
        return point

    def add_sample_grid(self, images_seen: int, grid: Image.Image) -> Path:
        """Add a sample grid, as samples/<images seen>.png and to TensorBoard; return the path of the file."""
        buffer = io.BytesIO()
        grid.save(buffer, "PNG")
        path = self.folder / run_folder.SAMPLES / f"{images_seen:08d}.png"
        self._safely("samples", lambda: atomic.write(path, buffer.getvalue()))
        self._to_tensorboard(lambda events: events.add_image(images_seen, "samples", grid, buffer.getvalue()))
        return path

    def write_report(self) -> None:
        """Write report.html from what the run has logged so far."""
        self._safely("report.html", lambda: run_report.write_run_report(self.folder, self.losses))

    def print_progress(self, images_seen: int, planned: int, values: Mapping[str, float]) -> None:
        """Print one line: images seen, speed, time left, and the losses."""
        new, speed = images_seen - self._last_images, values["time/images_per_second"]
        self._last_images = images_seen
        self._speed.add(new, new / speed)
        seconds = self._speed.seconds_for(planned - images_seen)
        parts = [
            f"{images_seen}/{planned} images",
            step_rate(speed),
            f"data wait {values['time/data_wait']:.0%}",
            f"{duration(seconds)} left" if seconds is not None else "",
            *format_losses(values),
        ]
        self.say(" · ".join(filter(None, parts)))

    def _safely(self, name: str, action: Callable[[], Any]) -> None:
        """Write to the log called `name`; if that fails, warn once and continue: training matters more."""
        try:
            action()
        except Exception as e:
            if name not in self._warned:
                self._warned.add(name)
                self.say(f"warning: {name} cannot be written ({e}); training continues without it")


def format_losses(values: Mapping[str, float]) -> list[str]:
    """Return the losses of each update in short, as "g adv 0.412/0.390 l1 12.35"; those of several domains share a name."""
    losses: dict[str, dict[str, list[str]]] = {}
    for name, value in values.items():
        if name.startswith("loss/"):
            _, update, loss = name.split("/", 2)
            losses.setdefault(update, {}).setdefault(loss.partition("_")[0], []).append(format_number(value))
    return [
        " ".join([update, *(f"{kind} {'/'.join(same)}" for kind, same in kinds.items())])
        for update, kinds in losses.items()
    ]


class ScalarMeans:
    """Mean of each scalar over the steps that had it, summed on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add the scalars of a step: name → 0-dim tensor."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts.update(values.keys())

    def read(self) -> dict[str, float]:
        """Return the means since the last call, over all processes, by one copy from the device."""
        sums = distributed.all_reduce_mean(torch.stack(list(self._sums.values()))).tolist()
        means = {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}
        self._sums.clear()
        self._counts.clear()
        return means

    def state(self) -> dict[str, Any]:
        """Return what has been added since the last `read`, a mean over all processes, for `load_state`."""
        if not self._sums:
            return {}
        sums = distributed.all_reduce_mean(torch.stack(list(self._sums.values()))).cpu()
        return {"names": list(self._sums), "sums": sums, "counts": [self._counts[name] for name in self._sums]}

    def load_state(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore what `state` returned; nothing where it is empty."""
        if state:
            self._sums = dict(zip(state["names"], state["sums"].to(device), strict=True))
            self._counts = Counter(dict(zip(state["names"], state["counts"], strict=True)))


class LogInterval:
    """Means, speed and waiting time of the steps since the last log point."""

    def __init__(self, images_seen: int) -> None:
        self.means = ScalarMeans()
        self.restart(images_seen)

    def restart(self, images_seen: int) -> None:
        """Begin to measure speed and waiting time anew, after `images_seen` images."""
        self._begun, self._images, self.waited = time.monotonic(), images_seen, 0.0

    def speed(self, images_seen: int) -> dict[str, float]:
        """Return the images per second, and the share of the time (0 to 1) that training waited for data."""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        return {
            "time/images_per_second": (images_seen - self._images) / seconds,
            "time/data_wait": self.waited / seconds,
        }
