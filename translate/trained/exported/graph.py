"""A trained generator as one function of a tensor, without noise, for exporters to trace."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from translate.errors import UsageError
from translate.images import LabelFormat, normalize, quantize
from translate.methods import Method
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.plain_layers import use_plain_layers
from translate.trained.folder import TrainedModel

LAYOUTS = {True: "uint8 (batch, height, width, channels)", False: "float32 (batch, channels, height, width) in [-1, 1]"}
"""Kind of tensors of a graph, by whether it has the preprocessing inside."""


@dataclass(frozen=True)
class GraphSpec:
    """Specification of a graph: direction of the model, arithmetic inside, kind of tensors outside."""

    to: str
    """Target domain: a single one."""
    dtype: str = "fp32"
    """Arithmetic inside: "fp32" or "fp16"; inputs and outputs are float32 or, with preprocessing, uint8."""
    with_preprocessing: bool = False
    """True: images of 8 bits and any size go in and come out, and padding, value range and cropping are in the graph."""


def resolve_direction(model: TrainedModel, to: str | None) -> str:
    """Return the single domain that a model is exported for. UsageError, naming the possible ones, if it is not clear."""
    directions = model.info.directions
    if not directions:
        raise UsageError(
            f"{model.source}: translates no images, but makes them from noise; .onnx and .pt2 are for models that translate: "
            f"export a folder"
            if model.method.sampling_networks
            else f"{model.source}: holds discriminators only; .onnx and .pt2 need a generator"
        )
    if to is None:
        to = "b" if "b" in directions else next(iter(directions)) if len(directions) == 1 else None
    if to is None:
        raise UsageError(f"{model.source}: give the domain to translate to, --to {' or --to '.join(directions)}")
    if len(model.method.target_domains(to)) != 1:
        raise UsageError(f"--to {to}: an .onnx or .pt2 translates to one domain; possible: {', '.join(directions)}")
    return to


def check_spec(model: TrainedModel, spec: GraphSpec) -> None:
    """Raise UsageError if a model cannot have the preprocessing inside: that is for values of 8 bits."""
    method = model.method
    for name in (method.source_domain(spec.to), spec.to):
        values = model.info.domains[name].get("values") if name in model.info.domains else None
        if spec.with_preprocessing and values:
            raise UsageError(
                f"--with-preprocessing: is for images of 8 bits, but domain {name} holds values from {values[0]:g} to "
                f"{values[1]:g}; leave it out"
            )


class TranslationGraph(nn.Module):
    """Function of a tensor that translates to one domain, without noise: dropout is left out, latent codes are their mean.

    Args:
        model: The trained model, which is not changed.
        spec: Direction, arithmetic and kind of tensors. UsageError where the model cannot have them.
        plain: Compute by plain layers, which exporters know; else by those of the model.
    """

    def __init__(self, model: TrainedModel, spec: GraphSpec, *, plain: bool = True) -> None:
        super().__init__()
        check_spec(model, spec)
        method = copy.deepcopy(model.method).eval()
        self.spec, self.size = spec, model.info.size
        self.compute = torch.float16 if spec.dtype == "fp16" else torch.float32
        self.generator = method.generator_for(method.target_domains(spec.to)[0])
        self.codes = nn.ModuleList(method.get_submodule(name) for name in method.style_networks)  # some map mean codes
        for network in (self.generator, *self.codes):
            network.float().requires_grad_(False)
            set_test_time_behaviour(network, model.info.norm_statistics, dropout=False)
            if plain:
                use_plain_layers(network)
            network.to(self.compute)
        domain = method.domains.get(method.source_domain(spec.to))
        self.labels: LabelFormat | None = domain.labels if domain else None
        self.channels = _input_channels(model, spec.to)
        self._held = _Held(method)

    def forward(self, image: Tensor) -> Tensor:
        x = self._network_input(image) if self.spec.with_preprocessing else image
        height, width = x.shape[2:]
        if self.spec.with_preprocessing:
            x = pad_dynamically(x, **self.size)
        y = self._held.method.translate(x.to(self.compute), self.spec.to, None).float()
        if not self.spec.with_preprocessing:
            return y
        rows, columns = (torch.arange(self.generator.scale * side, device=y.device) for side in (height, width))
        # Selected, not sliced: a slice would note in the graph whether there is something to cut off.
        return quantize(y.index_select(2, rows).index_select(3, columns)).permute(0, 2, 3, 1)

    def _network_input(self, image: Tensor) -> Tensor:
        """Return uint8 images or stored label maps (N, H, W, C) as the network takes them, (N, C', H, W)."""
        stored = image.permute(0, 3, 1, 2)
        return normalize(stored, torch.float32) if self.labels is None else self.labels.one_hot(stored)

    @property
    def stored_channels(self) -> int:
        """Channels of the input: with preprocessing those of the image files, label maps as class numbers."""
        if self.labels is None or not self.spec.with_preprocessing:
            return self.channels
        return self.labels.stored_channels

    def example(self, batch: int, height: int, width: int) -> Tensor:
        """Return an input of this size: random pixels or classes, the same for the same size."""
        generator = torch.Generator().manual_seed(batch * 1_000_003 + height * 1009 + width)
        count = 256 if self.labels is None else self.labels.count
        shape = (batch, self.stored_channels if self.labels is None else self.labels.stored_channels, height, width)
        stored = torch.randint(0, count, shape, generator=generator, dtype=torch.uint8)
        if self.labels is not None and self.labels.edges:
            stored[:, 1:] = stored[:, 1:] % 2
        if self.spec.with_preprocessing:
            return stored.permute(0, 2, 3, 1).contiguous()
        return normalize(stored, torch.float32) if self.labels is None else self.labels.one_hot(stored)


class _Held:
    """Holder of the method beside the generator: its other networks are no part of the graph."""

    def __init__(self, method: Method[Any]) -> None:
        self.method = method


def _input_channels(model: TrainedModel, to: str) -> int:
    domains = model.info.domains
    source = model.method.source_domain(to)
    return (domains[source] if source in domains else next(iter(domains.values())))["channels"]


def pad_dynamically(x: Tensor, multiple_of: int, minimum: int) -> Tensor:
    """Pad (N, C, H, W) as `image_layout.pad_to_size_rule` does, by operations that suit all sizes."""
    for axis in (2, 3):
        x = x.index_select(axis, _padded_indices(x.shape[axis], multiple_of, minimum, x.device))
    return x


def _padded_indices(length: int, multiple_of: int, minimum: int, device: torch.device) -> Tensor:
    """Return the row that each row of the padded image is: reflected, or the last one for larger paddings."""
    padded = (torch.sym_max(length, minimum) + multiple_of - 1) // multiple_of * multiple_of
    at, last = torch.arange(padded, device=device), length - 1
    reflected = last - (at - last).abs()
    return torch.where(reflected[-1:] >= 0, reflected, at.clamp(max=last))
