"""Detection of a network's architecture from a state dict of the reference implementation, of CUT or of pix2pixHD: from names
and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from translate.nn.networks import find, find_discriminator
from translate.nn.networks.pix2pixhd import LOCAL_BLOCKS
from translate.trained.description import RUNNING_STATISTICS

Weights = dict[str, Tensor]
"""Tensors of a network by name."""

WRAPPER_PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put in front of names."""


class UnknownArchitecture(Exception):
    """Error: no network of the reference has these weights. The message names the key that does not fit."""


@dataclass(frozen=True)
class Architecture:
    """Arguments of a network."""

    kind: str
    """ "generator" or "discriminator"."""
    name: str
    """Row of GENERATORS or of DISCRIMINATORS, or a name of the same form with another number."""
    in_channels: int
    width: int
    norm: str
    out_channels: int = 1
    layers: int = 3
    """Layers of stride 2, or blurs, of a patch discriminator."""
    dropout: bool | None = None
    """True for a generator with dropout; None where the names do not tell (a U-Net's)."""

    def build(self) -> nn.Module:
        """Build the network on the meta device."""
        with torch.device("meta"):
            build = find(self.name) if self.kind == "generator" else find_discriminator(self.name)
            if build is None:
                raise UnknownArchitecture(f"no network is called {self.name}")
            if self.kind == "discriminator":
                return build(self.in_channels, self.width, self.norm, self.layers)
            return build(self.in_channels, self.out_channels, self.width, self.norm, bool(self.dropout))

    def __str__(self) -> str:
        dropout = " with dropout" if self.dropout else ""
        layers = f" of {self.layers} layers" if self.name.startswith(("n_layers", "antialias", "pix2pixhd")) else ""
        return f"{self.name}{layers}, width {self.width}, {self.norm} norm{dropout}, {self.in_channels} channels in"


