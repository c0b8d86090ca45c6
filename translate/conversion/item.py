"""Conversion of one input to one output: read, translate, encode. Independent of all other inputs and of the manifest file."""

import hashlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from torch import Tensor

from translate import atomic, images
from translate.conversion import tiling
from translate.conversion.example_style import Style
from translate.conversion.manifest import Fingerprint, ManifestLine, fingerprint
from translate.conversion.options import SOURCE_TYPES, ConversionOptions, make_mark
from translate.conversion.output_paths import Item, output_format
from translate.errors import StorageError, UsageError
from translate.images import Frame, ImageError, Metadata, Picture, Reading, StoredType
from translate.runtime.memory import is_out_of_memory
from translate.text import one_line
from translate.trained.array_images import fit_alpha
from translate.trained.translator import Translator

WITHOUT_WATERMARK = frozenset({"npy", "gif"})
"""Formats of outputs that get no watermark: values that are no pictures, and pictures of few colours."""


@dataclass
class LoadedInput:
    """An input that has been read. The frames of an animation are read later, when they are translated."""

    item: Item
    picture: Picture | None
    """Image; None for an animation."""
    tile: int | None
    """Tile size in pixels; None: the whole image at once."""
    made_from: Fingerprint
    """Fingerprint of the input file."""
    started: float
    instances: Fingerprint | None = None
    """That of the instance map; None without."""


@dataclass
class TranslatedItem:
    """Translation of an input: an image that is not encoded yet, or the content of a file; and notices of what it lost."""

    result: Picture | bytes
    notices: tuple[str, ...]


@dataclass(frozen=True)
class StagedOutput:
    """A complete output under a temporary name, with its line for the manifest; or the line of a failure."""

    item: Item
    line: ManifestLine
    temporary: Path | None = None

    @property
    def failed(self) -> bool:
        return self.temporary is None


