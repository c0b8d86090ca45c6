"""Store of decoded images, at load size and in their own depth, in host or device memory."""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from translate.images import FULL_RANGES, ImageError

DEPTHS = (*FULL_RANGES, torch.float64)
"""Data types of stored values, from the shallowest to the deepest. No file is read as float64: see `common_depth`."""


class ImageStore:
    """Store of the images of one domain: (M, C, H, W) where all have one size, else one after another in a flat tensor."""

    def __init__(self, decoded: list[Tensor], declared: bool, dtype: torch.dtype) -> None:
        """Store the images `decoded`, (C, h, w) each, of any depth; the list is emptied, so that nothing is held twice.

        Where depths differ, they are scaled to the deepest, unless the range of values was `declared`: then numbers are kept.
        `dtype` is that of the training.
        """
        depth = common_depth(decoded, dtype)
        sizes = {tuple(image.shape) for image in decoded}
        self.channels = decoded[0].shape[0]
        self.uniform = len(sizes) == 1
        self.heights = torch.tensor([image.shape[1] for image in decoded])
        self.widths = torch.tensor([image.shape[2] for image in decoded])
        counts = torch.tensor([image.numel() for image in decoded])
        self.offsets = counts.cumsum(0) - counts
        self.data = torch.empty(int(counts.sum()), dtype=depth)
        for offset in reversed(self.offsets.tolist()):
            image = decoded.pop()
            self.data[offset : offset + image.numel()] = convert_depth(image, depth, declared).reshape(-1)
        if self.uniform:
            self.data = self.data.view(len(self.heights), self.channels, int(self.heights[0]), int(self.widths[0]))

    def image(self, index: int) -> Tensor:
        """Return one image (C, h, w), without a copy."""
        if self.uniform:
            return self.data[index]
        height, width, offset = int(self.heights[index]), int(self.widths[index]), int(self.offsets[index])
        return self.data[offset : offset + self.channels * height * width].view(self.channels, height, width)

    def to(self, device: torch.device) -> "ImageStore":
        """Move the data to a device; sizes and offsets stay on the host, where steps are planned."""
        self.data = self.data.to(device)
        return self

    def pin(self) -> "ImageStore":
        """Pin the data in host memory, so that a GPU can copy it without the host."""
        self.data = self.data.pin_memory()
        return self


def common_depth(decoded: Iterable[Tensor], dtype: torch.dtype) -> torch.dtype:
    """Return the data type that holds all of the images as exactly as a training in `dtype` sees them one by one."""
    depths = {image.dtype for image in decoded}
    if dtype == torch.float64 and len(depths) > 1 and torch.float32 in depths:
        return torch.float64  # a fraction of 255 is rounded otherwise in single precision
    return max(depths, key=DEPTHS.index)


def convert_depth(image: Tensor, depth: torch.dtype, declared: bool) -> Tensor:
    """Convert an image to a depth at least as great as its own, scaled to its full range unless its range was declared."""
    if image.dtype == depth:
        return image
    if declared:
        return image.to(torch.int32).to(depth) if depth == torch.uint16 else image.to(depth)
    if depth == torch.uint16:
        return (image.to(torch.int32) * 257).to(depth)
    return image.to(depth) / FULL_RANGES[image.dtype][1]


Loaded = tuple[Tensor | ImageError, ...]
"""Images that are loaded together, or the reasons why they cannot be read."""


def decode_all(count: int, decode: Callable[[int], Loaded], say: Callable[[str], None], what: str) -> list[Loaded]:
    """Call `decode` for every index, on all cores (decoders and resizers release Python's lock); results are in order.

    `what` is the word for them in the progress messages, one each 10 seconds.
    """
    decoded = []
    reported = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for item in pool.map(decode, range(count)):
            decoded.append(item)
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                say(f"decoded {len(decoded)} of {count} {what}")
    return decoded
