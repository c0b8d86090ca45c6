"""Translator: a trained model as a function of images."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from translate import config, images, keyed_random
from translate.convolution_choice import (
    CONVERSION,
    NOMINAL_SIDE,
    PROBE_SIDE,
    ConvolutionRecord,
    Probe,
    convolutions_restored,
    resolve_convolution,
    set_convolutions,
)
from translate.errors import ModelError, NonFiniteError, UsageError
from translate.nn.base import Generator
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.fast_conv import direct_convolution
from translate.runtime import devices
from translate.runtime.precision import Precision, resolve_precision
from translate.text import one_line, printable
from translate.trained.array_images import check_tensor, fit_alpha, prepare_array
from translate.trained.find import read_model
from translate.trained.folder import TrainedModel
from translate.trained.model_info import DomainInfo

AnyImage = Image.Image | str | Path | np.ndarray | Tensor
"""Kinds of images that a translator takes, and gives back; a path gives a Pillow image."""

PIXEL_MODES = ("rounded", "reference")
"""Ways to make integers of a network's output: rounded to the nearest, or truncated as the reference does."""


class Translator:
    """Function that translates images with a trained model; it gives back the kind of image that it is given.

    The size stays, but for super-resolution, whose outputs are larger by the factor of the model.

    Args:
        model: The trained model. ModelError if it has no generator that translates.
        device: Device to compute on; the generators move there.
        precision: "fp32", "bf16", "fp16", "fp64" or "auto".
        convolution: "direct" or "winograd"; or "auto", the faster of both for each shape: they are timed when the first image
            comes, if this machine has not timed them before.
    """

    def __init__(
        self, model: TrainedModel, device: torch.device, precision: str = "fp32", convolution: str = "auto"
    ) -> None:
        self.method, self.info, self.sha256, self.device = model.method, model.info, model.sha256, device
        self.notices, self.source = model.notices, model.source
        self.name = str(model.source)
        """Name of the model, as a user gave it."""
        self.precision = resolve_precision(precision, device)
        self.convolution = resolve_convolution(convolution, self.precision)
        self.convolutions: ConvolutionRecord | None = {}
        """Convolutions that were chosen."""
        self._has_chosen = False
        self.directions: tuple[str, ...] = tuple(self.info.directions)
        """Target domains: "b", or "b" and "a", or those that a model of many domains was trained on."""
        if not self.directions and self.method.sampling_networks:
            raise ModelError(
                f"{model.source}: generates images from noise and does not translate; use translate sample"
            )
        if not self.directions:
            raise ModelError(f"{model.source}: holds discriminators only, but conversion needs a generator")
        for attribute in self.info.directions.values():
            network = self.method.get_submodule(attribute).to(device, self.precision.weights)
            set_test_time_behaviour(network, self.info.norm_statistics, self.info.has_dropout)
        self.method.eval()

    def check_target(self, to: str) -> None:
        """Raise UsageError if the model does not translate to `to`."""
        self.method.target_domains(to)

    def source_domain(self, to: str) -> str:
        """Return the domain of the input images for the target domain `to`."""
        return self.method.source_domain(to)

    def generator_for(self, to: str) -> Generator:
        """Return the generator for the target domain `to`."""
        return self.method.generator_for(self.method.target_domains(to)[0])

    def input_channels(self, to: str) -> int:
        """Return the channels of input images for the target domain `to`."""
        return self.domain_info(self.source_domain(to))["channels"]

    def output_channels(self, to: str) -> int:
        """Return the channels of output images."""
        return self.domain_info(to)["channels"]

    def scale(self, to: str) -> int:
        """Return the pixels a side of an output for each pixel of its input: 1, but for super-resolution."""
        return self.generator_for(to).scale

    def domain_info(self, name: str) -> DomainInfo:
        """Return the description of a domain; for several targets at once ("all"), of any one: they are alike."""
        domains = self.info.domains
        return domains[name] if name in domains else next(iter(domains.values()))

    def read_options(
        self, to: str, max_pixels: int, background: images.Colour, declared: images.ValueRange | None = None
    ) -> images.Reading:
        """Return the options for reading input files in their own data type; `declared` is their range by the caller.

        The range is that of the model, else the declared one, else that of the type; files without any are refused.
        """
        return images.Reading(
            self.input_channels(to),
            max_pixels,
            background,
            deep=True,
            value_range=self.value_range(self.source_domain(to)) or declared,
            require_scale=True,
            metadata=True,
        )

    def output_type(
        self, given: images.StoredType, to: str, allowed_depths: Sequence[str] = images.DEPTHS
    ) -> images.StoredType:
        """Return the data type and range of an output, from those of its input (`given`).

        An output has the type of its input. Where the target domain has a range, it has that, in a type that holds it
        (`images.type_for_range`); else the range that was declared for the input, or that of the type. Where the format does
        not hold the type, values are scaled to the full range of the next best one.
        """
        declared = self.value_range(to) or given.range
        if declared is not None:
            wanted = images.StoredType(images.type_for_range(declared, given.dtype), declared)
        elif images.type_range(given.dtype) is None:  # signed, though the target has no negative values
            wanted = images.StoredType(np.dtype(np.uint8 if given.dtype.itemsize == 1 else np.uint16))
        else:
            wanted = images.StoredType(given.dtype)
        if wanted.dtype.name in allowed_depths:
            return wanted
        if wanted.dtype.kind == "f" and "float32" in allowed_depths:
            return images.StoredType(np.dtype(np.float32), declared)
        deep = "uint16" in allowed_depths and wanted.dtype.itemsize > 1
        return images.StoredType(np.dtype(np.uint16 if deep else np.uint8))

    def value_range(self, domain: str) -> images.ValueRange | None:
        """Return the stored values that −1 and 1 stand for in a domain; None if they were not declared."""
        declared = self.domain_info(domain).get("values")
        return (declared[0], declared[1]) if declared else None

    @overload
    def __call__(
        self, image: Image.Image | str | Path, to: str = "b", *, seed: int = 0, pixels: str = "rounded"
    ) -> Image.Image: ...
    @overload
    def __call__(self, image: Tensor, to: str = "b", *, seed: int = 0, pixels: str = "rounded") -> Tensor: ...
    @overload
    def __call__(self, image: np.ndarray, to: str = "b", *, seed: int = 0, pixels: str = "rounded") -> np.ndarray: ...
    @overload
    def __call__(
        self, image: list[Any] | tuple[Any, ...], to: str = "b", *, seed: int = 0, pixels: str = "rounded"
    ) -> list[Any]: ...

    def __call__(
        self, image: AnyImage | Sequence[AnyImage], to: str = "b", *, seed: int = 0, pixels: str = "rounded"
    ) -> Any:
        """Translate an image, a batch or a list of them to domain `to`, and return the same kind.

        Args:
            image: A Pillow image, or the path of a file: gives a Pillow image of 8 bits, transparency kept.
                A numpy array (H, W), (H, W, C) or (N, H, W, C) of uint8 (0 to 255), uint16 (0 to 65535) or floats from 0 to 1:
                gives an array of the same type and layout. Where a domain has a range of stored values (`value_range`), arrays
                hold such values, and those of a target domain get the type that its range needs.
                A tensor (N, C, H, W) of floats from -1 to 1: gives one of the same type on the same device.
                A list of these: gives a list. UsageError, which names what was found and what is wanted, for other shapes,
                channels and types, for values that are not finite, and for values beyond their range by more than a twentieth
                of it: so much comes from resampling, and arrays are clipped there.
            to: Target domain. UsageError if the model does not translate to it.
            seed: Seed of the noise of models that have it (dropout); the same image gets the same noise each time.
            pixels: "rounded": integers rounded to the nearest, and convolutions computed as chosen. "reference": integers
                truncated as the reference does, and convolutions computed directly, to the reference's last bits.

        NonFiniteError where the network's output holds NaN or infinite values.
        """
        check_pixel_mode(pixels)
        self.check_target(to)
        if isinstance(image, (list, tuple)):
            return [self(each, to, seed=seed, pixels=pixels) for each in image]
        if isinstance(image, (str, Path, Image.Image)):
            return self._translate_picture(self._read_picture(image, to), to, seed, pixels)
        if isinstance(image, np.ndarray):
            source = self.value_range(self.source_domain(to))
            batch = prepare_array(image, self.input_channels(to), source)
            # One by one: on a CPU a batch is not bit-equal to its images, and gains nothing.
            results = [self.translate_pixels([each], to, seed=seed, pixels=pixels)[0] for each in batch.pixels]
            return batch.restore(results, self.scale(to))
        if isinstance(image, Tensor):
            check_tensor(image, self.input_channels(to))
            keys = [pixel_key(images.to_uint8_array(x), seed) for x in image]
            outputs = self._run(list(image), to, keys, exact=pixels == "reference")
            return torch.stack(outputs).to(image.device, image.dtype)
        raise UsageError(
            f"cannot translate a {type(image).__name__}; give a Pillow image, a path, a numpy array, a tensor or a list"
        )

    def _read_picture(self, image: Image.Image | str | Path, to: str) -> images.Picture:
        """Return a Pillow image or a file as a picture with the channels of the model. UsageError if that is not possible."""
        if not {self.input_channels(to), self.output_channels(to)} <= {1, 3}:
            raise UsageError(
                "a Pillow image has 1 or 3 channels, but this model works on others; give it a numpy array or a tensor"
            )
        try:
            if isinstance(image, Image.Image):
                return images.from_opened(image, images.Reading(self.input_channels(to)))
            how = replace(self.read_options(to, images.MAX_PIXELS, images.WHITE), metadata=False)
            return images.read(Path(image), how=how)
        except (images.ImageError, OSError) as e:
            name = "a Pillow image" if isinstance(image, Image.Image) else printable(image)
            raise UsageError(f"{name}: {one_line(e)}") from None

    def _translate_picture(self, picture: images.Picture, to: str, seed: int, pixels: str) -> Image.Image:
        (result,) = self.translate_pixels([picture.pixels], to, seed=seed, pixels=pixels, allowed_depths=[("uint8",)])
        return images.to_pil_image(result, fit_alpha(picture.alpha, result.shape, self.scale(to)))

    def __repr__(self) -> str:
        ways = [
            f"{source} ({self.input_channels(to)} channels) → {to} ({self.output_channels(to)})"
            if (source := self.source_domain(to)) != to
            else f"any → {to} ({self.output_channels(to)} channels)"
            for to in self.directions
        ]
        size = f"any size, padded to multiples of {self.info.size['multiple_of']}, at least {self.info.size['minimum']}"
        scales = {scale for to in self.directions if (scale := self.scale(to)) > 1}
        size += "".join(f", enlarged ×{scale}" for scale in scales)
        place = f"{self.precision.name} on {self.device}, from {printable(self.source)}"
        return f"<Translator: {self.info.title}; {', '.join(ways)}; {size}; {place}>"

    def translate_pixels(
        self,
        pictures: Sequence[np.ndarray],
        to: str,
        *,
        seed: int = 0,
        pixels: str = "rounded",
        stored: Sequence[images.StoredType] | None = None,
        allowed_depths: Sequence[Sequence[str]] | None = None,
    ) -> list[np.ndarray]:
        """Translate (H, W, C) arrays of any bit depth, all of one `padded_size`, to (H, W, C') arrays of domain `to`.

        `stored`: for each array, the data type of its file and a range that was declared for it, if they are not those of the
        array. `allowed_depths`: for each array, the data types that its output may have. NonFiniteError where an output holds
        NaN or infinite values.
        """
        check_pixel_mode(pixels)
        keys = [pixel_key(picture, seed) for picture in pictures]
        stored = stored or [images.StoredType(picture.dtype) for picture in pictures]
        outputs = [
            self.output_type(own, to, allowed)
            for own, allowed in zip(stored, allowed_depths or [images.DEPTHS] * len(pictures), strict=True)
        ]
        given = [
            images.to_tensor(picture, self.input_range(to, own), self.device)
            for picture, own in zip(pictures, stored, strict=True)
        ]
        results = self._run(given, to, keys, exact=pixels == "reference")
        return [
            images.to_array(x, *output, truncate=pixels == "reference")
            for x, output in zip(results, outputs, strict=True)
        ]

    def input_range(self, to: str, given: images.StoredType) -> images.ValueRange | None:
        """Return the values of an input that −1 and 1 stand for; None: those of its array's type."""
        return self.value_range(self.source_domain(to)) or given.range

    def choose_convolutions(
        self, recorded: Mapping[str, str] | None, say: Callable[[str], None] = lambda line: None
    ) -> ConvolutionRecord | None:
        """Choose how convolutions are computed, as far as `recorded` does not say it, and return the record of all choices.

        recorded: Record of the work that is resumed: empty for new work, None for that of version 0.1. `say` gets a line if
        something had to be timed.
        """
        known = None if recorded is None else {**(self.convolutions or {}), **recorded}
        self.convolutions = set_convolutions(self.method, self.convolution, known, self._probe, say)
        self._has_chosen = True
        return self.convolutions

    def ensure_convolutions(self) -> None:
        """Choose how convolutions are computed, unless that was done before."""
        if not self._has_chosen:
            self.choose_convolutions({})

    @contextmanager
    def convolutions_of(
        self, recorded: Mapping[str, str] | None, say: Callable[[str], None]
    ) -> Iterator[ConvolutionRecord | None]:
        """Choose for the block alone; arguments and yielded record as in `choose_convolutions`."""
        before = self.convolutions, self._has_chosen
        try:
            with convolutions_restored(self.method):
                yield self.choose_convolutions(recorded, say)
        finally:
            self.convolutions, self._has_chosen = before

    def _probe(self) -> Probe:
        """Return a probe of all generators."""
        height, width = self.padded_size(PROBE_SIDE, PROBE_SIDE)
        key = torch.zeros(1, dtype=torch.int64, device=self.device)

        def run() -> None:
            for to in {attribute: to for to, attribute in self.info.directions.items()}.values():
                layout = self.set_memory_format(to, channels_last=self.prefers_channels_last)
                x = torch.zeros(1, self.input_channels(to), height, width, dtype=self.precision.weights)
                with torch.inference_mode():
                    self.method.translate(x.to(self.device).contiguous(memory_format=layout), to, key)

        return Probe(run, CONVERSION, batch=1, scale=NOMINAL_SIDE / height)

    def _run(self, pictures: Sequence[Tensor], to: str, keys: Sequence[int], *, exact: bool = False) -> list[Tensor]:
        if not exact:
            self.ensure_convolutions()
        key = torch.tensor(keys, device=self.device)
        layout = self.set_memory_format(to, channels_last=self.prefers_channels_last and not exact)
        with arithmetic_mode(exact=exact), torch.inference_mode(), self.precision.autocast(self.device):
            given = [x.to(self.device, self.precision.weights) for x in pictures]
            batch = torch.stack([pad_to_size_rule(x, **self.info.size) for x in given]).contiguous(memory_format=layout)
            outputs = [self.method.translate(batch, target, key) for target in self.method.target_domains(to)]
        scale = self.scale(to)
        results = [
            [y[:, : scale * x.shape[1], : scale * x.shape[2]] for y in each]
            for x, each in zip(given, zip(*outputs, strict=True), strict=True)
        ]
        for each in results:
            for y in each:
                check_finite(y, self.precision)
        return [concatenate_images(x, each) for x, each in zip(given, results, strict=True)]

    def set_memory_format(self, to: str, *, channels_last: bool) -> torch.memory_format:
        """Set the memory format of the generator's weights; return the one that its input should have."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.generator_for(to).to(memory_format=layout)
        return layout

    @property
    def prefers_channels_last(self) -> bool:
        """True where channels last is faster by measurement: on CPUs."""
        return self.device.type == "cpu"

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that an image of this size is padded to."""
        return _padded(height, **self.info.size), _padded(width, **self.info.size)


