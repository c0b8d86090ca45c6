"""Tier `stream`: every image is decoded each time, by workers or on the device; memory use does not grow with the data."""

from collections.abc import Iterator

import torch

from translate.data import crop_flip, nvjpeg, stream_dataset
from translate.data.loader_context import Batch, BufferRing, LoaderContext, NumberedBatch, prefetch_to_device
from translate.data.sampler import LABELS
from translate.data.stream_dataset import Sample


class StreamingSource:
    """Source of batches that reads each image from its file when it is needed."""

    def __init__(self, context: LoaderContext) -> None:
        """Read images until each domain has a readable one; DataError where one has none, or pairs have no whole pair."""
        self.context = context
        for domains in context.split.domain_groups:
            rows = zip(*(context.split.refs(domain) for domain in domains), strict=True)
            readable = any(context.skip_unreadable(row, context.load_group(domains, i)) for i, row in enumerate(rows))
            context.require_readable(readable, context.split.refs(domains[0]))
        if context.albumentations is not None:  # report a bad recipe here, in one line, and not from a worker
            self._dataset().load_uncropped(0)

    def _dataset(self) -> stream_dataset.StreamDataset:
        context = self.context
        return stream_dataset.StreamDataset(
            context.split, context.preprocessing, context.sampler, context.albumentations,
            keep_encoded=context.preprocessing.decoder == "nvjpeg",
        )  # fmt: skip

    def batches(self, start: int) -> Iterator[NumberedBatch]:
        """Yield batches from image `start` of the run on, without end."""
        if self.context.device.type != "cpu":
            return prefetch_to_device(self.context, self._stacked(start))
        return self._normalised(start)

    def _normalised(self, start: int) -> Iterator[NumberedBatch]:
        """Yield batches on the CPU, normalised into buffers that are reused in turn."""
        buffers = BufferRing(self.context.batch_sampler.batch_size, self.context.dtype)
        for numbers, samples in self._samples(start):
            batch = _labels(samples)
            for domain in self.context.split.domains:
                column = [sample[domain] for sample in samples]
                stream_dataset.check_same_size(column)
                batch[domain] = buffers.next(domain, tuple(column[0].shape))
                for image, target in zip(column, batch[domain].unbind(), strict=True):
                    crop_flip.normalise_into(image, target, self.context.declared_range(domain))
            yield numbers, batch

    def _stacked(self, start: int) -> Iterator[NumberedBatch]:
        """Yield batches on the host, as they are stored."""
        for numbers, samples in self._samples(start):
            batch = _labels(samples)
            for domain in self.context.split.domains:
                column = [sample[domain] for sample in samples]
                declared = self.context.declared_range(domain) is not None
                batch[domain] = stream_dataset.stack_images(column, declared, self.context.dtype)
            yield numbers, batch

    def _samples(self, start: int) -> Iterator[tuple[stream_dataset.ImageNumbers, list[Sample]]]:
        """Yield the image numbers and the cropped samples of each step, at their own depth."""
        context, size = self.context, self.context.batch_sampler.batch_size
        dataset = self._dataset()
        decoder = nvjpeg.NvjpegDecoder(dataset, context.device) if dataset.keep_encoded else None
        steps = (numbers for block in context.batch_sampler.blocks_from(start) for numbers in block)
        for chunk, skipped in stream_dataset.iterate_chunks(
            dataset, context.batch_sampler.blocks_from(start), size, context.workers, context.say
        ):
            for first in range(0, len(chunk), size):
                numbers, samples = next(steps), chunk[first : first + size]
                if decoder is not None:
                    samples, more = decoder(samples, numbers.tolist())
                    skipped |= more
                for path, reason in skipped.items():
                    context.skip(path, reason)
                yield numbers, samples


def _labels(samples: list[Sample]) -> Batch:
    """Batch with the labels of its images alone; empty where there are none."""
    names = [name for name in LABELS.values() if name in samples[0]]
    return {name: torch.stack([sample[name] for sample in samples]) for name in names}
