"""TensorBoard: the event file of a run, and the layout of its custom scalars page."""

import os
import platform
import re
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c  # type: ignore[import-untyped]
from torch.utils.tensorboard import summary

from translate.atomic import append
from translate.training.charts import chart_layout, discriminator_scalar
from translate.training.loss_names import LossNames


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

    def add_custom_scalars(self, names: Sequence[str], losses: LossNames) -> None:
        """Add the layout of the custom scalars page for the scalars of these names."""
        charts = {
            category: {
                chart: ["Multiline", [_tag_pattern(name, losses) for name in lines]] for chart, lines in section.items()
            }
            for category, section in chart_layout(names, losses).items()
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


def _tag_pattern(name: str, losses: LossNames) -> str:
    """Return the pattern that finds the curve of a scalar, where it has a colour of its own."""
    return f"^{re.escape(discriminator_scalar(name, losses) or name)}$"
