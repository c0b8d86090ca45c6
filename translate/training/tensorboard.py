"""A run in TensorBoard: its event file, and the page on which what belongs together is drawn together."""

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

ChartLayout = dict[str, dict[str, list[str]]]
"""Category → chart → the scalars drawn in it."""

D_ADVERSARIAL, G_ADVERSARIAL = "loss/d/adv", "loss/g/adv"
"""How the names of adversarial losses begin: of discriminators and of generators."""


class EventFileWriter:
    """The event file of a run, appended to at once and in the thread of the caller.

    TensorBoard's own writer has a thread that dies with a traceback where the disk fails, and loses what was queued. Here the
    call that cannot write raises an OSError and leaves the file as it was.
    """

    def __init__(self, folder: Path, images_seen: int) -> None:
        """Begins a file. Points after `images_seen`, in the earlier files of the run, are void."""
        name = f"events.out.tfevents.{time.time():.6f}.{platform.node()}.{os.getpid()}"  # read in the order of names
        self.path = folder / name
        self._write(Event(file_version="brain.Event:2"), 0)
        if images_seen:
            self._write(Event(session_log=SessionLog(status=SessionLog.START)), images_seen + 1)

    def add_scalars(self, images_seen: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(summary=Summary(value=points)), images_seen)

    def image(self, images_seen: int, name: str, sheet: Image.Image, png: bytes) -> None:
        """An image; `png` are the bytes of its file."""
        channels = len(sheet.getbands())
        content = Summary.Image(width=sheet.width, height=sheet.height, colorspace=channels, encoded_image_string=png)
        self._write(Event(summary=Summary(value=[Summary.Value(tag=name, image=content)])), images_seen)

    def text(self, images_seen: int, name: str, text: str) -> None:
        """Markdown."""
        self._write(Event(summary=summary.text(name, text)), images_seen)

    def layout(self, names: Sequence[str]) -> None:
        """The page of custom scalars for what is logged by these names."""
        charts = {
            category: {
                chart: ["Multiline", [f"^{re.escape(name)}$" for name in lines]] for chart, lines in found.items()
            }
            for category, found in chart_layout(names).items()
        }
        self._write(Event(summary=summary.custom_scalars(charts)), 0)

    def add_settings(self, values: Mapping[str, Any]) -> None:
        """A row on the page that compares runs by their settings and scalars.

        Without the record that says which of them are to be shown: TensorBoard would take it from any one of the runs. It finds
        out itself which settings differ, and shows these first.
        """
        shown = {k: ("on" if v else "off") if isinstance(v, bool) else v for k, v in values.items()}
        _, row, _ = summary.hparams(shown, {})
        self._write(Event(summary=row), 0)

    def _write(self, event: Event, step: int) -> None:
        """One record: its length, the bytes, and a checksum of each (the format of TFRecord files)."""
        event.wall_time, event.step = time.time(), step
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        append(
            self.path,
            header + struct.pack("<I", masked_crc32c(header)) + data + struct.pack("<I", masked_crc32c(data)),
        )


def chart_layout(names: Sequence[str]) -> ChartLayout:
    """What is drawn together, the most telling first; of the names there are, whatever the method."""
    found: ChartLayout = {
        "Validation": _by_stem_of("val/", "val_ema/", names),
        "Generators against discriminators": _duels(names),
        "Discriminator outputs": _outputs(names),
        "Other losses": _by_stem(
            name for name in names if name.startswith("loss/") and not name.startswith((D_ADVERSARIAL, G_ADVERSARIAL))
        ),
        "Sentinels": _by_stem(name for name in names if name.startswith("watch/")),
        "Gradients and learning rates": _by_room(names, "grad", "lr"),
        "Speed and memory": {name: [name] for name in names if name.startswith(("time/", "memory/"))},
    }
    return {category: charts for category, charts in found.items() if charts}


def _duels(names: Sequence[str]) -> dict[str, list[str]]:
    """Each discriminator's loss beside the adversarial loss of the generators it judges: adv_b beside adv_ab."""
    duels = []
    for name in names:
        if name.startswith(D_ADVERSARIAL):
            judged = name.removeprefix(D_ADVERSARIAL).removeprefix("_")
            duels.append([name, *(g for g in names if g.startswith(G_ADVERSARIAL) and g.endswith(judged))])
    return {" · ".join(name.removeprefix("loss/") for name in duel): duel for duel in duels}


def _outputs(names: Sequence[str]) -> dict[str, list[str]]:
    """What each discriminator gives real and made images."""
    judged: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("judge/"):
            judged.setdefault(name.partition("_")[2], []).append(name)
    return {" · ".join(name.removeprefix("judge/") for name in same): same for same in judged.values()}


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """cycle: cycle_a, cycle_b."""
    charts: dict[str, list[str]] = {}
    for name in names:
        charts.setdefault(scalar_stem(name), []).append(name)
    return charts


def scalar_stem(name: str) -> str:
    """What a scalar is about, without the domain: of loss/g/cycle_a "cycle", of watch/d_gap_b "d_gap"."""
    last = name.rpartition("/")[2]
    return last.rpartition("_")[0] if re.search(r"_[a-z]{1,2}$", last) else last


def _by_stem_of(raw: str, averaged: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Each figure of the raw weights beside that of the averaged ones."""
    figures = [name.removeprefix(raw) for name in names if name.startswith(raw)]
    return {figure: [room + figure for room in (raw, averaged) if room + figure in names] for figure in figures}


def _by_room(names: Sequence[str], *rooms: str) -> dict[str, list[str]]:
    charts = {room: [name for name in names if name.startswith(f"{room}/")] for room in rooms}
    return {room: lines for room, lines in charts.items() if lines}