class ItemConverter:
    """Converter of inputs by one model with one set of options. Its methods may be called from several threads.

    Args:
        translator: The model.
        root, output: Folders that the paths of items are relative to.
        options: Options of the conversion. UsageError if the model cannot follow them.
        fmt: Row of images.WRITERS for all outputs; None: by the name of each input.
        tag: Part of the names of temporary files.
        style: Style of all outputs, where the options ask for one and it was encoded already.
        planner: Choice of the tile size, where it was measured already.
    """

    def __init__(
        self,
        translator: Translator,
        root: Path,
        output: Path,
        options: ConversionOptions,
        fmt: str | None = None,
        tag: str = "",
        style: Style | None = None,
        planner: tiling.TilePlanner | None = None,
    ) -> None:
        self.translator, self.root, self.output, self.options = translator, root, output, options
        self.scale = translator.scale(options.to)
        self.fmt, self.tag = fmt, tag
        background = images.parse_colour(options.background)
        translator.check_pixels(options.pixels)
        options.check_cluster(translator)
        self._check_input_range()
        if options.samples is not None:
            translator.check_samples(options.to)
        self.style = style or self._encode_style()
        if options.temporal and translator.has_noise(options.to) and self.style is None:
            raise UsageError(
                f"--temporal {options.temporal:g}: the model draws noise anew for each frame; use --dropout off, or "
                f"--style IMAGE where its method has latent codes"
            )
        self._check_instances()
        self.read_options = translator.read_options(options.to, options.max_pixels, background, options.declared_range)
        self.signer = options.load_signer()
        self.settings = options.output_settings(translator, self.style, self.signer)
        self.scratch = Path(options.scratch) if options.scratch is not None else None
        self.planner = planner or tiling.TilePlanner(translator, options.to)
        self.tileable = self.planner.tileable
        if options.tile == "auto":
            self.planner.measure()  # before other threads use the model
        if isinstance(options.tile, int) and not self.tileable:
            raise UsageError(
                f"--tile {options.tile}: a {translator.info.generator_name} takes the whole image and has no "
                f"tiles; use --tile auto"
            )
        self.mark = make_mark(translator.info.method, translator.sha256, SOURCE_TYPES[options.source_type])

    def _check_input_range(self) -> None:
        """Raise UsageError if a range of the inputs is given to a model that stores one."""
        if self.options.input_range is not None and self.translator.label_format(self.options.to) is not None:
            raise UsageError(f"--input-range {self.options.input_range}: label maps have no range; leave it out")
        stored = self.translator.value_range(self.translator.source_domain(self.options.to))
        if self.options.input_range is not None and stored is not None:
            raise UsageError(
                f"--input-range {self.options.input_range}: the model was trained on values from {stored[0]:g} to "
                f"{stored[1]:g} and stores that range; leave the flag out"
            )

    def _encode_style(self) -> Style | None:
        """Return the style that the options ask for. UsageError if its image or the model cannot give one."""
        if self.options.style is None:
            return None
        code = self.translator.encode_style(self.options.style, self.options.to)
        return Style(code, atomic.file_sha256(Path(self.options.style)))

    def _check_instances(self) -> None:
        """Raise UsageError unless there is a folder of instance maps for a model that needs them, and for no other."""
        labels, folder = self.translator.label_format(self.options.to), self.options.instances
        if labels is not None and labels.edges and folder is None:
            raise UsageError(
                "the model was trained with the edges of objects; give the folder of their instance maps by --instances DIR"
            )
        if folder is not None and (labels is None or not labels.edges):
            raise UsageError(f"--instances {folder}: the model was trained without the edges of objects; leave it out")

    def instance_map(self, item: Item) -> Path | None:
        """Return the path of the instance map of an input, whether there is one or not; None for models without edges."""
        if self.options.instances is None:
            return None
        path = Path(self.options.instances) / item.input
        candidates = [path.with_suffix(f".{extension}") for extension in images.LABEL_EXTENSIONS]
        return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])

    def _reading(self, item: Item) -> Reading:
        """Return the options of reading an input. ImageError if it needs an instance map and has none."""
        path = self.instance_map(item)
        if path is not None and not path.is_file():
            raise ImageError(f"has no instance map of its name in {self.options.instances}")
        return replace(self.read_options, instances=path)

    def read(self, item: Item) -> LoadedInput:
        """Read an input. ImageError or OSError if it cannot be read."""
        started, path = time.monotonic(), self.root / item.input
        if images.extension(path) in images.REFUSED_EXTENSIONS:
            raise ImageError(images.refusal(path))
        stat = os.stat(path)
        self.check_output_size(path)
        animated = self._may_be_animated(item) and images.is_animated(path)
        if animated:
            return LoadedInput(item, None, None, fingerprint(path, stat), started)
        how = self._reading(item)
        map_stat = None if how.instances is None else os.stat(how.instances)
        picture = images.read(path, how=how)
        loaded = LoadedInput(item, picture, self._tile(picture), fingerprint(path, stat), started)
        if how.instances is not None and map_stat is not None:
            loaded.instances = fingerprint(how.instances, map_stat)
        return loaded

    def check_output_size(self, path: Path) -> None:
        """Check that an output that is larger than its input has as many pixels as are allowed. ImageError if it has more."""
        height, width = images.read_size(path) if self.scale > 1 else (0, 0)
        if math.prod((height, width, self.scale, self.scale)) > self.options.max_pixels:
            raise ImageError(
                f"{width}×{height} becomes {self.scale * width}×{self.scale * height}, which is more than "
                f"{self.options.max_pixels} pixels; raise --max-pixels to allow it"
            )

    def _may_be_animated(self, item: Item) -> bool:
        """Return True if an animation is converted to an animation."""
        if self.read_options.labels is not None:
            return False
        formats = images.extension(item.input), self.format(item)
        return all(fmt in images.ANIMATED for fmt in formats) and not self.options.first_frame

    def network_size(self, loaded: LoadedInput) -> tuple[int, int] | None:
        """Return the padded size of an input. Only images of one size may share a batch, so that no statistic changes.

        None for an input that is translated by itself.
        """
        if loaded.picture is None or loaded.tile is not None:
            return None
        return self.translator.padded_size(loaded.picture.height, loaded.picture.width)

    def translate_frames(self, item: Item, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Translate frames of a video, (H, W, C) of one size and type, to frames of that type or of 8 bits.

        ImageError, RuntimeError or MemoryError if that fails.
        """
        depths, pictures = (frames[0].dtype.name,), [Picture(frame) for frame in frames]
        tile = self._tile(pictures[0])
        if len(frames) == 1 or tile is not None:
            return [self._pixels(item, picture, tile, depths) for picture in pictures]
        return self.translator.translate_pixels(
            frames, self.options.to, seed=self.options.seed, samples=[item.sample or 0], style=self._style_code,
            pixels=self.options.pixels, allowed_depths=[depths] * len(frames),
        )  # fmt: skip

    def translate(self, batch: Sequence[LoadedInput]) -> list[TranslatedItem]:
        """Translate inputs of one `network_size`, or a single one. ImageError, RuntimeError or MemoryError if that fails."""
        first, *others = batch
        if first.picture is None:
            return [self._translate_animation(first.item)]
        if not others:
            return [self._still(first.item, first.picture, self._pixels(first.item, first.picture, first.tile))]
        pictures = [loaded.picture for loaded in batch if loaded.picture is not None]
        results = self.translator.translate_pixels(
            [picture.pixels for picture in pictures], self.options.to, seed=self.options.seed, pixels=self.options.pixels,
            samples=[loaded.item.sample or 0 for loaded in batch], style=self._style_code,
            stored=[self._stored_type(picture) for picture in pictures],
            allowed_depths=[self._allowed_depths(loaded.item) for loaded in batch],
        )  # fmt: skip
        return [
            self._still(loaded.item, picture, pixels)
            for loaded, picture, pixels in zip(batch, pictures, results, strict=True)
        ]

    @property
    def _style_code(self) -> Tensor | None:
        return None if self.style is None else self.style.code

    def _allowed_depths(self, item: Item) -> tuple[str, ...]:
        """Return the data types that the format of an output has."""
        return images.WRITERS[self.format(item)].depths

    def _stored_type(self, picture: Picture) -> StoredType:
        """Return the data type of an input's file, and the range that was declared for it."""
        return StoredType(picture.dtype, self.options.declared_range)

    def _tile(self, picture: Picture) -> int | None:
        """Choose the tile size. ImageError if the image does not fit into memory in any way."""
        try:
            return self.planner.choose_tile(picture.height, picture.width, self.options.tile, self.scratch)
        except tiling.DoesNotFitError as e:
            raise ImageError(str(e)) from None

    def _pixels(
        self, item: Item, picture: Picture, tile: int | None, depths: Sequence[str] | None = None
    ) -> np.ndarray:
        """Translate one image: in tiles if the estimate says so, or after memory has run out.

        `depths`: data types that the output may have; without them, those of its format.
        """
        options, allowed_depths = self.options, depths or self._allowed_depths(item)
        if tile is None:
            try:
                (whole,) = self.translator.translate_pixels(
                    [picture.pixels],
                    options.to,
                    seed=options.seed,
                    samples=[item.sample or 0],
                    style=self._style_code,
                    pixels=options.pixels,
                    stored=[self._stored_type(picture)],
                    allowed_depths=[allowed_depths],
                )
                return whole
            except (RuntimeError, MemoryError) as e:
                if not (is_out_of_memory(e) and options.tile == "auto" and self.tileable):
                    raise
            tile = self.planner.max_tile
        if self.translator.runtime != "torch":
            picture.notices.append("large: translated in tiles, by the layers of torch")
        translate_in_tiles = tiling.TiledTranslation(
            self.translator, options.to, tile=tile, scratch=self.scratch, seed=options.seed, pixels=options.pixels,
            allowed_depths=allowed_depths, stored=self._stored_type(picture), sample=item.sample or 0,
        )  # fmt: skip
        return translate_in_tiles(picture.pixels)

    def _still(self, item: Item, picture: Picture, pixels: np.ndarray) -> TranslatedItem:
        pixels, unmarked = self._watermarked(item, pixels)
        nodata = images.nodata_for(picture.nodata, pixels.dtype)
        if picture.empty is not None or picture.nodata is not None:
            pixels = images.put_nodata(pixels, fit_alpha(picture.empty, pixels.shape, self.scale), nodata)
        declared = None if picture.nodata is None or nodata is None else f"{nodata:.17g}"
        metadata, removed = self._kept(picture.metadata)
        metadata = replace(metadata, nodata=declared)
        result = Picture(pixels, fit_alpha(picture.alpha, pixels.shape, self.scale), metadata=metadata)
        _, lost = images.supported_by(metadata, self.format(item), pixels.shape[2])
        notices = (*picture.notices, *self._lost(item, picture), *removed, *unmarked, *lost)
        return TranslatedItem(result, self._without_kept(notices))

    def _translate_animation(self, item: Item) -> TranslatedItem:
        """Translate an animation frame by frame: one frame at a time is in memory, beside the encoded ones."""
        fmt = self.format(item)
        unmarked: list[str] = []
        with images.open_animation(self.root / item.input, self.read_options) as animation:

            def frames() -> Iterator[Frame]:
                for frame in animation:
                    pixels = self._pixels(item, frame.picture, self._tile(frame.picture))
                    pixels, unmarked[:] = self._watermarked(item, pixels)
                    alpha = fit_alpha(frame.picture.alpha, pixels.shape, self.scale)
                    yield Frame(Picture(pixels, alpha), frame.duration)

            metadata, removed = self._kept(animation.metadata)
            data = images.encode_animation(frames(), fmt, animation.play_count, self.options.quality, metadata)
            _, lost = images.supported_by(metadata, fmt, self.translator.output_channels(self.options.to))
            played = images.animation_notices(fmt, animation.play_count)
            return TranslatedItem(data, self._without_kept((*animation.notices, *played, *removed, *unmarked, *lost)))

    def _without_kept(self, notices: tuple[str, ...]) -> tuple[str, ...]:
        """Return notices without that of content credentials where the output has them as an ingredient."""
        if self.signer is None or self.options.strip_gps:
            return notices
        return tuple(notice for notice in notices if notice != images.CREDENTIALS_NOTICE)

    def _watermarked(self, item: Item, pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Return the pixels of an output, with the watermark if asked for, and notices. ImageError if it gets none."""
        if not self.options.watermark:
            return pixels, []
        if (fmt := self.format(item)) in WITHOUT_WATERMARK:
            raise ImageError(f"{fmt} holds no watermark; use --format png, or leave --watermark out")
        return images.add_watermark(pixels)

    def _kept(self, metadata: Metadata | None) -> tuple[Metadata, list[str]]:
        """Return the metadata of an output, from that of its input, and notices of what was removed."""
        metadata = (metadata or Metadata()).enlarged(self.scale)
        removed: list[str] = []
        if self.options.strip_gps:
            metadata, removed = metadata.without_place()
        return metadata.with_mark(self.mark) if self.options.mark else metadata, removed

    def encode(self, loaded: LoadedInput, translated: TranslatedItem) -> bytes:
        """Encode an output, and sign it where that is asked for. ImageError if its format cannot hold it."""
        fmt, data = self.format(loaded.item), translated.result
        if not isinstance(data, bytes):
            data = images.encode(data, fmt, self.options.quality)
        if self.signer is None:
            return data
        # what was signed before may say where a photo was taken
        source = None if self.options.strip_gps else self.root / loaded.item.input
        data, notices = self.signer.sign(data, fmt, PurePosixPath(loaded.item.output).name, self.mark, source)
        translated.notices = (*translated.notices, *notices)
        return data

    def encode_and_stage(self, loaded: LoadedInput, translated: TranslatedItem) -> StagedOutput:
        """Encode an output and write it under a temporary name. StorageError if the disk is full or not writable."""
        try:
            data = self.encode(loaded, translated)
            temporary = atomic.stage(self.output / loaded.item.output, data, self.tag)
            written = temporary.stat().st_mtime_ns
        except ImageError as e:
            return self.failed(loaded.item, e, loaded.started)
        except OSError as e:
            if atomic.is_storage_failure(e):
                raise StorageError(
                    f"{self.output}: cannot be written: {e.strerror}; run the same command again to resume"
                ) from e
            return self.failed(loaded.item, e, loaded.started)
        line = self.done_line(
            loaded.item,
            loaded.started,
            hashlib.sha256(data).hexdigest(),
            len(data),
            loaded.made_from,
            translated.notices,
        )
        instances = {} if loaded.instances is None else {"instances": loaded.instances}
        return StagedOutput(loaded.item, {**line, **instances, "written": written}, temporary)

    def done_line(
        self,
        item: Item,
        started: float,
        sha256: str,
        size: int,
        made_from: Fingerprint,
        notices: Sequence[str],
    ) -> ManifestLine:
        """Return the line of an output, but for the time at which it was written."""
        return {
            "input": item.input,
            "output": item.output,
            **_sample_field(item),
            "status": "done",
            "error": None,
            "seconds": round(time.monotonic() - started, 3),
            "sha256": sha256,
            "bytes": size,
            "made_from": made_from,
            "model": self.translator.sha256,
            **({"origin": self.translator.origin} if self.translator.origin else {}),
            "settings": self.settings,
            **({"notices": notices} if notices else {}),
        }

    def failed(self, item: Item, error: Exception, started: float) -> StagedOutput:
        """Describe a failure."""
        seconds = round(time.monotonic() - started, 3)
        names = {"input": item.input, "output": item.output, **_sample_field(item)}
        line = {**names, "status": "failed", "error": failure_reason(error)}
        return StagedOutput(item, {**line, "seconds": seconds, "sha256": None})

    def format(self, item: Item) -> str:
        """Return the row of images.WRITERS for the output."""
        return self.fmt or output_format(item.input, self.options.format)

    def _lost(self, item: Item, picture: Picture) -> Iterator[str]:
        """Yield a notice for everything of the image that the output does not hold."""
        fmt, ext = self.format(item), images.extension(item.input)
        if self.options.format == "keep" and self.fmt is None and images.writer_for(ext) is None:
            yield f"{ext} is written as {fmt}"
        writer, given, to = images.WRITERS[fmt], self._stored_type(picture), self.options.to
        wanted, written = (self.translator.output_type(given, to, depths) for depths in (images.DEPTHS, writer.depths))
        if wanted.dtype != written.dtype:
            yield f"{fmt} does not hold {wanted.dtype} values; they are scaled to {written.dtype}"
        if wanted.range is None and given.dtype.kind == "i":
            yield f"the output domain has no negative values: {given.dtype} becomes {written.dtype}"
        if picture.empty is not None and images.nodata_for(picture.nodata, written.dtype) is None:
            yield f"{written.dtype} does not hold its NoData: pixels without a value are 0"
        if picture.alpha is not None and not writer.alpha:
            yield f"{fmt} holds no transparency, so it is on {self.options.background}"


def _sample_field(item: Item) -> dict[str, int]:
    """Return the field of a manifest line for the number of a sample; none for the only output of an input."""
    return {} if item.sample is None else {"sample": item.sample}


def failure_reason(error: Exception) -> str:
    """Return the reason of a failure on one line."""
    return one_line(error) if str(error) else "out of memory"