def check_finite(output: Tensor, precision: Precision) -> None:
    """Raise NonFiniteError, with a remedy, if the output of a network holds NaN or infinite values."""
    if torch.isfinite(output).all():
        return
    remedy = (
        "use --precision fp32, whose numbers reach further"
        if precision.compute is not None
        else "its weights are damaged or its training has diverged: use an earlier checkpoint"
    )
    raise NonFiniteError(f"the network's output is not finite (it holds NaN or infinite values); {remedy}")


def check_pixel_mode(pixels: str) -> None:
    """Raise UsageError if `pixels` is not one of PIXEL_MODES."""
    if pixels not in PIXEL_MODES:
        raise UsageError(f"--pixels {pixels}: unknown; possible: {', '.join(PIXEL_MODES)}")


def arithmetic_mode(*, exact: bool) -> AbstractContextManager[None]:
    """Return a context in which convolutions are computed to the reference's last bits (`exact`), or as they were chosen."""
    return direct_convolution() if exact else nullcontext()


def concatenate_images(picture: Tensor, results: Sequence[Tensor]) -> Tensor:
    """Return the only output (C, H, W), or the input and several outputs side by side (C, H, W · (1 + outputs))."""
    return results[0] if len(results) == 1 else torch.cat([picture, *results], dim=2)


