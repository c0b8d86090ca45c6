"""Translator: a trained model as a function of images. And what a model's name stands for."""

import difflib
import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import overload

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from translate import config, images, keyed_random
from translate.errors import ModelError, UsageError
from translate.nn.base import Generator
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.fast_conv import direct_convolution
from translate.run_folder import CHECKPOINTS
from translate.runtime import devices
from translate.runtime.precision import resolve_precision, use_channels_last
from translate.trained import reference_pth
from translate.trained.folder import TrainedModel, find_model_folder, read_model_folder
from translate.trained.model_info import DomainInfo

PIXEL_MODES = ("rounded", "reference")
"""Ways to make integers of a network's output: rounded to the nearest, or truncated as the reference does."""


class Translator:
    """Function that translates images with a trained model: image → image of the same size, tensor → tensor of the same size.

    Args:
        model: The trained model. ModelError if it has no generator that translates.
        device: Device to compute on; the generators move there.
        precision: "fp32", "bf16", "fp16", "fp64" or "auto".
    """

    def __init__(self, model: TrainedModel, device: torch.device, precision: str = "fp32") -> None:
        self.method, self.info, self.sha256, self.device = model.method, model.info, model.sha256, device
        self.notices = model.notices
        self.precision = resolve_precision(precision, device)
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

    def domain_info(self, name: str) -> DomainInfo:
        """Return the description of a domain; for several targets at once ("all"), of any one: they are alike."""
        domains = self.info.domains
        return domains[name] if name in domains else next(iter(domains.values()))

    def read_options(self, to: str, max_pixels: int, background: images.Colour) -> images.Reading:
        """Return the options for reading input files at their own bit depth."""
        declared = self.value_range(self.source_domain(to)) is not None
        return images.Reading(
            self.input_channels(to), max_pixels, background, deep=True, preserve_range=declared, metadata=True
        )

    def output_depth(self, given: np.dtype, to: str, allowed_depths: Sequence[str] = images.DEPTHS) -> np.dtype:
        """Return the bit depth of an output.

        That of its input (`given`), or the one that the declared value range of the target domain needs; the next best one
        where the format does not have it.
        """
        declared = self.value_range(to)
        wanted = given.name if declared is None else _depth_of_range(*declared)
        if wanted in allowed_depths:
            return np.dtype(wanted)
        return np.dtype("uint16" if "uint16" in allowed_depths and wanted != "uint8" else "uint8")

    def value_range(self, domain: str) -> images.ValueRange | None:
        """Return the stored values that −1 and 1 stand for in a domain; None if they were not declared."""
        declared = self.domain_info(domain).get("values")
        return (declared[0], declared[1]) if declared else None

    @overload
    def __call__(self, image: Image.Image, to: str = "b", *, seed: int = 0, pixels: str = "rounded") -> Image.Image: ...
    @overload
    def __call__(self, image: Tensor, to: str = "b", *, seed: int = 0, pixels: str = "rounded") -> Tensor: ...

    def __call__(
        self, image: Image.Image | Tensor, to: str = "b", *, seed: int = 0, pixels: str = "rounded"
    ) -> Image.Image | Tensor:
        """Translate a Pillow image, or a tensor (N, C, H, W) in [-1, 1], to domain `to`; the size stays.

        Args:
            image: Image or batch. UsageError if the model takes other channels.
            to: Target domain. UsageError if the model does not translate to it.
            seed: Seed of the noise of models that have it (dropout); the same image gets the same noise each time.
            pixels: "rounded": integers rounded to the nearest, and convolutions computed in the fastest way. "reference":
                integers truncated as the reference does, and convolutions computed to the reference's last bits.
        """
        check_pixel_mode(pixels)
        self.check_target(to)
        if isinstance(image, Image.Image):
            if not {self.input_channels(to), self.output_channels(to)} <= {1, 3}:
                raise UsageError("a Pillow image has 1 or 3 channels, but this model works on others; give it a tensor")
            picture = images.from_pil_image(ImageOps.exif_transpose(image), self.input_channels(to))
            (result,) = self.translate_pixels(
                [picture.pixels], to, seed=seed, pixels=pixels, allowed_depths=[("uint8",)]
            )
            return images.to_pil_image(result, tile_alpha(picture.alpha, result.shape[1]))
        if image.ndim != 4 or image.shape[1] != self.input_channels(to):
            raise UsageError(
                f"a tensor of shape {tuple(image.shape)}; this model takes (N, {self.input_channels(to)}, H, W)"
            )
        keys = [pixel_key(images.to_uint8_array(x), seed) for x in image]
        return torch.stack(self._run(list(image), to, keys, exact=pixels == "reference")).to(image.device, image.dtype)

    def translate_pixels(
        self,
        pictures: Sequence[np.ndarray],
        to: str,
        *,
        seed: int = 0,
        pixels: str = "rounded",
        allowed_depths: Sequence[Sequence[str]] | None = None,
    ) -> list[np.ndarray]:
        """Translate (H, W, C) arrays of any bit depth, all of one `padded_size`, to (H, W, C') arrays of domain `to`.

        `allowed_depths`: for each array, the bit depths that its output may have.
        """
        check_pixel_mode(pixels)
        keys = [pixel_key(picture, seed) for picture in pictures]
        values = self.value_range(self.source_domain(to))
        given = [images.to_tensor(picture, values, self.device) for picture in pictures]
        results = self._run(given, to, keys, exact=pixels == "reference")
        return [
            self.to_stored_array(x, picture.dtype, to, allowed, pixels == "reference")
            for x, picture, allowed in zip(
                results, pictures, allowed_depths or [images.DEPTHS] * len(pictures), strict=True
            )
        ]

    def to_stored_array(
        self, x: Tensor, given: np.dtype, to: str, allowed_depths: Sequence[str], truncate: bool
    ) -> np.ndarray:
        """Convert an output (C, H, W) in [-1, 1] to an array (H, W, C) of its bit depth."""
        depth = self.output_depth(given, to, allowed_depths)
        values = (
            self.value_range(to) if depth == self.output_depth(given, to) else None
        )  # else scaled to what the format holds
        return images.to_array(x, depth, values, truncate=truncate)

    def _run(self, pictures: Sequence[Tensor], to: str, keys: Sequence[int], *, exact: bool = False) -> list[Tensor]:
        key = torch.tensor(keys, device=self.device)
        layout = self.set_memory_format(to, channels_last=self.prefers_channels_last and not exact)
        with arithmetic_mode(exact=exact), torch.inference_mode(), self.precision.autocast(self.device):
            given = [x.to(self.device, self.precision.weights) for x in pictures]
            batch = torch.stack([pad_to_size_rule(x, **self.info.size) for x in given]).contiguous(memory_format=layout)
            outputs = [self.method.translate(batch, target, key) for target in self.method.target_domains(to)]
        results = [
            [y[:, : x.shape[1], : x.shape[2]] for y in each]
            for x, each in zip(given, zip(*outputs, strict=True), strict=True)
        ]
        return [concatenate_images(x, each) for x, each in zip(given, results, strict=True)]

    def set_memory_format(self, to: str, *, channels_last: bool) -> torch.memory_format:
        """Set the memory format of the generator's weights; return the one that its input should have."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.generator_for(to).to(memory_format=layout)
        return layout

    @property
    def prefers_channels_last(self) -> bool:
        """True where channels last is faster: by measurement on CPUs, by publication for half precision on CUDA."""
        return self.device.type == "cpu" or use_channels_last("auto", self.device, self.precision)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that an image of this size is padded to."""
        return _padded(height, **self.info.size), _padded(width, **self.info.size)


