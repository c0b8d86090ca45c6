"""How one output is made of one input: read, translate, encode. Nothing here knows of the others, or of the journal."""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translate import atomic, images
from translate.conversion import tiling
from translate.conversion.manifest import ManifestLine
from translate.conversion.options import SOURCE_TYPES, ConversionOptions, make_mark
from translate.conversion.output_paths import Item, output_format
from translate.errors import StorageError, UsageError
from translate.images import Frame, ImageError, Metadata, Picture
from translate.runtime.memory import is_out_of_memory
from translate.text import one_line
from translate.trained.translator import Translator, tile_alpha


@dataclass
class LoadedInput:
    """An input that has been read; an animation only when its frames are translated."""

    item: Item
    picture: Picture | None
    """None: an animation."""
    tile: int | None
    """Side of the tiles that it is translated in; None: the whole at once."""
    made_from: tuple[int, int, str]
    """Size, time of change and SHA-256 of the input file."""
    started: float


@dataclass(frozen=True)
class TranslatedItem:
    """What has been made of an input: a picture still to be encoded, or the content of a file; and what it does not hold."""

    result: Picture | bytes
    notices: tuple[str, ...]


@dataclass(frozen=True)
class StagedOutput:
    """An output that is whole but still has its temporary name, and the journal's line on it; or why there is none."""

    item: Item
    line: ManifestLine
    temporary: Path | None = None

    @property
    def failed(self) -> bool:
        return self.temporary is None


