"""Augmentation by translation while a classifier, detector or other network trains: some items of a data set are translated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from translate import keyed_random
from translate.errors import UsageError
from translate.trained.array_images import TOLERANCE
from translate.trained.translator import Translator, load


class Augmented(Dataset[Any]):
    """Map-style data set that translates the images of another with probability `p`, and leaves labels as they are.

    Args:
        dataset: A map-style data set. Its items are images, or tuples or lists that begin with one: Pillow images; uint8 or
            floating-point tensors (C, H, W) of 0 to 255 or [0, 1]; arrays as a Translator takes them.
        model: A Translator, or what `translate.load` takes: the model is then loaded in each worker process, on `device`.
        p: Probability of a translation, 0 to 1.
        seed: Seed of the draws. The item of an index in an epoch is a pure function of index, epoch and seed, in whatever
            process and order it is asked for.
        to: Target domain, or several, of which one is drawn for each item.
        device: Device of a model that is loaded: the CPU for the workers of a DataLoader.

    UsageError for probabilities and items that are not possible, ModelError for a model that cannot be used.
    """

    def __init__(
        self, dataset: Any, model: str | Path | Translator, p: float = 0.5, seed: int = 0, *,
        to: str | Sequence[str] = "b", device: str = "cpu",
    ) -> None:  # fmt: skip
        if not 0 <= p <= 1:
            raise UsageError(f"p {p}: must be from 0 to 1")
        self.dataset, self.p, self.seed, self.device = dataset, p, seed, device
        self.targets = (to,) if isinstance(to, str) else tuple(to)
        self._model = model
        self._translator = model if isinstance(model, Translator) else None
        # in memory that worker processes share, so that those that are at work already see it
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        for target in self.targets:
            self.translator.check_target(target)

    @property
    def translator(self) -> Translator:
        """The model; it is loaded when a process first needs it."""
        if self._translator is None:
            # Not "auto", which times both ways: workers could choose differently, and round differently.
            self._translator = load(self._model, device=self.device, convolution="direct")  # type: ignore[arg-type]
        return self._translator

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for an epoch, 0 at first; call it before each epoch, as that of a DistributedSampler."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        index = index + len(self) if index < 0 else index
        item = self.dataset[index]
        key = torch.tensor([keyed_random.derive_key(self.seed, "augmented", int(self._epoch), index)])
        if keyed_random.uniform(key, "chosen").item() >= self.p:
            return item
        target = self.targets[int(keyed_random.uniform(key, "target").item() * len(self.targets))]
        if isinstance(item, (tuple, list)):
            if not item:
                raise UsageError(f"item {index} of the data set is empty; its first element must be an image")
            translated = [self._translate(item[0], target), *item[1:]]
            return translated if isinstance(item, list) else tuple(translated)
        return self._translate(item, target)

    def _translate(self, image: Any, to: str) -> Any:
        sample = int(self._epoch) if self.translator.has_noise(to) else 0
        return translate_image(self.translator, image, to, seed=self.seed, sample=sample)

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to a worker process: the name of a model instead of the model."""
        kept = self._translator if isinstance(self._model, Translator) else None
        return {**self.__dict__, "_translator": kept}


def translate_image(translator: Translator, image: Any, to: str, *, seed: int = 0, sample: int = 0) -> Any:
    """Translate one image of a kind that pipelines of classifiers hold, and return the same kind.

    image: a Pillow image, an array (H, W) or (H, W, C), or a tensor (C, H, W), uint8 or of floats in [0, 1]. UsageError for
    others, and for values beyond their range by more than a twentieth of it.
    """
    if isinstance(image, (Image.Image, np.ndarray)):
        return translator(image, to, seed=seed, sample=sample)
    if not isinstance(image, Tensor) or image.ndim != 3:
        shape = f" of shape {tuple(image.shape)}" if isinstance(image, Tensor) else ""
        raise UsageError(
            f"cannot translate a {type(image).__name__}{shape}; give a Pillow image, an array, or a tensor (C, H, W)"
        )
    return translate_batch(translator, image[None], to, seed=seed, sample=sample)[0]


def translate_batch(translator: Translator, batch: Tensor, to: str, *, seed: int = 0, sample: int = 0) -> Tensor:
    """Translate a tensor (N, C, H, W), uint8 or of floats in [0, 1], to one of the same type and on the same device."""
    if batch.dtype == torch.uint8:
        result = translator(batch.float() / 127.5 - 1, to, seed=seed, sample=sample)
        return ((result + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    if not batch.is_floating_point():
        raise UsageError(f"a tensor of {str(batch.dtype).removeprefix('torch.')}; give uint8, or floats from 0 to 1")
    low, high = (float(end) for end in batch.aminmax())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise UsageError(
            f"a tensor with values from {low:g} to {high:g}; augmentation takes floats from 0 to 1: translate before Normalize"
        )
    return (translator(2 * batch.clamp(0, 1) - 1, to, seed=seed, sample=sample) + 1) / 2
