"""TensorBoard: the event file of a run, and the layout of its custom scalars page."""

import os
import platform
import re
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c  # type: ignore[import-untyped]
from torch.utils.tensorboard import summary

from translate.atomic import append
from translate.training.stats_file import D_ADVERSARIAL, G_ADVERSARIAL

ChartLayout = dict[str, dict[str, list[str]]]
"""Category → chart → names of the scalars drawn in it."""


class EventFileWriter:
    """Writer of an event file; each call appends to it at once, in the caller's thread.

    TensorBoard's own writer has a thread that dies with a traceback where the disk fails, and loses what was queued. Here a
    call that cannot write raises OSError and leaves the file as it was.
    """

    def __init__(self, folder: Path, images_seen: int) -> None:
        """Begin a file. Points after `images_seen` in earlier files of the run become void."""
        name = f"events.out.tfevents.{time.time():.6f}.{platform.node()}.{os.getpid()}"  # read in the order of names
        self.path = folder / name
        self._write(Event(file_version="brain.Event:2"), 0)
        if images_seen:
            self._write(Event(session_log=SessionLog(status=SessionLog.START)), images_seen + 1)

    def add_scalars(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Add one point to each curve."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(summary=Summary(value=points)), images_seen)

    def add_image(self, images_seen: int, name: str, image: Image.Image, png: bytes) -> None:
        """Add an image; `png` are the bytes of its PNG file."""
        channels = len(image.getbands())
        content = Summary.Image(width=image.width, height=image.height, colorspace=channels, encoded_image_string=png)
        self._write(Event(summary=Summary(value=[Summary.Value(tag=name, image=content)])), images_seen)

    def add_text(self, images_seen: int, name: str, text: str) -> None:
        """Add a text in Markdown."""
        self._write(Event(summary=summary.text(name, text)), images_seen)

    def add_custom_scalars(self, names: Sequence[str]) -> None:
        """Add the layout of the custom scalars page for the scalars of these names."""
        charts = {
            category: {
                chart: ["Multiline", [f"^{re.escape(name)}$" for name in lines]] for chart, lines in section.items()
            }
            for category, section in chart_layout(names).items()
        }
        self._write(Event(summary=summary.custom_scalars(charts)), 0)

    def add_settings(self, values: Mapping[str, Any]) -> None:
        """Add a row to the hyperparameters page, which compares runs by their settings and scalars.

        The record of which settings to show is left out: TensorBoard would take it from any one of the runs. It finds out
        itself which settings differ, and shows these first.
        """
        shown = {k: ("on" if v else "off") if isinstance(v, bool) else v for k, v in values.items()}
        _, row, _ = summary.hparams(shown, {})
        self._write(Event(summary=row), 0)

    def _write(self, event: Event, step: int) -> None:
        """Append one record: its length, the bytes, and a checksum of each (the format of TFRecord files)."""
        event.wall_time, event.step = time.time(), step
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        append(
            self.path,
            header + struct.pack("<I", masked_crc32c(header)) + data + struct.pack("<I", masked_crc32c(data)),
        )


def chart_layout(names: Sequence[str]) -> ChartLayout:
    """Return the layout of the charts for the scalars of these names, of any method; the most telling first."""
    layout: ChartLayout = {
        "Validation": _by_metric("val/", "val_ema/", names),
        "Generators against discriminators": _adversarial_pairs(names),
        "Discriminator outputs": _outputs(names),
        "Other losses": _by_stem(
            name for name in names if name.startswith("loss/") and not name.startswith((D_ADVERSARIAL, G_ADVERSARIAL))
        ),
        "Sentinels": _by_stem(name for name in names if name.startswith("watch/")),
        "Gradients and learning rates": _by_group(names, "grad", "lr"),
        "Speed and memory": {name: [name] for name in names if name.startswith(("time/", "memory/"))},
    }
    return {category: charts for category, charts in layout.items() if charts}


def _adversarial_pairs(names: Sequence[str]) -> dict[str, list[str]]:
    """Return each discriminator's loss with the adversarial losses of its generators: adv_b with adv_ab."""
    pairs = []
    for name in names:
        if name.startswith(D_ADVERSARIAL):
            domain = name.removeprefix(D_ADVERSARIAL).removeprefix("_")
            pairs.append([name, *(g for g in names if g.startswith(G_ADVERSARIAL) and g.endswith(domain))])
    return {" · ".join(name.removeprefix("loss/") for name in pair): pair for pair in pairs}


def _outputs(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the mean outputs of each discriminator, on real and on generated images."""
    outputs: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("judge/"):
            outputs.setdefault(name.partition("_")[2], []).append(name)
    return {" · ".join(name.removeprefix("judge/") for name in same): same for same in outputs.values()}


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the scalars of each stem: cycle: cycle_a, cycle_b."""
    charts: dict[str, list[str]] = {}
    for name in names:
        charts.setdefault(scalar_stem(name), []).append(name)
    return charts


def scalar_stem(name: str) -> str:
    """Return the last part of a scalar's name without the domain: "cycle" of loss/g/cycle_a, "d_gap" of watch/d_gap_b."""
    last = name.rpartition("/")[2]
    return last.rpartition("_")[0] if re.search(r"_[a-z]{1,2}$", last) else last


def _by_metric(raw: str, averaged: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Return each metric of the raw weights with that of the averaged ones."""
    metrics = [name.removeprefix(raw) for name in names if name.startswith(raw)]
    return {metric: [group + metric for group in (raw, averaged) if group + metric in names] for metric in metrics}


def _by_group(names: Sequence[str], *groups: str) -> dict[str, list[str]]:
    charts = {group: [name for name in names if name.startswith(f"{group}/")] for group in groups}
    return {group: lines for group, lines in charts.items() if lines}
