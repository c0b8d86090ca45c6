"""Base classes of generators and discriminators, with what each network declares of itself: size rule and receptive field."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from translate.nn.blocks import ResnetBlock
from translate.nn.gradient_checkpointing import checkpoint_layers
from translate.nn.init import normal_


class GeneratorStages(NamedTuple):
    """Layers of a generator that is a chain, cut where its maps are smallest."""

    encoder: list[nn.Module]
    blocks: list[ResnetBlock]
    decoder: list[nn.Module]


class GeneratorEncoder(NamedTuple):
    """Layers of a generator that carry an image to its smallest maps, one after another."""

    downsampling: list[nn.Module]
    """Padding, convolutions, norms and activations, each a layer of its own."""
    blocks: list[nn.Module]
    """Residual blocks, at the smallest size."""


class Generator(nn.Module):
    """Base class of the rows of GENERATORS: images (N, C, H, W) in [-1, 1] → (N, C', scale · H, scale · W) in [-1, 1].

    Only outputs that are added to the input (`use_residual_output`, super-resolution) may leave that range.
    """

    multiple_of: int
    """Height and width of its images are multiples of this number of pixels."""
    minimum: int
    """Smallest height and width of its images, in pixels."""
    receptive_radius: int | None
    """Distance in pixels of the farthest input pixel that an output pixel depends on; None: the whole image."""
    scale: int = 1
    """Pixels a side of the output for each pixel of the input; above 1 in super-resolution."""
    model: nn.Module
    initialise: Callable[..., nn.Module] = staticmethod(normal_)
    """Function of the network and a key that draws its initial weights."""
    gradient_checkpointing = False
    """True: training computes inner maps again in the backward pass instead of keeping them."""
    inputs_apart = False
    """True: batches go through the network one after another, as each of its inputs is perturbed in its own way."""
    computes_in_windows = False
    """True: large images are converted in windows of the whole network. A window from one multiple of `multiple_of` to another
    gives the values of the whole image but within `receptive_radius` of where it was cut, if norms have the statistics of the
    whole; and the size of the window is a multiple of that of each map inside."""
    supports_residual = False
    """True: the network has `use_residual_output`."""

    reference_names = True
    """False: its weights mean nothing to the reference implementation by themselves, and are not exported as its `.pth`."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.gradient_checkpointing and self.training and torch.is_grad_enabled()):
            return self.model(x)
        for segment in self.segments:
            x = checkpoint_layers(segment, x)
        return x

    def use_residual_output(self) -> None:
        """Change the network, before its weights are drawn: its output is added to a learnt colour map of the input.

        The output then leaves [-1, 1]. UsageError if input and output have other numbers of channels.
        """
        raise NotImplementedError

    def set_colour_map(self, matrix: Tensor, bias: Tensor) -> None:
        """Set the learnt colour map of a residual output: matrix (C, C), bias (C,), of images in [-1, 1]."""
        raise NotImplementedError

    @property
    def segments(self) -> Sequence[Sequence[nn.Module]]:
        """Runs of layers between which gradient checkpointing keeps maps.

        One run of all layers by default: that keeps least where skip connections cross every cut.
        """
        return [[self.model]]

    @property
    def encoder(self) -> GeneratorEncoder | None:
        """Layers from the image to the smallest maps; None for networks without residual blocks there.

        By default those of a list `model` that is a chain around residual blocks.
        """
        layers = list(self.model.children()) if isinstance(self.model, nn.Sequential) else []
        blocks: list[nn.Module] = [layer for layer in layers if isinstance(layer, ResnetBlock)]
        return GeneratorEncoder(layers[: layers.index(blocks[0])], blocks) if blocks else None

    @property
    def stages(self) -> GeneratorStages | None:
        """Layers by stage; None for networks that are no chain around residual blocks."""
        return None


def clamp_to_image_range(x: Tensor) -> Tensor:
    """Clamp images to [-1, 1]. NaN and infinite values stay as they are, so that they are found and refused."""
    return torch.where(x.isinf(), x, x.clamp(-1, 1))


class Discriminator(nn.Module):
    """Base class of the rows of DISCRIMINATORS: images (N, C, H, W) in [-1, 1] → logits (N, 1, H', W').

    Those with several heads give a list of logits, one for each. What they are given is a view of images.
    """

    minimum: int
    """Smallest height and width of its images, in pixels."""
    fixed_size: int | None = None
    """The only height and width that it takes, in pixels; None: any from `minimum` up."""
    initialise: Callable[..., nn.Module] = staticmethod(normal_)
    """Function of the network and a key that draws its initial weights."""

    def view(self, x: Tensor, beside: Any = None) -> Any:
        """Return what `forward` takes of images x (N, C, H, W): by default x itself.

        beside: view of other images with the same condition, as of true outputs beside generated ones: a discriminator may take
        from it what it knows of the condition. A view has a method `detach`, as a tensor. `forward` takes images as well, and
        makes the view itself.
        """
        return x


class MultiscaleFeatureDiscriminator(Discriminator):
    """Discriminator with features to match at several scales: images → a list of logits, one map a scale, finest first."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.features_and_logits(x)[1]

    def features_and_logits(self, x: Tensor) -> tuple[list[list[Tensor]], list[Tensor]]:
        """Return for each scale the maps of its layers but the last, (N, C, H', W') each, and its logits (N, 1, H', W')."""
        raise NotImplementedError


MATCHED_LAYERS = 3
"""Feature maps that are matched, at most: as many as DiscoGAN's discriminator at 64 pixels and the 70×70 PatchGAN have."""


class FeatureDiscriminator(Discriminator):
    """Discriminator with features to match: a chain of convolutions and leaky ReLUs, with norms after all but the first."""

    model: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def features_and_logits(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the activations of the last three layers with a norm, (N, C, H, W) each, and the logits.

        Fewer activations where the chain is shorter.
        """
        maps = []
        for layer in self.model:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                maps.append(x)
        return maps[1:][-MATCHED_LAYERS:], x
