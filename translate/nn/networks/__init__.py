"""Registries of networks, GENERATORS and DISCRIMINATORS; `find` and `find_discriminator` for these and those of plug-ins."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from translate import plugins
from translate.nn.base import Discriminator, Generator
from translate.nn.features import load_features
from translate.nn.networks.antialias import AntialiasDiscriminator, AntialiasGenerator
from translate.nn.networks.discogan import DiscoDiscriminator, DiscoGenerator
from translate.nn.networks.dualgan import DualGenerator, DualImageDiscriminator, DualPatchDiscriminator
from translate.nn.networks.patchgan import PatchDiscriminator, PixelDiscriminator
from translate.nn.networks.pix2pixhd import GlobalGenerator, LocalEnhancer, Pix2PixHDDiscriminator
from translate.nn.networks.projected import LARGEST_SMALL_CROP, ProjectedDiscriminator
from translate.nn.networks.resize_unet import ResizeUnetGenerator
from translate.nn.networks.resnet import ResnetGenerator
from translate.nn.networks.spade import MAX_UPS, SPADEDiscriminator, SPADEGenerator
from translate.nn.networks.stargan import StarGANDiscriminator, StarGANGenerator
from translate.nn.networks.superres import SRResNetGenerator
from translate.nn.networks.unet import UnetGenerator

GENERATORS: dict[str, Callable[..., Generator]] = {
    **{f"resnet_{n}blocks": partial(ResnetGenerator, blocks=n) for n in (9, 6, 3)},
    **{f"unet_{2**n}": partial(UnetGenerator, levels=n) for n in (8, 7, 6, 5, 4, 3, 2)},
    **{f"dual_unet_{2**n}": partial(DualGenerator, levels=n) for n in (8, 7, 6, 5, 4, 3, 2)},
    "discogan": DiscoGenerator,
    **{f"antialias_{n}blocks": partial(AntialiasGenerator, blocks=n) for n in (9, 6)},
    "stargan": StarGANGenerator,
    "spade": SPADEGenerator,
    **{f"srresnet_{n}blocks": partial(SRResNetGenerator, blocks=n) for n in (16, 4)},
    "resize_unet": ResizeUnetGenerator,
    "resize_unet_3levels_2blocks": partial(ResizeUnetGenerator, levels=3, blocks=2),
    "resize_unet_4levels_2blocks_2last": partial(ResizeUnetGenerator, levels=4, blocks=2, last_convs=2),
    "pix2pixhd_global": partial(GlobalGenerator, downs=4),
    "pix2pixhd_global_2downs_3blocks": partial(GlobalGenerator, downs=2, blocks=3),
    "pix2pixhd_local": LocalEnhancer,
    "pix2pixhd_local_2downs_3blocks": partial(LocalEnhancer, downs=2, blocks=3),
}
"""Builders of generators by name. Arguments: channels of the input and of the output, width, norm, dropout. Builders with a
parameter `factor` are also given the enlargement that the method asks for, 1 by default."""


_BLOCK_FAMILIES: dict[str, Callable[..., Generator]] = {
    "resnet": ResnetGenerator,
    "antialias": AntialiasGenerator,
    "srresnet": SRResNetGenerator,
}


def find(name: str) -> Callable[..., Generator] | None:
    """Return the builder of the generator `name`; None if there is no such network.

    A row of GENERATORS, or another one of its family: a ResNet of any number of blocks (resnet_4blocks, antialias_4blocks,
    srresnet_8blocks), a U-Net of any power of two from 4 up (unet_512, dual_unet_512), a U-Net of resize-convolutions of 1 to 8
    levels, any number of blocks and 1 to 9 last convolutions (resize_unet_5levels_3blocks, resize_unet_5levels_3blocks_2last),
    one of pix2pixHD's of 1 to 6 halvings and any number of blocks (pix2pixhd_global_3downs_6blocks,
    pix2pixhd_local_3downs_6blocks), a SPADE generator of 1 to 7 upsamplings (spade_3ups); or a plug-in.
    """
    built_in = _find_built_in(name)
    return built_in if built_in is not None else PLUGIN_GENERATORS.find(name)


def _find_built_in(name: str) -> Callable[..., Generator] | None:
    """Return the builder of a generator of this package; None if there is no such network."""
    if name in GENERATORS:
        return GENERATORS[name]
    if match := re.fullmatch(r"(resnet|antialias|srresnet)_([1-9]\d{0,2})blocks", name):
        return partial(_BLOCK_FAMILIES[match[1]], blocks=int(match[2]))
    if match := re.fullmatch(r"(dual_)?unet_([1-9]\d{0,5})", name):
        size = int(match[2])
        if size >= 4 and size.bit_count() == 1:
            return partial(DualGenerator if match[1] else UnetGenerator, levels=size.bit_length() - 1)
    if match := re.fullmatch(r"resize_unet_([1-8])levels_([1-9]\d{0,2})blocks(?:_([1-9])last)?", name):
        levels, blocks, last_convs = (int(number or 1) for number in match.groups())
        return partial(ResizeUnetGenerator, levels=levels, blocks=blocks, last_convs=last_convs)
    if match := re.fullmatch(r"pix2pixhd_(global|local)_([1-6])downs_([1-9]\d{0,2})blocks", name):
        kind = GlobalGenerator if match[1] == "global" else LocalEnhancer
        return partial(kind, downs=int(match[2]), blocks=int(match[3]))
    if (match := re.fullmatch(r"spade_([1-9])ups", name)) and int(match[1]) <= MAX_UPS:
        return partial(SPADEGenerator, ups=int(match[1]))
    return None


def deepest_unet(crop_size: int, family: str = "unet") -> str | None:
    """Return the name of the deepest U-Net of a family (unet, dual_unet), up to 8 levels, that takes `crop_size`, or None."""
    power = min(crop_size & -crop_size, 256)  # the largest power of two that divides it
    return f"{family}_{power}" if power >= 4 else None


def _n_layers(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return PatchDiscriminator(in_channels, width, norm, layers)


def _basic(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return PatchDiscriminator(in_channels, width, norm)


def _pixel(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return PixelDiscriminator(in_channels, width, norm)


def _antialias(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return AntialiasDiscriminator(in_channels, width, norm, layers)


def _dualgan(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return DualImageDiscriminator(in_channels, width, norm, crop_size)


def _dualgan_patch(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return DualPatchDiscriminator(in_channels, width, norm, crop_size)


def _discogan(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return DiscoDiscriminator(in_channels, width, norm, crop_size)


def _stargan(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return StarGANDiscriminator(in_channels, width, crop_size)


def _pix2pixhd(
    in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256, *, scales: int = 2
) -> Discriminator:
    return Pix2PixHDDiscriminator(in_channels, width, norm, layers, scales=scales)


def _spade(in_channels: int, width: int, norm: str, layers: int, crop_size: int = 256) -> Discriminator:
    return SPADEDiscriminator(in_channels, width, norm)


def _projected(
    in_channels: int,
    width: int,
    norm: str,
    layers: int,
    crop_size: int = 256,
    *,
    condition_channels: int = 0,
    features: str = "efficientnet-lite0",
    pixel: bool = False,
) -> Discriminator:
    """Build a projected discriminator; its widths follow from the crop size, and are scaled by `width`: 64 leaves them."""
    is_small = crop_size <= LARGEST_SMALL_CROP
    return ProjectedDiscriminator(
        in_channels,
        load_features(features),
        max(1, (32 if is_small else 64) * width // 64),
        condition_channels=condition_channels,
        pixel_width=max(1, (24 if is_small else 64) * width // 64) if pixel else 0,
        pixel_halvings=2 if is_small else 3,
    )


DISCRIMINATORS: dict[str, Callable[..., Discriminator]] = {
    "basic": _basic,
    "n_layers": _n_layers,
    "pixel": _pixel,
    "antialias": _antialias,
    "dualgan": _dualgan,
    "dualgan_patch": _dualgan_patch,
    "discogan": _discogan,
    "stargan": _stargan,
    "spade": _spade,
    "projected": _projected,
    "projected+pixel": partial(_projected, pixel=True),
    "pix2pixhd": _pix2pixhd,
    "pix2pixhd_3scales": partial(_pix2pixhd, scales=3),
}
"""Builders of discriminators by name. Arguments: channels of the images, width, norm, number of downsamplings (used by
n_layers, antialias and pix2pixhd), and the crop size (256; used by those that see a whole image and, for the widths, by the
projected ones). Builders with such parameters are also given `condition_channels`, how many of the channels, the first ones,
are those of an input image, and `features`, a feature network by name or by file."""


def find_discriminator(name: str) -> Callable[..., Discriminator] | None:
    """Return the builder of the discriminator `name`; None if there is no such network.

    A row of DISCRIMINATORS, one of pix2pixHD's of 1 to 9 scales (pix2pixhd_4scales), or a plug-in.
    """
    built_in = _find_built_in_discriminator(name)
    return built_in if built_in is not None else PLUGIN_DISCRIMINATORS.find(name)


def _find_built_in_discriminator(name: str) -> Callable[..., Discriminator] | None:
    """Return the builder of a discriminator of this package; None if there is no such network."""
    if name in DISCRIMINATORS:
        return DISCRIMINATORS[name]
    match = re.fullmatch(r"pix2pixhd_([1-9])scales", name)
    return partial(_pix2pixhd, scales=int(match[1])) if match else None


def _find_problem(name: str, value: Any) -> str:
    """Return why a plug-in cannot be the network of a name; empty if it can."""
    return "" if callable(value) else "is no class and no function that builds one"


PLUGIN_GENERATORS = plugins.PluginGroup(
    "generators", GENERATORS, lambda name: _find_built_in(name) is not None, _find_problem
)
PLUGIN_DISCRIMINATORS = plugins.PluginGroup(
    "discriminators", DISCRIMINATORS, lambda name: _find_built_in_discriminator(name) is not None, _find_problem
)
