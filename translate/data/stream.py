"""Tier `stream`: every image is decoded each time, by workers or on the device; memory does not grow with the data."""

from collections.abc import Iterator

import torch

from translate.data import augment, nvjpeg, workers
from translate.data.source import Batch, Buffers, Numbered, Source, send_ahead
from translate.data.workers import Found


class Stream:
    """Images of a source as they come from its files."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._probe()

    def _probe(self) -> None:
        """DataError unless each domain has an image that can be read, and paired data a whole pair."""
        source = self.source
        for names in [source.domains] if source.split.paired else [(name,) for name in source.domains]:
            rows = zip(*(source.refs(name) for name in names), strict=True)
            whole = any(source.note(row, source.decode(names, i)) for i, row in enumerate(rows))
            source.need_one(whole, source.refs(names[0]))
        if (
            source.albumentations is not None
        ):  # what is wrong with a recipe is said here, in one line, and not by a worker
            self._dataset().load(0)

    def _dataset(self) -> workers.Images:
        source = self.source
        return workers.Images(
            source.split, source.recipe, source.order, source.domains, source.albumentations,
            contents=source.recipe.decoder == "nvjpeg",
        )  # fmt: skip

    def batches(self, start: int) -> Iterator[Numbered]:
        """From image `start` of the run on, without end."""
        if self.source.device.type != "cpu":
            return send_ahead(self.source, self._stacked(start))
        return self._normalised(start)

    def _normalised(self, start: int) -> Iterator[Numbered]:
        """On the CPU: into buffers that are used in turn."""
        buffers = Buffers(self.source.steps.batch_size, self.source.dtype)
        for numbers, rows in self._rows(start):
            batch = _labels(rows)
            for name in self.source.domains:
                column = [row[name] for row in rows]
                workers.check_sizes(column)
                batch[name] = buffers.next(name, tuple(column[0].shape))
                for image, place in zip(column, batch[name].unbind(), strict=True):
                    augment.normalise(image, place, self.source.declared(name))
            yield numbers, batch

    def _stacked(self, start: int) -> Iterator[Numbered]:
        for numbers, rows in self._rows(start):
            batch = _labels(rows)
            for name in self.source.domains:
                column, declared = [row[name] for row in rows], self.source.declared(name) is not None
                batch[name] = workers.stack(column, declared, self.source.dtype)
            yield numbers, batch

    def _rows(self, start: int) -> Iterator[tuple[workers.Numbers, list[Found]]]:
        """Step by step: for each image of it, domain → (C, H, W) cut, as it is stored, and its label."""
        source, size = self.source, self.source.steps.batch_size
        dataset = self._dataset()
        finish = nvjpeg.Finisher(dataset, source.device) if dataset.contents else None
        numbered = (numbers for block in source.steps.from_image(start) for numbers in block)
        for found, skipped in workers.chunks(dataset, source.steps.from_image(start), size, source.workers):
            for first in range(0, len(found), size):
                numbers, rows = next(numbered), found[first : first + size]
                if finish is not None:
                    rows, more = finish(rows, numbers.tolist())
                    skipped |= more
                for path, reason in skipped.items():
                    source.skip(path, reason)
                yield numbers, rows


def _labels(rows: list[Found]) -> Batch:
    """A batch with the labels of its images alone; empty where there are none."""
    return {"label": torch.stack([row["label"] for row in rows])} if "label" in rows[0] else {}
