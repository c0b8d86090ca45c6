"""Sampler: a trained model as a function of noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from translate import images, keyed_random
from translate.convolution_choice import CONVERSION, Probe, resolve_convolution, set_convolutions
from translate.errors import ModelError, UsageError
from translate.runtime.precision import resolve_precision
from translate.trained.arithmetic import check_finite
from translate.trained.folder import TrainedModel
from translate.trained.model_info import DomainInfo


class ImageSampler:
    """Function that generates images with a trained model: numbers → images.

    ModelError if the model does not generate images from noise.
    """

    def __init__(
        self, model: TrainedModel, device: torch.device, precision: str = "fp32", convolution: str = "auto"
    ) -> None:
        self.method, self.info, self.sha256, self.device = model.method, model.info, model.sha256, device
        self.source = model.source
        if not self.method.sampling_networks:
            raise ModelError(
                f"{model.source}: translates images and does not generate them from noise; use translate convert"
            )
        self.precision = resolve_precision(precision, device)
        setting = resolve_convolution(convolution, self.precision)
        for attribute in self.method.sampling_networks:
            self.method.get_submodule(attribute).to(device, self.precision.weights)
        self.method.eval()
        self._prepared_for: list[float | None] = []
        probe = Probe(lambda: self([0]), CONVERSION, batch=1, scale=1.0)
        set_convolutions(self.method, setting, {}, lambda: probe, lambda line: None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that the model was trained on; empty if it was trained without."""
        return self.method.classes

    @property
    def domain_info(self) -> DomainInfo:
        """Description of the images that it generates."""
        return next(iter(self.info.domains.values()))

    @property
    def value_range(self) -> images.ValueRange | None:
        """Stored values that −1 and 1 stand for; None if they were not declared."""
        declared = self.domain_info.get("values")
        return (declared[0], declared[1]) if declared else None

    def __call__(
        self,
        numbers: Sequence[int],
        seed: int = 0,
        of_class: str | None = None,
        *,
        labels: Sequence[int] | None = None,
        truncation: float | None = None,
    ) -> Tensor:
        """Generate the images (N, C, H, W) in [-1, 1] of the given numbers.

        `of_class`: None takes the classes in turn; or `labels` has the index of each image's class. The same number, seed,
        class and truncation give the same image in any batch, to the rounding of float32: batches of other sizes may be
        convolved by other kernels. `truncation` is one that `check_truncation` allows.
        """
        key = keyed_random.image_keys(seed, torch.tensor(list(numbers))).to(self.device)
        label = None
        if self.classes:
            chosen = [self.class_of(n, of_class) for n in numbers] if labels is None else list(labels)
            label = torch.tensor(chosen, device=self.device)
        given = {} if truncation is None else {"truncation": truncation}
        with torch.inference_mode(), self.precision.autocast(self.device):
            if self._prepared_for != [truncation]:
                self.method.prepare_sampling(truncation)
                self._prepared_for = [truncation]
            made = self.method.sample(key, label, **given)
            made = made.to(torch.promote_types(self.precision.weights, torch.float32))
        check_finite(made, self.precision)
        return made

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of the model's classes for images (N, C, H, W) in [-1, 1]."""
        with torch.inference_mode(), self.precision.autocast(self.device):
            return self.method.classify(x.to(self.device, self.precision.weights)).float()

    def class_of(self, number: int, of_class: str | None) -> int:
        """Return the index of the class of an image."""
        return number % len(self.classes) if of_class is None else self.classes.index(of_class)

    def check_truncation(self, truncation: float | None) -> None:
        """Raise UsageError, which names the flag, for a truncation that the model does not take."""
        limits = self.method.truncation_range
        if truncation is None:
            return
        if limits is None:
            raise UsageError(f"--truncation {truncation:g}: {self.method.name} has no truncation; leave it out")
        low, high = limits
        if not low <= truncation <= high:
            raise UsageError(
                f"--truncation {truncation:g}: must be from {low:g} to {high:g} for {self.method.name}; leave it out for none"
            )
