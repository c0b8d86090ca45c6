"""Tier `stream`: every image is decoded each time, by workers or on the device; memory does not grow with the data."""

from collections.abc import Iterator

import torch

from translate.data import crop_flip, nvjpeg, stream_dataset
from translate.data.loader_context import Batch, BufferRing, LoaderContext, NumberedBatch, prefetch_to_device
from translate.data.stream_dataset import Sample


class StreamingSource:
    """Images of a source as they come from its files."""

    def __init__(self, source: LoaderContext) -> None:
        self.context = source
        self._probe()

    def _probe(self) -> None:
        """DataError unless each domain has an image that can be read, and paired data a whole pair."""
        source = self.context
        for names in [source.domains] if source.split.paired else [(name,) for name in source.domains]:
            rows = zip(*(source.refs(name) for name in names), strict=True)
            whole = any(source.skip_unreadable(row, source.decode(names, i)) for i, row in enumerate(rows))
            source.require_readable(whole, source.refs(names[0]))
        if (
            source.albumentations is not None
        ):  # what is wrong with a recipe is said here, in one line, and not by a worker
            self._dataset().load_uncropped(0)

    def _dataset(self) -> stream_dataset.StreamDataset:
        source = self.context
        return stream_dataset.StreamDataset(
            source.split, source.preprocessing, source.sampler, source.domains, source.albumentations,
            keep_encoded=source.preprocessing.decoder == "nvjpeg",
        )  # fmt: skip

    def batches(self, start: int) -> Iterator[NumberedBatch]:
        """From image `start` of the run on, without end."""
        if self.context.device.type != "cpu":
            return prefetch_to_device(self.context, self._stacked(start))
        return self._normalised(start)

    def _normalised(self, start: int) -> Iterator[NumberedBatch]:
        """On the CPU: into buffers that are used in turn."""
        buffers = BufferRing(self.context.batch_sampler.batch_size, self.context.dtype)
        for numbers, rows in self._rows(start):
            batch = _labels(rows)
            for name in self.context.domains:
                column = [row[name] for row in rows]
                stream_dataset.check_same_size(column)
                batch[name] = buffers.next(name, tuple(column[0].shape))
                for image, place in zip(column, batch[name].unbind(), strict=True):
                    crop_flip.normalise_into(image, place, self.context.declared_range(name))
            yield numbers, batch

    def _stacked(self, start: int) -> Iterator[NumberedBatch]:
        for numbers, rows in self._rows(start):
            batch = _labels(rows)
            for name in self.context.domains:
                column, declared = [row[name] for row in rows], self.context.declared_range(name) is not None
                batch[name] = stream_dataset.stack_images(column, declared, self.context.dtype)
            yield numbers, batch

    def _rows(self, start: int) -> Iterator[tuple[stream_dataset.ImageNumbers, list[Sample]]]:
        """Step by step: for each image of it, domain → (C, H, W) cut, as it is stored, and its label."""
        source, size = self.context, self.context.batch_sampler.batch_size
        dataset = self._dataset()
        finish = nvjpeg.NvjpegDecoder(dataset, source.device) if dataset.keep_encoded else None
        numbered = (numbers for block in source.batch_sampler.blocks_from(start) for numbers in block)
        for found, skipped in stream_dataset.iterate_chunks(
            dataset, source.batch_sampler.blocks_from(start), size, source.workers
        ):
            for first in range(0, len(found), size):
                numbers, rows = next(numbered), found[first : first + size]
                if finish is not None:
                    rows, more = finish(rows, numbers.tolist())
                    skipped |= more
                for path, reason in skipped.items():
                    source.skip(path, reason)
                yield numbers, rows


def _labels(rows: list[Sample]) -> Batch:
    """A batch with the labels of its images alone; empty where there are none."""
    return {"label": torch.stack([row["label"] for row in rows])} if "label" in rows[0] else {}
