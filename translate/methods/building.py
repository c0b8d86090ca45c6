"""Shared parts of methods: generators, discriminators and adversarial loss as the config asks for them, the checks that they
fit together, and the discriminator's side of a training step."""

import inspect
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from translate.errors import UsageError
from translate.methods.base import Batch, Losses, Method
from translate.methods.configs import DiscriminatorConfig, GanConfig, LabelMapConfig, NormConfig
from translate.nn import networks
from translate.nn.adversarial_loss import AdversarialLoss
from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import coupling_in, set_test_time_behaviour
from translate.nn.diffaugment import diffaugment
from translate.nn.features import weights_file
from translate.nn.features.feature_network import FeatureNetwork
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import deepest_unet
from translate.nn.tuned_conv import use_tuned_convolutions
from translate.runtime import distributed

PERCEPTUAL_NETWORK = "content.perceptual"
"""Name of the network of the perceptual loss among the modules of a method; all other feature networks are of `--features`."""

C = TypeVar("C", bound=GanConfig)


def build_adversarial_loss(cfg: DiscriminatorConfig) -> AdversarialLoss:
    """Return the adversarial loss of the config."""
    return AdversarialLoss(
        cfg.adversarial, real_label=cfg.real_label, penalty_weight=cfg.lambda_penalty, penalty_every=cfg.penalty_every
    )


def adam_options(cfg: DiscriminatorConfig) -> dict[str, Any]:
    """Return the options of Adam for the updates of a config."""
    return {"betas": (0.5, cfg.beta2)}


def coupling_reason(method: Method[Any]) -> str:
    """Return the reason why images of a batch influence each other in a method's networks; empty if they do not."""
    return coupling_in(method) or ("dropout" if getattr(method.cfg, "dropout", False) else "")


def forward_concatenated(net: nn.Module, *batches: Any) -> tuple[Any, ...]:
    """Return the outputs of `net` for several batches (N, …), as if they went through it one after another, in that order.

    An output is a tensor (N, …), or a list of tensors from a discriminator with several heads. The batches are concatenated
    where no image influences another: that halves the number of operations, and weight gradients are computed once. Not with
    gradient checkpointing, where twice as much would be computed again at a time, not for batches of different sizes, not for a
    discriminator's views that are no tensors, and not where inputs are perturbed.
    """
    if any(not isinstance(x, Tensor) for x in batches):
        return tuple(net(x) for x in batches)
    apart = getattr(net, "gradient_checkpointing", False) or getattr(net, "inputs_apart", False)
    if coupling_in(net) or apart or len({x.shape[1:] for x in batches}) > 1:
        return tuple(net(x) for x in batches)
    lengths = [len(x) for x in batches]
    outputs = net(torch.cat(batches))
    if isinstance(outputs, Tensor):
        return outputs.split(lengths)
    return tuple(map(list, zip(*(logits.split(lengths) for logits in outputs), strict=True)))


def augment(cfg: DiscriminatorConfig, batch: Batch, x: Tensor, name: str, *, condition_channels: int = 0) -> Tensor:
    """Apply the config's differentiable augmentation to images x (N, C, H, W) of a batch, before a discriminator sees them.

    name: of the random draws, another one for each use in a step. condition_channels: see `diffaugment`.
    """
    return diffaugment(x, batch["key"], cfg.diffaugment, name, condition_channels=condition_channels)


def image_of(view: Any) -> Tensor:
    """Return the images (N, C, H, W) of a discriminator's view."""
    return view if isinstance(view, Tensor) else view.image


def discriminator_losses(loss: AdversarialLoss, d: nn.Module, real: Any, fake: Any, key: Tensor, step: int) -> Losses:
    """Return the losses of a method's only discriminator for views of real and fake images: "adv", and "penalty" when due.

    Fakes go through it first, as in the reference implementation: the running statistics of batch norms depend on the order.
    """
    on_fake, on_real = forward_concatenated(d, fake, real)
    losses = {"adv": loss.discriminator_loss(on_real, on_fake)}
    if loss.has_penalty(step):
        losses["penalty"] = loss.penalty(d.forward, image_of(real), image_of(fake), key)
    return losses