def pixel_key(pixels: np.ndarray, seed: int, sample: int = 0) -> int:
    """Derive the key of an image's noise from its pixels, the seed and the sample number."""
    digest = hashlib.sha256()
    for top in range(0, len(pixels), 64):  # strip by strip: a copy of the whole may not fit
        digest.update(np.ascontiguousarray(pixels[top : top + 64]).data)
    return keyed_random.derive_key(seed, sample, int.from_bytes(digest.digest()[:8], "little"))


def _padded(length: int, multiple_of: int, minimum: int) -> int:
    return -(-max(length, minimum) // multiple_of) * multiple_of


def pad_to_size_rule(x: Tensor, multiple_of: int, minimum: int) -> Tensor:
    """Pad (C, H, W) at the right and the bottom up to the size rule.

    By reflection, or by the edge pixels where the padding is larger than the image.
    """
    for axis in (1, 2):
        length = x.shape[axis]
        extra = _padded(length, multiple_of, minimum) - length
        if extra:
            mode = "reflect" if extra < length else "replicate"
            x = F.pad(x, [0, extra] if axis == 2 else [0, 0, 0, extra], mode=mode)
    return x


# Loading.


def load(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
    convolution: str = "auto",
) -> Translator:
    """Load a Translator from what MODEL names (`trained.find`).

    `dropout` ("on", "off") and `norm_statistics` ("sample", "running") replace the model's own settings. ModelError if there
    is no usable model, UsageError if it cannot have these settings.
    """
    target = devices.resolve_device(device)
    loaded = read_model(model).with_inference_settings(parse_dropout(dropout), norm_statistics)
    translator = Translator(loaded, target, precision, convolution)
    translator.name = str(model)
    return translator


def parse_dropout(value: str | bool | None) -> bool | None:
    """Convert "on" and "off" to a bool; UsageError for other texts."""
    if value is None or isinstance(value, bool):
        return value
    if value not in config.ON_OFF:
        raise UsageError(f"--dropout {value}: must be on or off")
    return config.ON_OFF[value]
