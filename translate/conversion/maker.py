"""How one output is made of one input: read, translate, encode. Nothing here knows of the others, or of the journal."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translate import files, images
from translate.conversion.journal import Line
from translate.conversion.names import Item, output_format
from translate.conversion.options import Options
from translate.conversion.translator import Translator
from translate.errors import StorageError
from translate.images import ImageError, Picture


@dataclass
class Work:
    """An input that has been read."""

    item: Item
    picture: Picture
    made_from: tuple[int, int, str]
    """Size, time of change and SHA-256 of the input file."""
    started: float


@dataclass(frozen=True)
class Made:
    """An output that is whole but still has its temporary name, and the journal's line on it; or why there is none."""

    item: Item
    line: Line
    temporary: Path | None = None

    @property
    def failed(self) -> bool:
        return self.temporary is None


class Maker:
    """Makes outputs of inputs by one model with one set of options. Its methods may be called from several threads."""

    def __init__(
        self, translator: Translator, root: Path, output: Path, options: Options, fmt: str | None = None, tag: str = ""
    ) -> None:
        self.translator, self.root, self.output, self.options = translator, root, output, options
        self.fmt, self.tag = fmt, tag
        """A row of images.WRITERS for all; None: by each input's name."""
        background = images.colour(options.background)
        self.reading = translator.reading(options.to, options.max_pixels, background)
        self.settings = options.decisive(translator)

    def read(self, item: Item) -> Work:
        """ImageError or OSError where it cannot be read."""
        started, path = time.monotonic(), self.root / item.input
        if images.extension(path) in images.NOT_ALLOWED:
            raise ImageError("format not allowed")
        stat = os.stat(path)
        picture = images.read(path, how=self.reading)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Work(item, picture, (stat.st_size, stat.st_mtime_ns, digest), started)

    def size(self, work: Work) -> tuple[int, int]:
        """What the network sees of it: only images of one such size may share a batch, so that no statistic changes."""
        return self.translator.padded_size(work.picture.height, work.picture.width)

    def translate(self, batch: Sequence[Work]) -> list[np.ndarray]:
        """The results' pixels. RuntimeError or MemoryError where that fails."""
        return self.translator.translate_pixels(
            [work.picture.pixels for work in batch], self.options.to, seed=self.options.seed, pixels=self.options.pixels,
            holds=[images.WRITERS[self.format(work.item)].depths for work in batch],
        )  # fmt: skip

    def encode(self, work: Work, pixels: np.ndarray) -> bytes:
        """The output's content. ImageError where its format cannot hold it."""
        picture = Picture(pixels, work.picture.alpha)
        return images.encode(picture, self.format(work.item), self.options.quality)

    def finish(self, work: Work, pixels: np.ndarray) -> Made:
        """Encodes an output and writes it under a temporary name. StorageError where the disk is at fault."""
        try:
            data = self.encode(work, pixels)
            temporary = files.stage(self.output / work.item.output, data, self.tag)
            written = temporary.stat().st_mtime_ns
        except ImageError as e:
            return self.failed(work.item, e, work.started)
        except OSError as e:
            if files.is_storage_failure(e):
                raise StorageError(f"{self.output}: cannot be written: {e.strerror}; run again to go on") from e
            return self.failed(work.item, e, work.started)
        notices = self.notices(work)
        line = {
            "input": work.item.input,
            "output": work.item.output,
            "status": "done",
            "error": None,
            "seconds": round(time.monotonic() - work.started, 3),
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "made_from": work.made_from,
            "model": self.translator.sha256,
            "settings": self.settings,
            **({"notices": notices} if notices else {}),
            "written": written,
        }
        return Made(work.item, line, temporary)

    def failed(self, item: Item, error: Exception, started: float) -> Made:
        """An input of which nothing came."""
        seconds = round(time.monotonic() - started, 3)
        line = {"input": item.input, "output": item.output, "status": "failed", "error": reason(error)}
        return Made(item, {**line, "seconds": seconds, "sha256": None})

    def format(self, item: Item) -> str:
        """The row of images.WRITERS that writes the output."""
        return self.fmt or output_format(item.input, self.options.format)

    def notices(self, work: Work) -> list[str]:
        """What the output does not hold of the input."""
        notices, fmt = list(work.picture.notices), self.format(work.item)
        ext = images.extension(work.item.input)
        if self.options.format == "keep" and self.fmt is None and images.writer_for(ext) is None:
            notices.append(f"{ext} is written as {fmt}")
        writer = images.WRITERS[fmt]
        depth = self.translator.depth(work.picture.pixels.dtype, self.options.to).name
        if depth not in writer.depths:
            notices.append(f"{fmt} does not hold {depth} values; they are scaled to {writer.depths[-1]}")
        if work.picture.alpha is not None and not writer.alpha:
            notices.append(f"{fmt} holds no transparency, so it is on {self.options.background}")
        return notices


def reason(error: Exception) -> str:
    """One line on why an image failed."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or "out of memory"
