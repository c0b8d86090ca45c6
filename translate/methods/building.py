"""Build what a config asks for: generators, discriminators and the adversarial loss; check that they fit together."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from translate.errors import UsageError
from translate.methods.base import Method
from translate.methods.configs import AdversarialConfig, GanConfig
from translate.nn.adversarial_loss import AdversarialLoss
from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import DISCRIMINATORS, deepest_unet
from translate.nn.networks import find as find_generator

C = TypeVar("C", bound=GanConfig)


def build_adversarial_loss(cfg: AdversarialConfig) -> AdversarialLoss:
    """The adversarial cost that the config asks for."""
    return AdversarialLoss(
        cfg.adversarial, real_label=cfg.real_label, penalty_weight=cfg.lambda_penalty, penalty_every=cfg.penalty_every
    )


def coupling_reason(cfg: GanConfig) -> str:
    """Why images of a batch influence each other in networks of the shared kinds; empty if they do not."""
    return "batch norm" if cfg.norm == "batch" else "dropout" if cfg.dropout else ""


def forward_concatenated(net: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """`net` of several batches (N, …), as if they went through it one after another, in that order.

    They go through it at once where no image changes what becomes of another, that is without batch norm: that halves the
    operations, and the weights' gradients are made once. Not where memory is short, for what is computed again in the backward
    pass would be twice as much at a time.
    """
    apart = any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    if apart or getattr(net, "gradient_checkpointing", False) or len({x.shape[1:] for x in batches}) > 1:
        return tuple(net(x) for x in batches)
    return net(torch.cat(batches)).split([len(x) for x in batches])


def build_generator(cfg: GanConfig, in_channels: int, out_channels: int, *key: int | str) -> Generator:
    """The generator that the config asks for, with initial weights that are a function of the key."""
    build = find_generator(cfg.generator)
    assert build is not None, "the config is checked"
    net = build(in_channels, out_channels, cfg.g_width, cfg.norm, cfg.dropout)
    set_test_time_behaviour(net, cfg.norm_statistics)
    net.gradient_checkpointing = cfg.gradient_checkpointing
    net.initialise(net, *key)
    return net


def build_discriminator(cfg: GanConfig, in_channels: int, *key: int | str) -> Discriminator:
    """The discriminator that the config asks for, with initial weights that are a function of the key."""
    net = DISCRIMINATORS[cfg.discriminator](in_channels, cfg.d_width, cfg.norm, cfg.d_layers, cfg.crop_size)
    net.initialise(net, *key)
    return net


def with_default_unet(cfg: C, kind: str) -> C:
    """The config with its generator filled in, if it has none: the deepest U-Net of the kind that takes the crop."""
    if cfg.generator is not None:
        return cfg
    generator = deepest_unet(cfg.crop_size, kind)
    if generator is None:
        near = max(32, cfg.crop_size // 32 * 32)
        raise UsageError(
            f"--crop-size {cfg.crop_size}: no U-Net takes it; use a multiple of 32, such as --crop-size {near}"
        )
    return replace(cfg, generator=generator)


def check_gan_config(cls: type[Method], cfg: GanConfig) -> None:
    """UsageError where the networks cannot take the crop, or the adversarial cost not the norm or label."""
    nets = list(cls.on_meta(cfg).modules())
    if cfg.preprocess == "none":  # each image has a size of its own
        if any(isinstance(net, Discriminator) and net.fixed_size for net in nets):
            raise UsageError(
                f"--preprocess none leaves images of many sizes, but the {cfg.discriminator} discriminator judges one; give "
                f"another --discriminator, such as basic"
            )
        if cls.layout == "unpaired" and ADVERSARIAL[cfg.adversarial].penalty_weight:
            raise UsageError(
                f"--preprocess none leaves images of many sizes, but {cfg.adversarial} puts real and made ones beside each "
                f"other; use another --adversarial"
            )
        nets = []
    judges = max((net.minimum for net in nets if isinstance(net, Discriminator)), default=1)
    for net in nets:
        if isinstance(net, Generator) and (cfg.crop_size < net.minimum or cfg.crop_size % net.multiple_of):
            least = -(-max(net.minimum, judges) // net.multiple_of) * net.multiple_of
            near = max(least, cfg.crop_size // net.multiple_of * net.multiple_of)
            raise UsageError(
                f"--crop-size {cfg.crop_size}: {cfg.generator} takes multiples of {net.multiple_of} from {net.minimum} up; "
                f"try --crop-size {near}"
            )
    if cfg.crop_size < judges:
        raise UsageError(
            f"--crop-size {cfg.crop_size}: the {cfg.discriminator} discriminator needs at least {judges}; use a larger crop, "
            f"or --discriminator pixel"
        )
    check_adversarial_config(cfg)


def check_adversarial_config(cfg: AdversarialConfig) -> None:
    """UsageError where the adversarial cost cannot work with the norm, the label or the precision, or a batch not be split."""
    cost = ADVERSARIAL[cfg.adversarial]
    if cost.penalty_weight and cfg.norm == "batch":
        raise UsageError(
            f"--adversarial {cfg.adversarial} penalises each image's own gradient, which batch norm in the discriminator "
            f"mixes; use --norm instance or none"
        )
    for name in ("lambda_penalty", "penalty_every"):
        if getattr(cfg, name) is not None and not cost.penalty_weight:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {getattr(cfg, name)}: {cfg.adversarial} has no gradient penalty; leave it out")
    if cfg.real_label != 1 and not cost.supports_label_smoothing:
        raise UsageError(f"--real-label {cfg.real_label}: {cfg.adversarial} has no labels to smooth; leave it at 1")
    if cfg.batch_size % cfg.accumulate:
        raise UsageError(f"--accumulate {cfg.accumulate} does not divide --batch-size {cfg.batch_size}")
    if cfg.precision == "fp16" and cost.penalty_weight:
        raise UsageError(f"--precision fp16 cannot hold the gradient penalty of {cfg.adversarial}; use bf16 or fp32")