class ItemConverter:
    """Makes outputs of inputs by one model with one set of options. Its methods may be called from several threads."""

    def __init__(
        self,
        translator: Translator,
        root: Path,
        output: Path,
        options: ConversionOptions,
        fmt: str | None = None,
        tag: str = "",
    ) -> None:
        self.translator, self.root, self.output, self.options = translator, root, output, options
        self.fmt, self.tag = fmt, tag
        """A row of images.WRITERS for all; None: by each input's name."""
        background = images.parse_colour(options.background)
        self.read_options = translator.read_options(options.to, options.max_pixels, background)
        self.settings = options.output_settings(translator)
        self.scratch = Path(options.scratch) if options.scratch is not None else None
        self.planner = tiling.TilePlanner(translator, options.to)
        self.tileable = tiling.is_tileable(translator.generator_for(options.to))
        if options.tile == "auto":
            self.planner.measure()  # before other threads use the model
        if isinstance(options.tile, int) and not self.tileable:
            raise UsageError(
                f"--tile {options.tile}: a {translator.info.networks['generator']} works on the whole image and has no "
                f"tiles; use --tile auto"
            )
        self.mark = make_mark(translator.info.method, translator.sha256, SOURCE_TYPES[options.source_type])

    def read(self, item: Item) -> LoadedInput:
        """ImageError or OSError where it cannot be read."""
        started, path = time.monotonic(), self.root / item.input
        if images.extension(path) in images.REFUSED_EXTENSIONS:
            raise ImageError("format not allowed")
        stat = os.stat(path)
        moves = self._may_move(item) and images.is_animated(path)
        picture = None if moves else images.read(path, how=self.read_options)
        tile = None if picture is None else self._tile(picture)
        return LoadedInput(item, picture, tile, (stat.st_size, stat.st_mtime_ns, atomic.file_sha256(path)), started)

    def _may_move(self, item: Item) -> bool:
        """Whether an input that is an animation becomes one."""
        holds = images.extension(item.input) in images.ANIMATED and self.format(item) in images.ANIMATED
        return holds and not self.options.first_frame

    def network_size(self, work: LoadedInput) -> tuple[int, int] | None:
        """What the network sees of it: only images of one such size may share a batch, so that no statistic changes.

        None for what is translated by itself.
        """
        if work.picture is None or work.tile is not None:
            return None
        return self.translator.padded_size(work.picture.height, work.picture.width)

    def translate(self, batch: Sequence[LoadedInput]) -> list[TranslatedItem]:
        """Results of works of one size, or of one that stands alone. ImageError, RuntimeError, MemoryError if that fails."""
        first, *others = batch
        if first.picture is None:
            return [self._translate_frames(first.item)]
        if not others:
            return [self._still(first.item, first.picture, self._pixels(first.item, first.picture, first.tile))]
        pictures = [work.picture for work in batch if work.picture is not None]
        results = self.translator.translate_pixels(
            [picture.pixels for picture in pictures], self.options.to, seed=self.options.seed, pixels=self.options.pixels,
            allowed_depths=[self._holds(work.item) for work in batch],
        )  # fmt: skip
        return [
            self._still(work.item, picture, pixels)
            for work, picture, pixels in zip(batch, pictures, results, strict=True)
        ]

    def _holds(self, item: Item) -> tuple[str, ...]:
        """The depths that an output's format holds."""
        return images.WRITERS[self.format(item)].depths

    def _tile(self, picture: Picture) -> int | None:
        """ImageError where the picture fits into memory in no way."""
        try:
            return self.planner.choose_tile(picture.height, picture.width, self.options.tile, self.scratch)
        except tiling.DoesNotFitError as e:
            raise ImageError(str(e)) from None

    def _pixels(self, item: Item, picture: Picture, tile: int | None) -> np.ndarray:
        """The result for one picture, which may be in tiles; by the estimate, or because memory has run out."""
        options, holds = self.options, self._holds(item)
        if tile is None:
            try:
                (whole,) = self.translator.translate_pixels(
                    [picture.pixels], options.to, seed=options.seed, pixels=options.pixels, allowed_depths=[holds]
                )
                return whole
            except (RuntimeError, MemoryError) as e:
                if not (is_out_of_memory(e) and options.tile == "auto" and self.tileable):
                    raise
            tile = tiling.MAX_TILE[self.translator.device.type]
        return tiling.translate_pixels(
            self.translator, picture.pixels, options.to, tile=tile, scratch=self.scratch, seed=options.seed,
            pixels=options.pixels, allowed_depths=holds,
        )  # fmt: skip

    def _still(self, item: Item, picture: Picture, pixels: np.ndarray) -> TranslatedItem:
        metadata = self._kept(picture.metadata)
        result = Picture(pixels, tile_alpha(picture.alpha, pixels.shape[1]), metadata=metadata)
        _, lost = images.supported_by(metadata, self.format(item), pixels.shape[2])
        notices = (*picture.notices, *self._lost(item, picture), *lost)
        return TranslatedItem(result, notices)

    def _translate_frames(self, item: Item) -> TranslatedItem:
        """Frame by frame: never more of an animation than one picture is in memory, beside what is encoded already."""
        fmt = self.format(item)
        with images.open_animation(self.root / item.input, self.read_options) as animation:

            def frames() -> Iterator[Frame]:
                for frame in animation:
                    pixels = self._pixels(item, frame.picture, self._tile(frame.picture))
                    yield Frame(Picture(pixels, tile_alpha(frame.picture.alpha, pixels.shape[1])), frame.duration)

            metadata = self._kept(animation.metadata)
            data = images.encode_animation(frames(), fmt, animation.play_count, self.options.quality, metadata)
            _, lost = images.supported_by(metadata, fmt, self.translator.output_channels(self.options.to))
            return TranslatedItem(
                data, (*animation.notices, *images.animation_notices(fmt, animation.play_count), *lost)
            )

    def _kept(self, metadata: Metadata | None) -> Metadata:
        """What an output carries of what its input carried."""
        metadata = metadata or Metadata()
        if self.options.strip_gps:
            metadata = metadata.without_gps()
        return metadata.with_mark(self.mark) if self.options.mark else metadata

    def encode(self, work: LoadedInput, translated: TranslatedItem) -> bytes:
        """The output's content. ImageError where its format cannot hold it."""
        if isinstance(translated.result, bytes):
            return translated.result
        return images.encode(translated.result, self.format(work.item), self.options.quality)

    def encode_and_stage(self, work: LoadedInput, translated: TranslatedItem) -> StagedOutput:
        """Encodes an output and writes it under a temporary name. StorageError where the disk is at fault."""
        try:
            data = self.encode(work, translated)
            temporary = atomic.stage(self.output / work.item.output, data, self.tag)
            written = temporary.stat().st_mtime_ns
        except ImageError as e:
            return self.failed(work.item, e, work.started)
        except OSError as e:
            if atomic.is_storage_failure(e):
                raise StorageError(f"{self.output}: cannot be written: {e.strerror}; run again to go on") from e
            return self.failed(work.item, e, work.started)
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
            **({"notices": translated.notices} if translated.notices else {}),
            "written": written,
        }
        return StagedOutput(work.item, line, temporary)

    def failed(self, item: Item, error: Exception, started: float) -> StagedOutput:
        """An input of which nothing came."""
        seconds = round(time.monotonic() - started, 3)
        line = {"input": item.input, "output": item.output, "status": "failed", "error": failure_reason(error)}
        return StagedOutput(item, {**line, "seconds": seconds, "sha256": None})

    def format(self, item: Item) -> str:
        """The row of images.WRITERS that writes the output."""
        return self.fmt or output_format(item.input, self.options.format)

    def _lost(self, item: Item, picture: Picture) -> Iterator[str]:
        """What the output does not hold of the picture."""
        fmt, ext = self.format(item), images.extension(item.input)
        if self.options.format == "keep" and self.fmt is None and images.writer_for(ext) is None:
            yield f"{ext} is written as {fmt}"
        writer = images.WRITERS[fmt]
        depth = self.translator.output_depth(picture.pixels.dtype, self.options.to).name
        if depth not in writer.depths:
            yield f"{fmt} does not hold {depth} values; they are scaled to {writer.depths[-1]}"
        if picture.alpha is not None and not writer.alpha:
            yield f"{fmt} holds no transparency, so it is on {self.options.background}"


def failure_reason(error: Exception) -> str:
    """One line on why an image failed."""
    return one_line(error) if str(error) else "out of memory"