def _depth_of_range(low: float, high: float) -> str:
    """Return the bit depth that holds the values of a declared range."""
    if low < 0 or not 1 < high <= 65535:
        return "float32"
    return "uint8" if high <= 255 else "uint16"


def check_pixel_mode(pixels: str) -> None:
    """Raise UsageError if `pixels` is not one of PIXEL_MODES."""
    if pixels not in PIXEL_MODES:
        raise UsageError(f"--pixels {pixels}: unknown; possible: {', '.join(PIXEL_MODES)}")


def arithmetic_mode(*, exact: bool) -> AbstractContextManager[None]:
    """Return a context in which convolutions are computed to the reference's last bits (`exact`), or in the fastest way."""
    return direct_convolution() if exact else nullcontext()


def concatenate_images(picture: Tensor, results: Sequence[Tensor]) -> Tensor:
    """Return the only output (C, H, W), or the input and several outputs side by side (C, H, W · (1 + outputs))."""
    return results[0] if len(results) == 1 else torch.cat([picture, *results], dim=2)


def tile_alpha(alpha: np.ndarray | None, width: int) -> np.ndarray | None:
    """Repeat the transparency (H, W) of an image for a row of images of the given total width."""
    return None if alpha is None else np.tile(alpha, (1, width // alpha.shape[1]))


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


# MODEL: a path or a name.


def load(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    dropout: str | bool | None = None,
    norm_statistics: str | None = None,
) -> Translator:
    """Load a Translator from a run folder, a model folder, a `.pth` or folder of the reference, or `checkpoints/<model>`.

    `dropout` ("on", "off") and `norm_statistics` ("sample", "running") replace the model's own settings. ModelError if there
    is no usable model, UsageError if it cannot have these settings.
    """
    target = devices.resolve_device(device)
    return Translator(
        read_model(model).with_inference_settings(parse_dropout(dropout), norm_statistics), target, precision
    )


def find_named_model(name: str) -> Path | None:
    """Return the folder of a named model, in checkpoints/ or among those that ship with the project; None if there is none."""
    return next((folder / name for folder in _model_homes() if (folder / name).exists()), None)


def _model_homes() -> tuple[Path, ...]:
    """Return the folders whose models are given by name: that of the runs, and those of the models that ship."""
    package = Path(__file__).parents[1]
    return CHECKPOINTS, package.parent / "checkpoints", package / "_checkpoints"


def _known_models() -> list[str]:
    """Return the names of all models that can be given by name."""
    places = (place for home in _model_homes() if home.is_dir() for place in home.iterdir())
    return sorted({place.name for place in places if find_model_folder(place) is not None})


def read_model(model: str | Path) -> TrainedModel:
    """Read the model that MODEL names: a path, else a name in checkpoints/. ModelError if there is none."""
    path = Path(model)
    if not path.exists():
        path = find_named_model(str(model)) or CHECKPOINTS / path
    if path.is_file():
        return reference_pth.read_pth(path)
    folder = find_model_folder(path)
    if folder is not None:
        return read_model_folder(folder)
    if reference_pth.list_networks(path):
        return reference_pth.read_pth_folder(path)
    if not path.exists():
        close = difflib.get_close_matches(str(model), _known_models(), n=1)
        hint = f"did you mean {close[0]}? Or " if close else ""
        raise ModelError(
            f"{model}: no such model; {hint}give a run folder, a model folder, a .pth file or a name in checkpoints/"
        )
    raise ModelError(
        f"{path}: holds no model (config.json and model.safetensors); has the training saved a checkpoint yet?"
    )


def parse_dropout(value: str | bool | None) -> bool | None:
    """Convert "on" and "off" to a bool; UsageError for other texts."""
    if value is None or isinstance(value, bool):
        return value
    if value not in config.ON_OFF:
        raise UsageError(f"--dropout {value}: must be on or off")
    return config.ON_OFF[value]