def clean_state_dict(state: Mapping[str, Any]) -> Weights:
    """Return the tensors of a state dict by their plain names.

    Prefixes of wrappers go, the running statistics that instance norms carried before torch 0.4, and the blurs that CUT's
    networks keep as buffers. Batch norms from before torch 0.4.1 get the counter that they lack. UnknownArchitecture if a value
    is no tensor of plain weights, or a blur is another one than our layers compute.
    """
    weights: Weights = {}
    for name, value in state.items():
        if name == "_metadata":  # versions of modules, by torch
            continue
        _check_plain(name, value)
        key = name
        while key.startswith(WRAPPER_PREFIXES):
            key = key.split(".", 1)[1]
        if key in weights:
            raise UnknownArchitecture(
                f"key {key!r} is there twice, with and without {WRAPPER_PREFIXES[0]!r} or {WRAPPER_PREFIXES[1]!r}"
            )
        weights[key] = value
    clean: Weights = {}
    for key, value in weights.items():
        layer, _, name = key.rpartition(".")
        if name in RUNNING_STATISTICS and f"{layer}.weight" not in weights:
            continue
        if name == "filt":
            _check_blur(key, value)
            continue
        clean[key] = value
        if name == "running_var" and f"{layer}.num_batches_tracked" not in weights:
            clean[f"{layer}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return clean


def _check_plain(key: Any, value: Any) -> None:
    """Raise UnknownArchitecture unless a key is a name and its value a tensor whose numbers are all in memory."""
    if not isinstance(key, str):
        raise UnknownArchitecture(f"key {key!r} is not a name")
    if not isinstance(value, Tensor):
        raise UnknownArchitecture(f"key {key!r} holds {type(value).__name__}, not a tensor")
    counts = key.endswith("num_batches_tracked")
    plain = value.layout == torch.strided and not value.is_meta and (value.is_floating_point() or counts)
    if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise UnknownArchitecture(
            f"key {key!r} does not hold plain weights ({str(value.dtype).removeprefix('torch.')})"
        )


def _check_blur(key: str, filters: Tensor) -> None:
    """Raise UnknownArchitecture unless a buffer holds the blur of BlurDown or BlurUp for each channel, (C, 1, n, n)."""
    binomial = torch.tensor({3: [1.0, 2.0, 1.0], 4: [1.0, 3.0, 3.0, 1.0]}.get(filters.shape[-1], []))
    expected = binomial[:, None] * binomial / 16  # of four taps the sum is 4: they double the size
    known = filters.ndim == 4 and filters.shape[1:] == (1, *expected.shape)
    if not known or not torch.allclose(filters.float(), expected.expand(filters.shape), atol=1e-3):  # of float16, too
        raise UnknownArchitecture(f"key {key!r} is a blur of {tuple(filters.shape)} that is not CUT's default one")


def detect_architecture(weights: Weights) -> Architecture:
    """Return the architecture that has exactly these cleaned weights. UnknownArchitecture names the first key that differs."""
    if not weights:
        raise UnknownArchitecture("it holds no weights")
    found = _guess(weights)
    expected = {key: tensor.shape for key, tensor in found.build().state_dict().items()}
    for key, shape in expected.items():
        if key not in weights:
            raise UnknownArchitecture(f"key {key!r} is missing for {found}")
        if weights[key].shape != shape:
            raise UnknownArchitecture(
                f"key {key!r} has the shape {tuple(weights[key].shape)}, but in {found} it has {tuple(shape)}"
            )
    for key in weights:
        if key not in expected:
            raise UnknownArchitecture(f"key {key!r} does not belong to {found}")
    return found


def _guess(weights: Weights) -> Architecture:
    """Guess the architecture from a few tensors; the caller compares the others."""
    families = {
        "model1_1.1.weight": _local_enhancer,
        "scale0_layer0.0.weight": _multiscale,
        "model.model.0.weight": _unet,
        "net.0.weight": _pixel,
        "model.1.weight": _resnet,
        "model.0.weight": _patch,
    }
    for key, describe in families.items():
        if key in weights and weights[key].ndim == 4:
            return describe(weights)
    first = next(iter(weights))
    raise UnknownArchitecture(f"key {first!r} is not the first key of any network of the reference")


def _norm(weights: Weights, conv: str) -> str:
    """Return the kind of norm, from the statistics of batch norms and the bias of a convolution in front of a norm."""
    if any(key.endswith("running_mean") for key in weights):
        return "batch"
    return "instance" if f"{conv}.bias" in weights else "none"


def _shape(weights: Weights, key: str) -> torch.Size:
    if key not in weights or weights[key].ndim != 4 or 0 in weights[key].shape:
        raise UnknownArchitecture(f"key {key!r} is missing, or is not a convolution")
    return weights[key].shape


def _resnet(weights: Weights) -> Architecture:
    width, channels, *_ = _shape(weights, "model.1.weight")
    blocks = _block_numbers(weights)
    first, count = min(blocks), len(blocks)
    # A ResNet has three layers for each convolution that halves or doubles the size; CUT's has blurs before its blocks, too.
    downs = 2 if first == 12 else _halvings(first)
    if first == 12:
        name, last = f"antialias_{count}blocks", 21 + count
    else:
        name = f"resnet_{count}blocks" if downs == 2 else _pix2pixhd_name("global", downs, count)
        first, last = 4 + 3 * downs, 5 + 6 * downs + count
    return Architecture(
        kind="generator",
        name=name,
        in_channels=channels,
        out_channels=_shape(weights, f"model.{last}.weight")[0],
        width=width,
        norm=_norm(weights, "model.1"),
        dropout=_has_dropout(weights, first),
    )


def _local_enhancer(weights: Weights) -> Architecture:
    width, channels, *_ = _shape(weights, "model1_1.1.weight")
    blocks = _block_numbers(weights)
    return Architecture(
        kind="generator",
        name=_pix2pixhd_name("local", _halvings(min(blocks)), len(blocks)),
        in_channels=channels,
        out_channels=_shape(weights, f"model1_2.{LOCAL_BLOCKS + 4}.weight")[0],
        width=width,
        norm=_norm(weights, "model1_1.1"),
        dropout=_has_dropout(weights, min(blocks)),
    )


def _block_numbers(weights: Weights) -> set[int]:
    """Return the indices of the residual blocks. UnknownArchitecture if there are none."""
    blocks = {int(match[1]) for key in weights if (match := re.match(r"model\.(\d{1,4})\.conv_block\.", key))}
    if not blocks:
        raise UnknownArchitecture("key 'model.10.conv_block.1.weight' is missing: a ResNet without blocks")
    return blocks


def _halvings(first: int) -> int:
    """Return the halvings of a ResNet by the index of its first block: 4 layers, and 3 for each; 2, as usual, for others."""
    downs, rest = divmod(first - 4, 3)
    return downs if rest == 0 and 1 <= downs <= 6 else 2


def _pix2pixhd_name(kind: str, downs: int, blocks: int) -> str:
    """Return the name of one of pix2pixHD's generators, that of the authors' numbers without them."""
    return f"pix2pixhd_{kind}" + ("" if (downs, blocks) == (4, 9) else f"_{downs}downs_{blocks}blocks")


def _has_dropout(weights: Weights, block: int) -> bool:
    """Return whether dropout has moved the second convolution of a block on by one."""
    second = weights.get(f"model.{block}.conv_block.6.weight")
    return second is not None and second.ndim == 4


def _unet(weights: Weights) -> Architecture:
    width, channels, *_ = _shape(weights, "model.model.0.weight")
    levels, level = 2, "model.model.1.model"
    while f"{level}.3.model.1.weight" in weights:
        levels, level = levels + 1, f"{level}.3.model"
    return Architecture(
        kind="generator",
        name=f"unet_{2**levels}",
        in_channels=channels,
        out_channels=_shape(weights, "model.model.3.weight")[1],  # transposed: (in, out, 4, 4)
        width=width,
        norm=_norm(weights, "model.model.0"),
    )


def _patch(weights: Weights) -> Architecture:
    width, channels, *_ = _shape(weights, "model.0.weight")
    layers = sum(tensor.ndim == 4 for tensor in weights.values()) - 2
    if layers < 1:
        raise UnknownArchitecture("key 'model.5.weight' is missing: a discriminator of fewer than three convolutions")
    has_blurs = "model.3.weight" in weights and weights["model.3.weight"].ndim == 4
    return Architecture(
        kind="discriminator",
        name="antialias" if has_blurs else "basic" if layers == 3 else "n_layers",
        in_channels=channels,
        width=width,
        norm=_norm(weights, "model.3" if has_blurs else "model.2"),
        layers=layers,
    )


def _pixel(weights: Weights) -> Architecture:
    width, channels, *_ = _shape(weights, "net.0.weight")
    return Architecture(
        kind="discriminator", name="pixel", in_channels=channels, width=width, norm=_norm(weights, "net.2")
    )


def _multiscale(weights: Weights) -> Architecture:
    width, channels, *_ = _shape(weights, "scale0_layer0.0.weight")
    found = [match for key in weights if (match := re.match(r"scale(\d)_layer(\d{1,2})\.", key))]
    scales, layers = (1 + max(int(match[number]) for match in found) for number in (1, 2))
    return Architecture(
        kind="discriminator",
        name="pix2pixhd" if scales == 2 else f"pix2pixhd_{scales}scales",
        in_channels=channels,
        width=width,
        norm=_norm(weights, "scale0_layer1.0"),
        layers=layers - 2,
    )
