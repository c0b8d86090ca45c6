"""JPEG files decoded, resized and cropped on a CUDA device: the workers only read them."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from translate.data.preprocessing import RESIZERS, select_half, target_size
from translate.data.sampler import LABELS
from translate.data.stream_dataset import Sample, SkippedFiles, StreamDataset, require_complete

Decode = Callable[[Sequence[Tensor], int], list[Tensor]]
"""Function of JPEG contents (1-D uint8 on the host) and a number of channels that gives (C, H, W) uint8 each, on the device.

It raises RuntimeError where one is damaged."""


def decode_on(device: torch.device) -> Decode:
    """Return a function that decodes many JPEG files in one call of nvJPEG."""
    from torchcodec.decoders import decode_jpeg

    def decode(contents: Sequence[Tensor], channels: int) -> list[Tensor]:
        pixels: Any = decode_jpeg(list(contents), mode="RGB" if channels == 3 else "GRAY", device=device)
        return cast(list[Tensor], pixels)

    return decode


class NvjpegDecoder:
    """Decoder on the device of the samples of a `StreamDataset` with `keep_encoded`: gives cropped images.

    What the workers decoded themselves (formats other than JPEG) is copied to the device and cropped there.
    """

    def __init__(self, dataset: StreamDataset, device: torch.device, decode: Decode | None = None) -> None:
        self.dataset, self.device, self.decode = dataset, device, decode or decode_on(device)

    def __call__(self, samples: list[Sample], numbers: Sequence[int]) -> tuple[list[Sample], SkippedFiles]:
        """Decode and crop images of the run, as `StreamDataset` gives them; a damaged one is replaced as there.

        Raise DataError where a domain has no file left that can be read.
        """
        skipped: SkippedFiles = {}
        try:
            decoded = self._decoded(samples)
        except RuntimeError:  # nvJPEG does not say which of them is damaged
            decoded = []
            for sample, n in zip(samples, numbers, strict=True):
                try:
                    decoded += self._decoded([sample])
                except RuntimeError:
                    on_host, unreadable = self.dataset.load_uncropped(n)
                    decoded.append(
                        {name: x if name in LABELS.values() else x.to(self.device) for name, x in on_host.items()}
                    )
                    skipped |= unreadable
        require_complete(decoded, skipped)
        self.dataset.crop_and_flip(decoded, numbers)
        return decoded, skipped

    def _decoded(self, samples: list[Sample]) -> list[Sample]:
        """Return the samples at load size on the device."""
        preprocessing, split = self.dataset.preprocessing, self.dataset.split
        out: list[Sample] = [{name: x for name, x in sample.items() if name in LABELS.values()} for sample in samples]
        for side, domain in enumerate(split.domains):
            half = split.refs(domain)[0].half
            encoded = [i for i, sample in enumerate(samples) if sample[domain].ndim == 1]
            contents = [samples[i][domain] for i in encoded]
            decoded = self.decode(contents, preprocessing.channels[side]) if encoded else []
            images = {i: select_half(image, half) for i, image in zip(encoded, decoded, strict=True)}
            for i, sample in enumerate(samples):
                if i not in images:
                    out[i][domain] = sample[domain].to(self.device, non_blocking=True)
                    continue
                partner = out[i].get("a") if split.paired else None
                size = (
                    target_size(images[i], preprocessing) if partner is None else (partner.shape[1], partner.shape[2])
                )
                out[i][domain] = RESIZERS["torch"](images[i], *size)
        return out