def batch_mean(x: Tensor) -> Tensor:
    """Return the mean (C, H, W) of x (N, C, H, W) over the images of all processes, N in each; in float32 at least.

    Its gradient is that of the mean over this process's images, so that the mean of gradients over processes is the gradient of
    one large batch.
    """
    own = x.to(torch.promote_types(x.dtype, torch.float32)).mean(0)
    return own + (distributed.all_reduce_mean(own.detach()) - own.detach())


def build_generator(cfg: GanConfig, in_channels: int, out_channels: int, *key: int | str, factor: int = 1) -> Generator:
    """Return the generator of the config, with initial weights that are a function of the key.

    factor: pixels a side of its outputs for each pixel of an input. UsageError if the generator has another one. Training and
    conversion both build their generators here, so here they get the fast convolutions.
    """
    own = cfg.g_width, cfg.norm, cfg.dropout
    net = build_by_name(cfg.generator, in_channels, out_channels, *own, factor=factor)
    if net.scale != factor:
        raise UsageError(
            f"--generator {cfg.generator}: its outputs have {net.scale} pixels a side for each of the input, but {factor} are "
            f"wanted; use {'--generator srresnet_16blocks' if factor > 1 else 'another --generator'}"
        )
    if cfg.residual == "on":
        _use_residual_output(cfg, net)
    use_tuned_convolutions(net)
    set_test_time_behaviour(net, cfg.norm_statistics)
    net.gradient_checkpointing = cfg.gradient_checkpointing
    net.initialise(net, *key)
    return net


def build_by_name(name: str, *arguments: Any, **further: int) -> Generator:
    """Return the generator of that name, built in or of a plug-in, without its initial weights.

    arguments: those of a row of GENERATORS. further: others, for the builders that know them. UsageError if a plug-in builds
    something else than a generator.
    """
    build = networks.find(name)
    assert build is not None, "the config is checked"
    parameters = inspect.signature(build).parameters
    net = build(*arguments, **{key: value for key, value in further.items() if key in parameters})
    _check_network(f"--generator {name}", net, Generator)
    return net


def _use_residual_output(cfg: GanConfig, net: Generator) -> None:
    """Give a generator its residual output. UsageError, with a setting that works, if it has none."""
    if not net.supports_residual:
        raise UsageError(
            f"--residual on: {cfg.generator} has no residual output; use --generator resize_unet, or --residual off"
        )
    net.use_residual_output()


def build_discriminator(
    cfg: GanConfig, in_channels: int, *key: int | str, condition_channels: int = 0
) -> Discriminator:
    """Return the discriminator of the config, with initial weights that are a function of the key.

    condition_channels: how many of the channels, the first ones, are those of an input image.
    """
    build = networks.find_discriminator(cfg.discriminator)
    assert build is not None, "the config is checked"
    wanted = {"condition_channels": condition_channels, "features": cfg.features}
    known = {name: value for name, value in wanted.items() if name in inspect.signature(build).parameters}
    net = build(in_channels, cfg.d_width, cfg.norm, cfg.d_layers, cfg.crop_size, **known)
    _check_network(f"--discriminator {cfg.discriminator}", net, Discriminator)
    net.initialise(net, *key)
    return net


def _check_network(flag: str, net: nn.Module, base: type[nn.Module]) -> None:
    """Check what a plug-in has built. Raises UsageError unless it is a network of the base class."""
    if not isinstance(net, base):
        raise UsageError(
            f"{flag}: the plug-in builds a {type(net).__name__}, no subclass of {base.__module__}.{base.__name__}"
        )


