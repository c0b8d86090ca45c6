"""JPEG files decoded, resized and cut on a CUDA device: the workers only read them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from translate.data.preprocessing import RESIZERS, select_half, target_size
from translate.data.stream_dataset import Sample, SkippedFiles, StreamDataset, require_complete

Decode = Callable[[Sequence[Tensor], int], list[Tensor]]
"""JPEG contents (1-D uint8 on the host) and the channels wanted → (C, H, W) uint8 each, on the device. RuntimeError if one is
damaged."""


def decode_on(device: torch.device) -> Decode:
    """Of all in one call of nvJPEG."""
    from torchcodec.decoders import decode_jpeg

    def decode(contents: Sequence[Tensor], channels: int) -> list[Tensor]:
        return decode_jpeg(list(contents), mode="RGB" if channels == 3 else "GRAY", device=device)

    return decode


class NvjpegDecoder:
    """What the workers of `dataset` give (contents, and images of other formats at load size) → images cut, on the device."""

    def __init__(self, dataset: StreamDataset, device: torch.device, decode: Decode | None = None) -> None:
        self.dataset, self.device, self.decode = dataset, device, decode or decode_on(device)

    def __call__(self, found: list[Sample], numbers: Sequence[int]) -> tuple[list[Sample], SkippedFiles]:
        """Images of the run by domain, as `StreamDataset` gives them; a damaged one is replaced as there.

        DataError where a domain has no file left that can be read.
        """
        skipped: SkippedFiles = {}
        try:
            decoded = self._decoded(found)
        except RuntimeError:  # which of them is damaged, nvJPEG does not say
            decoded = []
            for row, n in zip(found, numbers, strict=True):
                try:
                    decoded += self._decoded([row])
                except RuntimeError:
                    on_host, bad = self.dataset.load_uncropped(n)
                    decoded.append({name: x if name == "label" else x.to(self.device) for name, x in on_host.items()})
                    skipped |= bad
        require_complete(decoded, skipped)
        self.dataset.crop_and_flip(decoded, numbers)
        return decoded, skipped

    def _decoded(self, found: list[Sample]) -> list[Sample]:
        """All at load size on the device."""
        preprocessing, paired = self.dataset.preprocessing, self.dataset.split.paired
        out: list[Sample] = [{name: x for name, x in row.items() if name == "label"} for row in found]
        for side, name in enumerate(self.dataset.domains):
            half = self.dataset.refs(name)[0].half
            raw = [i for i, row in enumerate(found) if row[name].ndim == 1]
            decoded = self.decode([found[i][name] for i in raw], preprocessing.channels[side]) if raw else []
            images = {i: select_half(image, half) for i, image in zip(raw, decoded, strict=True)}
            for i, row in enumerate(found):
                if i not in images:
                    out[i][name] = row[name].to(self.device, non_blocking=True)
                    continue
                partner = out[i].get("a") if paired else None
                size = (
                    target_size(images[i], preprocessing) if partner is None else (partner.shape[1], partner.shape[2])
                )
                out[i][name] = RESIZERS["torch"](images[i], *size)
        return out
