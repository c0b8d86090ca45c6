"""Translator: a trained model as a function of images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from translate import images
from translate.convolution_choice import (
    NOMINAL_SIDE,
    PROBE_SIDE,
    ConvolutionRecord,
    Probe,
    convolutions_restored,
    resolve_convolution,
    set_convolutions,
)
from translate.convolution_timing import CONVERSION
from translate.errors import ModelError, UsageError
from translate.nn.base import Generator
from translate.nn.blocks import set_test_time_behaviour
from translate.runtime import devices
from translate.runtime.precision import resolve_precision
from translate.text import printable
from translate.trained.arithmetic import arithmetic_mode, check_finite
from translate.trained.array_images import check_tensor, fit_alpha, prepare_array
from translate.trained.call_options import AnyImage, TranslateOptions, check_runtime, parse_dropout
from translate.trained.find import is_onnx_file, read_model
from translate.trained.folder import TrainedModel
from translate.trained.image_layout import concatenate_images, pad_to_size_rule, padded_length
from translate.trained.label_images import LabelImage, stored_label_map, with_instances
from translate.trained.model_info import DomainInfo
from translate.trained.noise import has_active_dropout, pixel_key
from translate.trained.output_types import output_type
from translate.trained.pixel_modes import check_pixel_mode
from translate.trained.style import check_style_domain, read_picture, read_style_image, training_side


class Translator:
    """Function that translates images with a trained model; it gives back the kind of image that it is given.

    The size stays, but for super-resolution, whose outputs are larger by the factor of the model.

    Args:
        model: The trained model. ModelError if it has no generator that translates.
        device: Device to compute on; the generators move there, or to `weights_device`.
        precision: "fp32", "bf16", "fp16", "fp64" or "auto".
        convolution, tune: "direct" or "winograd"; or "auto", the fastest way for each shape, timed when the first image comes,
            unless this machine has timed it before. `tune` is what is timed: "fast", "full", or "off", which is direct.
    """

    runtime = "torch"  # library that computes whole images

    def __init__(
        self, model: TrainedModel, device: torch.device, precision: str = "fp32", convolution: str = "auto",
        weights_device: torch.device | None = None, *, tune: str = "fast",
    ) -> None:  # fmt: skip
        self.method, self.info, self.sha256, self.device = model.method, model.info, model.sha256, device
        self.notices, self.source, self.origin = model.notices, model.source, model.origin
        self.name = str(model.source)
        """Name of the model, as a user gave it."""
        self.weights_device = device if weights_device is None else weights_device
        """Device that the weights are on: where the memory of maps can be measured."""
        self.precision = resolve_precision(precision, device)
        self.convolution_setting = resolve_convolution(convolution, self.precision, tune)
        self.convolutions: ConvolutionRecord | None = {}
        """Convolutions that were chosen."""
        self._has_chosen = False
        self.directions: tuple[str, ...] = tuple(self.info.directions)
        """Target domains: "b", or "b" and "a", or those that a model of many domains was trained on."""
        if not self.directions and self.method.sampling_networks:
            raise ModelError(f"{model.source}: generates images from noise; use translate sample")
        if not self.directions:
            raise ModelError(f"{model.source}: holds discriminators only, but conversion needs a generator")
        for attribute in (*self.info.directions.values(), *self.method.style_networks):
            network = self.method.get_submodule(attribute).to(self.weights_device, self.precision.weights)
            set_test_time_behaviour(network, self.info.norm_statistics, self.info.has_dropout)
        self.method.eval()

    def check_target(self, to: str) -> None:
        """Raise UsageError if the model does not translate to `to`."""
        self.method.target_domains(to)

    def check_pixels(self, pixels: str) -> None:
        """Raise UsageError if integers cannot be made of outputs in this way."""
        check_pixel_mode(pixels)

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
            labels=self.label_format(to),
        )

    def output_type(
        self, given: images.StoredType, to: str, allowed_depths: Sequence[str] = images.DEPTHS
    ) -> images.StoredType:
        """Return the data type and range of an output to domain `to`, from those of its input (see `output_types`)."""
        return output_type(given, self.value_range(to) or given.range, allowed_depths)

    def label_format(self, to: str) -> images.LabelFormat | None:
        """Return the format of the label maps that are translated to `to`; None where inputs are images."""
        domain = self.method.domains.get(self.source_domain(to))
        return domain.labels if domain else None

    def value_range(self, domain: str) -> images.ValueRange | None:
        """Return the stored values that −1 and 1 stand for in a domain; None if they were not declared."""
        declared = self.domain_info(domain).get("values")
        return (declared[0], declared[1]) if declared else None

    @overload
    def __call__(
        self, image: Image.Image | str | Path, to: str = "b", **how: Unpack[TranslateOptions]
    ) -> Image.Image: ...
    @overload
    def __call__(self, image: Tensor, to: str = "b", **how: Unpack[TranslateOptions]) -> Tensor: ...
    @overload
    def __call__(self, image: np.ndarray, to: str = "b", **how: Unpack[TranslateOptions]) -> np.ndarray: ...
    @overload
    def __call__(
        self, image: list[Any] | tuple[Any, ...], to: str = "b", **how: Unpack[TranslateOptions]
    ) -> list[Any]: ...

    def __call__(
        self, image: AnyImage | Sequence[AnyImage], to: str = "b", *, seed: int = 0, sample: int = 0,
        style: AnyImage | None = None, pixels: str = "rounded",
        instances: LabelImage | Sequence[LabelImage] | None = None,
    ) -> Any:  # fmt: skip
        """Translate an image, a batch or a list of them to domain `to`, and return the same kind.

        Args:
            image: A Pillow image, or the path of a file: gives a Pillow image of 8 bits, transparency kept.
                A numpy array (H, W), (H, W, C) or (N, H, W, C) of uint8 (0 to 255), uint16 (0 to 65535) or floats from 0 to 1:
                gives an array of the same type and layout. Where a domain has a range of stored values (`value_range`), arrays
                hold such values, and those of a target domain get the type that its range needs.
                A tensor (N, C, H, W) of floats from -1 to 1: gives one of the same type on the same device.
                Models of label maps take these: images and paths of class numbers or of the palette's colours; arrays (H, W)
                of class numbers or (H, W, 3) of colours, uint8 outputs; one-hot tensors (N, C, H, W).
                A list of these: gives a list. UsageError, which names what was found and what is wanted, for other shapes,
                channels and types, for values that are not finite, and for values beyond their range by more than a twentieth
                of it: so much comes from resampling, and arrays are clipped there.
            to: Target domain. UsageError if the model does not translate to it.
            seed: Seed of the noise of models that have it (dropout, latent codes); the same image gets the same noise always.
            sample: Number of the output among the many of a model with noise; UsageError for a model without.
            style: Example image of the target domain, whose style is used; UsageError for a model without an encoder of styles.
            instances: Instance map of a label map, for models with the edges of objects: a Pillow image, a path or an array;
                a list of them for a list of images.
            pixels: "rounded": integers rounded to the nearest, and convolutions computed as chosen. "reference": integers
                truncated as the reference does, and convolutions computed directly, to the reference's last bits.

        NonFiniteError where the network's output holds NaN or infinite values.
        """
        self.check_pixels(pixels)
        self.check_target(to)
        if sample:
            self.check_samples(to)
        code = None if style is None else self.encode_style(style, to)
        options = {"seed": seed, "samples": [sample], "style": code, "pixels": pixels}
        return self._translate_any(image, to, options, instances)

    def _translate_any(
        self, image: AnyImage | Sequence[AnyImage], to: str, options: dict[str, Any], instances: Any = None
    ) -> Any:
        """Translate what `__call__` takes, with the options of `translate_pixels`."""
        if isinstance(image, (list, tuple)):
            pairs = with_instances(image, instances)
            return [self._translate_any(each, to, options, own) for each, own in pairs]
        labels = self.label_format(to)
        if labels is not None and isinstance(image, (str, Path, Image.Image, np.ndarray)):
            stored = stored_label_map(image, labels, instances)
            (result,) = self.translate_pixels([stored], to, allowed_depths=[("uint8",)], **options)
            return result if isinstance(image, np.ndarray) else images.to_pil_image(result)
        if instances is not None:
            raise UsageError("instances: is for label maps as images, paths or arrays; leave it out")
        if isinstance(image, (str, Path, Image.Image)):
            picture = self._read_picture(image, to)
            (result,) = self.translate_pixels([picture.pixels], to, allowed_depths=[("uint8",)], **options)
            return images.to_pil_image(result, fit_alpha(picture.alpha, result.shape, self.scale(to)))
        if isinstance(image, np.ndarray):
            source = self.value_range(self.source_domain(to))
            batch = prepare_array(image, self.input_channels(to), source)
            # One by one: on a CPU a batch is not bit-equal to its images, and gains nothing.
            results = [self.translate_pixels([each], to, **options)[0] for each in batch.pixels]
            return batch.restore(results, self.scale(to))
        if isinstance(image, Tensor):
            check_tensor(image, self.input_channels(to))
            shown = image if labels is None else images.normalize(labels.stored_of(image), image.dtype)
            keys = [pixel_key(images.to_uint8_array(x), options["seed"], *options["samples"]) for x in shown]
            outputs = self._run(list(image), to, keys, options["style"], exact=options["pixels"] == "reference")
            return torch.stack(outputs).to(image.device, image.dtype)
        raise UsageError(
            f"cannot translate a {type(image).__name__}; give a Pillow image, a path, a numpy array, a tensor or a list"
        )

    def has_noise(self, to: str) -> bool:
        """Return whether an input has many outputs: by latent codes, or by dropout in conversion."""
        return self.method.has_noise or has_active_dropout(self.generator_for(to))

    @property
    def _without_noise(self) -> str:
        """Name of the method in messages that the model has no noise, with the setting that it was trained without."""
        method, setting = self.info.method, self.method.noise_setting
        return f"{method} without {setting}" if setting else method

    def check_samples(self, to: str) -> None:
        """Raise UsageError if the model has one output for an input."""
        if not self.has_noise(to):
            raise UsageError(
                f"--samples: {self._without_noise} has no latent code, and no dropout in conversion, so this model has one "
                f"output for an input; leave it out"
            )

    def encode_style(self, image: AnyImage, to: str = "b") -> Tensor:
        """Return the style code (1, …) of an example image of domain `to`, resized to the size of the training.

        image: as `__call__` takes it, a single one. UsageError if it cannot be used, or the model has no encoder of styles.
        """
        if not self.method.style_networks:
            raise UsageError(f"--style: {self._without_noise} takes no style of an example image; leave it out")
        domains = self.method.target_domains(to)
        check_style_domain(image, domains, self.method)
        side = training_side(self.info, self.method.cfg.crop_size)
        x = read_style_image(image, self.domain_info(domains[0])["channels"], self.value_range(domains[0]), side)
        with torch.inference_mode(), self.precision.autocast(self.device):
            return self.method.encode_style(x.to(self.device, self.precision.weights), to)

    def _read_picture(self, image: Image.Image | str | Path, to: str) -> images.Picture:
        """Return a Pillow image or a file as a picture with the channels of the model. UsageError if that is not possible."""
        if not {self.input_channels(to), self.output_channels(to)} <= {1, 3}:
            raise UsageError(
                "a Pillow image has 1 or 3 channels, but this model works on others; give it a numpy array or a tensor"
            )
        return read_picture(image, replace(self.read_options(to, images.MAX_PIXELS, images.WHITE), metadata=False))

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
        samples: Sequence[int] = (0,),
        style: Tensor | None = None,
        pixels: str = "rounded",
        stored: Sequence[images.StoredType] | None = None,
        allowed_depths: Sequence[Sequence[str]] | None = None,
    ) -> list[np.ndarray]:
        """Translate (H, W, C) arrays of any bit depth, all of one `padded_size`, to (H, W, C') arrays of domain `to`.

        `samples`: number of the output of each array, or one number for all; `style`: code of `encode_style` for all.
        `stored`: for each array, the data type of its file and a range that was declared for it, if they are not those of the
        array. `allowed_depths`: for each array, the data types that its output may have. NonFiniteError where an output holds
        NaN or infinite values.
        """
        self.check_pixels(pixels)
        numbers = samples if len(samples) > 1 else [*samples] * len(pictures)
        keys = [pixel_key(picture, seed, number) for picture, number in zip(pictures, numbers, strict=True)]
        stored = stored or [images.StoredType(picture.dtype) for picture in pictures]
        outputs = [
            self.output_type(own, to, allowed)
            for own, allowed in zip(stored, allowed_depths or [images.DEPTHS] * len(pictures), strict=True)
        ]
        given = [
            self.network_input(picture, to, self.input_range(to, own), self.device)
            for picture, own in zip(pictures, stored, strict=True)
        ]
        results = self._run(given, to, keys, style, exact=pixels == "reference")
        return [
            images.to_array(x, *output, truncate=pixels == "reference")
            for x, output in zip(results, outputs, strict=True)
        ]

    def network_input(
        self, pixels: np.ndarray, to: str, values: images.ValueRange | None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return an image or a stored label map (H, W, C) as the generator to `to` takes it: (C', H, W) float32 in [-1, 1]."""
        if (labels := self.label_format(to)) is None:
            return images.to_tensor(pixels, values, device)
        return labels.one_hot(torch.from_numpy(np.array(pixels)).to(device).permute(2, 0, 1)[None])[0]

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
        self.convolutions = set_convolutions(self.method, self.convolution_setting, known, self._probe, say)
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

    def _run(
        self, pictures: Sequence[Tensor], to: str, keys: Sequence[int], style: Tensor | None, *, exact: bool = False
    ) -> list[Tensor]:
        if not exact:
            self.ensure_convolutions()
        key = torch.tensor(keys, device=self.device)
        layout = self.set_memory_format(to, channels_last=self.prefers_channels_last and not exact)
        with arithmetic_mode(exact=exact), torch.inference_mode(), self.precision.autocast(self.device):
            given = [x.to(self.device, self.precision.weights) for x in pictures]
            batch = torch.stack([pad_to_size_rule(x, **self.info.size) for x in given]).contiguous(memory_format=layout)
            if style is None:
                outputs = [self._translate(batch, target, key) for target in self.method.target_domains(to)]
            else:
                outputs = [self.method.translate_in_style(batch, to, style.to(self.device), key)]
        scale = self.scale(to)
        results = [
            [y[:, : scale * x.shape[1], : scale * x.shape[2]] for y in each]
            for x, each in zip(given, zip(*outputs, strict=True), strict=True)
        ]
        for each in results:
            for y in each:
                check_finite(y, self.precision)
        return [concatenate_images(x, each) for x, each in zip(given, results, strict=True)]

    def _translate(self, batch: Tensor, to: str, key: Tensor) -> Tensor:
        return self.method.translate(batch, to, key)

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
        return padded_length(height, **self.info.size), padded_length(width, **self.info.size)


def load(
    model: str | Path, *, device: str = "auto", precision: str = "fp32", dropout: str | bool | None = None,
    norm_statistics: str | None = None, convolution: str = "auto", tune: str = "fast", runtime: str = "torch",
    say: Callable[[str], None] = lambda line: None,
) -> Translator:  # fmt: skip
    """Load a Translator from what MODEL names (`trained.find`).

    `dropout` ("on", "off") and `norm_statistics` ("sample", "running") replace the model's own settings. `runtime`: one of
    RUNTIMES; onnx exports the model if need be, and `say` gets a line then. ModelError if there is no usable model, UsageError
    if it cannot have these settings. An .onnx file runs on the CPU in its own arithmetic.
    """
    check_runtime(runtime)
    if is_onnx_file(model):
        from translate.trained.exported.onnx_translator import load_onnx  # few need it, and the extra that it needs

        return load_onnx(Path(model), device, precision, (dropout, norm_statistics))
    loaded = read_model(model).with_inference_settings(parse_dropout(dropout), norm_statistics)
    if runtime == "onnx":
        from translate.trained.exported.runtime_translator import load_with_runtime

        translator = load_with_runtime(loaded, device, precision, convolution, say)
    else:
        translator = Translator(loaded, devices.resolve_device(device), precision, convolution, tune=tune)
    translator.name = str(model)
    return translator