def with_default_unet(cfg: C, family: str) -> C:
    """Return the config with a generator: if it has none, the deepest U-Net of the family that takes the crop size.

    family: "unet" or "dual_unet". UsageError if there is no such U-Net.
    """
    if cast(str | None, cfg.generator) is not None:
        return cfg
    generator = deepest_unet(cfg.crop_size, family)
    if generator is None:
        nearest = max(32, cfg.crop_size // 32 * 32)
        raise UsageError(
            f"--crop-size {cfg.crop_size}: no U-Net takes this size; use a multiple of 32, such as --crop-size {nearest}"
        )
    return replace(cfg, generator=generator)


def check_gan_config(cls: type[Method[Any]], cfg: GanConfig) -> None:
    """Check that the networks take the crop size, and that the adversarial loss goes with the other settings.

    UsageError, with a setting that works, if they do not, or if a package that a feature network needs is not installed.
    """
    if cfg.colour_start == "on" and cfg.residual != "on":
        raise UsageError(
            "--colour-start on: is the start of the colour map that --residual on adds to; give --residual on too"
        )
    if cfg.residual == "on" and isinstance(cfg, LabelMapConfig) and cfg.label_count is not None:
        raise UsageError("--residual on: adds to the colours of the input, and label maps have none; leave it out")
    named = dict(cls.on_meta(cfg).named_modules())
    if any(isinstance(net, FeatureNetwork) for name, net in named.items() if name != PERCEPTUAL_NETWORK):
        weights_file(cfg.features)
    if PERCEPTUAL_NETWORK in named:
        weights_file(cfg.perceptual_network, "--perceptual-network")
    nets = list(named.values())
    if not cfg.crops:  # each image has a size of its own
        if any(isinstance(net, Discriminator) and net.fixed_size for net in nets):
            raise UsageError(
                f"--preprocess {cfg.preprocess} keeps images of many sizes, but the {cfg.discriminator} discriminator takes "
                f"one size; use another --discriminator, such as basic"
            )
        if cls.layout == "unpaired" and ADVERSARIAL[cfg.adversarial].penalty_weight:
            raise UsageError(
                f"--preprocess {cfg.preprocess} keeps images of many sizes, but --adversarial {cfg.adversarial} combines each "
                f"real image with a fake one; use another --adversarial"
            )
        nets = []
    d_minimum = max((net.minimum for net in nets if isinstance(net, Discriminator)), default=1)
    for net in nets:
        if not isinstance(net, Generator):
            continue
        check_crop_size(cfg.crop_size, cfg.generator, net, d_minimum)
    check_discriminator_size(cfg.crop_size, cfg.discriminator, d_minimum, "pixel")
    check_adversarial_config(cfg)


def check_discriminator_size(crop_size: int, name: str, minimum: int, other: str) -> None:
    """Check that a discriminator takes the crop size. UsageError, with the name of another one that does, if it does not."""
    if crop_size < minimum:
        raise UsageError(
            f"--crop-size {crop_size}: the {name} discriminator needs at least {minimum}; use a larger --crop-size, or "
            f"--discriminator {other}"
        )


def check_crop_size(crop_size: int, name: str, net: Generator, d_minimum: int = 1) -> None:
    """Check that a generator takes the crop size. UsageError, with the nearest that discriminators take too, if it does not.

    name: that of the generator. d_minimum: smallest crop of the discriminators.
    """
    multiple, minimum = net.scale * net.multiple_of, net.scale * net.minimum  # crops have the size of its outputs
    if crop_size < minimum or crop_size % multiple:
        smallest = -(-max(minimum, d_minimum) // multiple) * multiple
        nearest = max(smallest, crop_size // multiple * multiple)
        raise UsageError(
            f"--crop-size {crop_size}: {name} takes multiples of {multiple} from {minimum} up; use --crop-size {nearest}"
        )


def check_adversarial_config(cfg: DiscriminatorConfig) -> None:
    """Check that the adversarial loss goes with the norm, the label and the precision, and that the batch can be split.

    UsageError, with a setting that works, if not.
    """
    objective = ADVERSARIAL[cfg.adversarial]
    if objective.penalty_weight and isinstance(cfg, NormConfig) and cfg.norm == "batch":
        raise UsageError(
            f"--adversarial {cfg.adversarial} penalises the gradient of each image, which --norm batch in the discriminator "
            f"mixes with those of others; use --norm instance or none"
        )
    for name in ("lambda_penalty", "penalty_every"):
        if getattr(cfg, name) is not None and not objective.penalty_weight:
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} {getattr(cfg, name)}: --adversarial {cfg.adversarial} has no gradient penalty; leave --{flag} out"
            )
    if cfg.real_label != 1 and not objective.supports_label_smoothing:
        raise UsageError(
            f"--real-label {cfg.real_label}: --adversarial {cfg.adversarial} has no labels to smooth; leave it at 1"
        )
    if cfg.batch_size % cfg.accumulate:
        raise UsageError(
            f"--accumulate {cfg.accumulate} does not divide --batch-size {cfg.batch_size}; use one of its divisors"
        )
    if cfg.precision == "fp16" and objective.penalty_weight:
        raise UsageError(
            f"--precision fp16 cannot hold the gradient penalty of --adversarial {cfg.adversarial}; use bf16 or fp32"
        )
