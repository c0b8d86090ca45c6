"""Sampler: a trained model as a function of noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from translate import images, keyed_random
from translate.convolution_choice import Probe, resolve_convolution, set_convolutions
from translate.convolution_timing import CONVERSION
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
        self,
        model: TrainedModel,
        device: torch.device,
        precision: str = "fp32",
        convolution: str = "auto",
        truncation: float | None = None,
        *,
        tune: str = "fast",
    ) -> None:
        """Move the networks to the device. truncation: one in the `truncation_range` of the method; None: none."""
        self.truncation = truncation
        self.method, self.info, self.sha256, self.device = model.method, model.info, model.sha256, device
        self.source = model.source
        if not self.method.sampling_networks:
            raise ModelError(
                f"{model.source}: translates images and does not generate them from noise; use translate convert"
            )
        self._check_truncation()
        self.precision = resolve_precision(precision, device)
        setting = resolve_convolution(convolution, self.precision, tune)
        for attribute in self.method.sampling_networks:
            self.method.get_submodule(attribute).to(device, self.precision.weights)
        self.method.eval()
        with torch.inference_mode(), self.precision.autocast(device):
            self.method.prepare_sampling(truncation)
        label = self.method.blank_text()[None] if self.method.takes_text else None
        probe = Probe(
            lambda: self([0]) if label is None else self._sampled([0], 0, label), CONVERSION, batch=1, scale=1.0
        )
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
        text: str | None = None,
    ) -> Tensor:
        """Generate the images (N, C, H, W) in [-1, 1] of the given numbers.

        `of_class`: None takes the classes in turn; or `labels` has the index of each image's class. `text`: images of a text
        instead; UsageError if the model cannot take it. The same number, seed and class give the same image in any batch, to
        the rounding of float32: batches of other sizes may be convolved by other kernels.
        """
        label = None
        if self.classes:
            chosen = [self.class_of(n, of_class) for n in numbers] if labels is None else list(labels)
            label = torch.tensor(chosen)
        if text is not None:
            label = self.method.encode_text(text).expand(len(numbers), -1)
        return self._sampled(numbers, seed, label)

    def _sampled(self, numbers: Sequence[int], seed: int, label: Tensor | None) -> Tensor:
        """Generate images of the given numbers and labels (N, …)."""
        label = None if label is None else label.to(self.device)
        given = {} if self.truncation is None else {"truncation": self.truncation}
        with torch.inference_mode(), self.precision.autocast(self.device):
            made = self.method.sample(self._keys(numbers, seed), label, **given)
        return self._checked(made)

    def check_styles(self, flag: str) -> None:
        """Raise UsageError, which names a flag that is for style codes, if the model has none."""
        if not self.method.has_styles:
            raise UsageError(
                f"{flag}: is for models with style codes, as stylegan2's, not for {self.method.name}; leave it out"
            )

    def styles(self, numbers: Sequence[int], seed: int = 0) -> Tensor:
        """Return the style codes (N, D) of the images of the given numbers, truncated."""
        with torch.inference_mode(), self.precision.autocast(self.device):
            return self.method.styles(self._keys(numbers, seed), 1.0 if self.truncation is None else self.truncation)

    def from_styles(self, styles: Tensor) -> Tensor:
        """Generate images (N, C, H, W) in [-1, 1] from style codes (N, D)."""
        with torch.inference_mode(), self.precision.autocast(self.device):
            return self._checked(self.method.sample_styles(styles))

    def _keys(self, numbers: Sequence[int], seed: int) -> Tensor:
        return keyed_random.image_keys(seed, torch.tensor(list(numbers))).to(self.device)

    def _checked(self, made: Tensor) -> Tensor:
        """Return images in float32 at least. Raises an error if they are not finite."""
        made = made.to(torch.promote_types(self.precision.weights, torch.float32))
        check_finite(made, self.precision)
        return made

    def class_of(self, number: int, of_class: str | None) -> int:
        """Return the index of the class of an image."""
        return number % len(self.classes) if of_class is None else self.classes.index(of_class)

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of the model's classes for images (N, C, H, W) in [-1, 1]."""
        with torch.inference_mode(), self.precision.autocast(self.device):
            return self.method.classify(x.to(self.device, self.precision.weights)).float()

    def _check_truncation(self) -> None:
        """Raise UsageError, which names the flag, for a truncation that the model does not take."""
        truncation, limits = self.truncation, self.method.truncation_range
        if truncation is None:
            return
        if limits is None:
            raise UsageError(f"--truncation {truncation:g}: {self.method.name} has no truncation; leave it out")
        low, high = limits
        if not low <= truncation <= high:
            raise UsageError(
                f"--truncation {truncation:g}: must be from {low:g} to {high:g} for {self.method.name}; leave it out for none"
            )
