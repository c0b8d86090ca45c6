"""BicycleGAN: paired translation with many outputs for one input (Zhu et al., "Toward Multimodal Image-to-Image Translation",
NeurIPS 2017). The defaults are the recipe of the authors' scripts."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Losses, Scheduled, Step, Update
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    build_by_name,
    check_adversarial_config,
    check_crop_size,
    check_discriminator_size,
    coupling_reason,
    forward_concatenated,
)
from translate.methods.configs import AdversarialConfig, NoRandomCrop, features_option
from translate.methods.content_loss import feature_networks
from translate.methods.latent_code import LatentCodeMethod
from translate.nn import networks
from translate.nn.base import Discriminator, Generator
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.features import weights_file
from translate.nn.frozen import apply_frozen
from translate.nn.init import xavier_
from translate.nn.losses import Logits, gaussian_kl, l1
from translate.nn.networks import GENERATORS
from translate.nn.networks.bicyclegan import (
    MAX_LEVELS,
    SCALES,
    Z_AT,
    BicycleGenerator,
    CodeBesideImage,
    LatentEncoder,
    MultiscaleDiscriminator,
    encoder_halvings,
    minimum_crop,
)
from translate.nn.tuned_conv import use_tuned_convolutions

PREVIEW_SAMPLES = 4
"""Columns of the sample grid with different noise."""

LATENT_UNET, MULTISCALE = "latent_unet", "multiscale"
"""Names of the authors' generator and discriminators."""
PROJECTED = ("projected", "projected+pixel")
"""Other discriminators that `--discriminator` offers."""

MIN_CROP = minimum_crop(1)
"""Smallest crop size: a discriminator has a downsampling at least."""


def find_generator(name: str) -> Callable[..., Generator] | None:
    """Return the builder of the generator `name`, of images or of images and codes; None if there is no such network."""
    return BicycleGenerator if name == LATENT_UNET else networks.find(name)


@dataclass(frozen=True)
class BicycleGANConfig(NoRandomCrop, AdversarialConfig):
    """Config of BicycleGAN."""

    batch_size: int = option(
        2,
        "images in a training step, for each process: an even number, of which half are translated",
        low=1,
        group="Data",
    )
    epochs: int = option(200, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        200, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    dropout: bool = option(True, "dropout in the generator, in training alone", group="Networks")
    norm_statistics: str = option(
        "sample",
        "statistics for batch norm in conversion: sample (each image's own) or running (averages over training)",
        choices=("sample", "running"),
        group="Networks",
    )
    generator: str = option(
        LATENT_UNET,
        "generator network: latent_unet, the authors', or one that takes the latent code beside the image, such as resize_unet",
        choices=(LATENT_UNET, *GENERATORS),
        accepts=find_generator,
        group="Networks",
    )
    discriminator: str = option(
        MULTISCALE,
        "both discriminator networks: multiscale, the authors', or projected ones",
        choices=(MULTISCALE, *PROJECTED),
        group="Networks",
    )
    features: str = features_option()
    g_levels: int | None = option(
        None,
        f"downsamplings of latent_unet [default: as many as the crop size allows, at most {MAX_LEVELS}]",
        low=2,
        high=12,
        group="Networks",
    )
    d_layers: int | None = option(
        None,
        f"stride-2 layers of each multiscale discriminator [default: 3, fewer for crops below {minimum_crop(3)}]",
        low=1,
        high=6,
        group="Networks",
    )
    e_width: int = option(64, "channels of the encoder's first layer", low=1, group="Networks")
    latent_size: int = option(
        8, "numbers in a latent code, the noise that decides between outputs", low=1, group="Networks"
    )
    z_at: str = option(
        "all",
        "where latent_unet takes the latent code: all (before each downsampling) or input (beside the image)",
        choices=Z_AT,
        group="Networks",
    )
    lambda_l1: float = option(
        10.0,
        "weight of the L1 loss between the true image and its reconstruction from its own code",
        low=0,
        group="Losses",
    )
    lambda_kl: float = option(
        0.01, "weight of the KL divergence of encoded codes from the normal distribution", low=0, group="Losses"
    )
    lambda_z: float = option(
        0.5, "weight of the L1 loss between a random code and the code encoded from its output", low=0, group="Losses"
    )
    lambda_gan2: float = option(
        1.0, "weight of the adversarial loss of outputs from random codes", low=0, group="Losses"
    )


class BicycleGAN(LatentCodeMethod[BicycleGANConfig]):
    """BicycleGAN (sec. 3.4): a generator `g` from a and a latent code to b, and an encoder `e` from b to codes.

    The discriminator `d` judges outputs from encoded codes (cVAE-GAN), `d2` those from random codes (cLR-GAN). Both see the
    output image alone.
    """

    name = "bicyclegan"
    summary = "paired translation with many outputs for one input, or in the style of an example image"
    layout = "paired"
    Config = BicycleGANConfig
    presets = {
        "paper": {},
        "quick": {
            "images": 16_000,
            "decay_images": 8_000,
            "batch_size": 8,
            "load_size": 128,
            "crop_size": 64,
            "generator": "resize_unet_3levels_2blocks_2last",
            "g_width": 16,
            "e_width": 32,
            "norm": "batch",
            "norm_statistics": "running",
            "dropout": False,
            "discriminator": "projected+pixel",
            "adversarial": "hinge",
            "diffaugment": "translation,cutout",
            "lr": 1e-3,
            "beta2": 0.99,
            "ema_half_life": 600,
            "lambda_l1": 8.0,
            "lambda_z": 3.0,
        },
    }
    generator_names = {"b": "g"}
    style_networks = ("e",)
    network_settings = (
        "input_channels", "output_channels", "crop_size", "norm", "dropout", "g_width", "norm_statistics", "g_levels",
        "e_width", "latent_size", "z_at", "d_width", "d_layers", "range_a", "range_b", "generator", "discriminator",
        "features",
    )  # fmt: skip
    batch_multiple = 2
    generator_sees_image_alone = False
    has_noise = True
    dropout_in_conversion = False
    ema = ("g", "e")

    def __init__(self, cfg: BicycleGANConfig) -> None:
        super().__init__(cfg)
        assert cfg.g_levels is not None and cfg.d_layers is not None, "the config is resolved"
        self.g = _build_generator(cfg)
        self.e = LatentEncoder(
            cfg.output_channels, cfg.latent_size, cfg.e_width, cfg.norm, encoder_halvings(cfg.crop_size)
        )
        self.d, self.d2 = (_build_discriminator(cfg) for _ in range(2))
        for name, net in self.named_children():
            initialise = net.initialise if isinstance(net, (Generator, Discriminator)) else xavier_
            initialise(net, cfg.seed, name)
            set_test_time_behaviour(net, cfg.norm_statistics, self.dropout_in_conversion)
        if cfg.discriminator == MULTISCALE:
            # The authors' losses are sums over scales, those of the discriminators not halved; `AdversarialLoss` takes means.
            self.adversarial_weight, self.discriminator_weight = float(SCALES), 2.0
        self.frozen_networks = feature_networks(self)
        self.latent_size = cfg.latent_size
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {
            "g": Update(("g", "e"), cfg.lr, options=adam_options(cfg)),
            "d": Update(("d", "d2"), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
        }
        self.coupled = coupling_reason(self)

    @classmethod
    def resolve_config(cls, cfg: BicycleGANConfig) -> BicycleGANConfig:
        if cfg.preprocess == "none":
            raise UsageError(
                "--preprocess none keeps images of many sizes, but a step of bicyclegan takes two images of one size; leave it "
                "out"
            )
        if cfg.batch_size % (2 * cfg.accumulate):
            raise UsageError(
                f"--batch-size {cfg.batch_size} with --accumulate {cfg.accumulate}: bicyclegan translates one half of each "
                f"micro-batch and compares with the other; use --batch-size {2 * cfg.accumulate} or a multiple"
            )
        check_adversarial_config(cfg)
        cfg = replace(cfg, g_levels=_resolve_levels(cfg), d_layers=_resolve_layers(cfg))
        _check_networks(cfg)
        return cfg

    def phase(self, clock: Clock) -> str:
        return self.adversarial_loss.phase(clock.step)

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the losses of generator and encoder (eq. 11), then those of both discriminators, as in the authors' code.

        Every other image of the batch is translated; the true outputs of the rest are the real images of `d2`. So the halves do
        not depend on the number of micro-batches and processes.
        """
        first, second = ({name: x[start::2] for name, x in batch.items()} for start in (0, 1))
        a, b, key, dtype = first["a"], first["b"], first["key"], first["a"].dtype
        mean, log_variance = self.e(b)
        noise = keyed_random.normal(key, "encoded", self.cfg.latent_size).to(dtype)
        encoded = self.g(a, mean + noise * (0.5 * log_variance).exp())  # cVAE-GAN: a code of the true output
        z = keyed_random.normal(key, "z", self.cfg.latent_size).to(dtype)
        random = self.g(a, z)  # cLR-GAN: a code of the prior
        yield (
            "g",
            {
                "adv_encoded": self.fooling_loss(first, self.d, encoded, b, "g encoded"),
                "adv_random": self.cfg.lambda_gan2 * self.fooling_loss(first, self.d2, random, second["b"], "g random"),
                "l1": self.cfg.lambda_l1 * l1(encoded, b),
                "kl": self.cfg.lambda_kl * gaussian_kl(mean, log_variance),
                # Only the generator learns from this: together they could hide the code in the image (sec. 3.4).
                "z": self.cfg.lambda_z * l1(apply_frozen(self.e, random)[0], z),
            },
        )
        yield (
            "d",
            {
                **self.discriminator_losses(first, self.d, b, encoded.detach(), clock.step, "encoded"),
                **self.discriminator_losses(first, self.d2, second["b"], random.detach(), clock.step, "random"),
            },
        )

    def fooling_loss(self, batch: Batch, d: Discriminator, fake: Tensor, real: Tensor, name: str) -> Tensor:
        """Return the generator's adversarial loss, a sum over scales; `name` is that of the draws of augmentation."""
        on_fake = d(augment(self.cfg, batch, fake, name))
        loss = self.adversarial_loss.generator_loss(on_fake, lambda: d(augment(self.cfg, batch, real, name)))
        return self.adversarial_weight * loss

    def discriminator_losses(
        self, batch: Batch, d: Discriminator, real: Tensor, fake: Tensor, step: int, name: str
    ) -> Losses:
        """Return the losses of one discriminator, sums over scales and over real and fake images, named after its fakes."""
        loss, weight = self.adversarial_loss, self.adversarial_weight * self.discriminator_weight
        real, fake = (augment(self.cfg, batch, x, f"{name} {kind}") for x, kind in ((real, "real"), (fake, "fake")))
        on_fake, on_real = forward_concatenated(d, fake, real)
        losses = {f"adv_{name}": weight * loss.discriminator_loss(on_real, on_fake)}
        if loss.has_penalty(step):
            losses[f"penalty_{name}"] = weight * loss.penalty(d.forward, real, fake, batch["key"])
        return losses

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        a, b, key = batch["a"], batch["b"], batch["key"]
        columns = {"input": a, "truth": b, "encoded": self.translate_in_style(a, "b", self.encode_style(b, "b"))}
        for index in range(PREVIEW_SAMPLES):
            columns[f"sample {index + 1}"] = self.translate(a, "b", keyed_random.fold_in(key, "preview", index))
        return columns

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        a, b = batch["a"], batch["b"]
        encoded = self.translate_in_style(a, "b", self.encode_style(b, "b"))
        random = self.translate(a, "b", batch["key"])
        return {
            "real_encoded": self.d(b), "fake_encoded": self.d(encoded),
            "real_random": self.d2(b), "fake_random": self.d2(random),
        }  # fmt: skip


def _build_generator(cfg: BicycleGANConfig) -> Generator:
    """Return the generator of the config, without its initial weights."""
    if cfg.generator == LATENT_UNET:
        assert cfg.g_levels is not None, "the config is resolved"
        net: Generator = BicycleGenerator(
            cfg.input_channels, cfg.output_channels, cfg.g_width, cfg.norm, cfg.dropout, levels=cfg.g_levels,
            latent=cfg.latent_size, z_at=cfg.z_at,
        )  # fmt: skip
    else:
        channels = cfg.input_channels + cfg.latent_size
        of_images = build_by_name(cfg.generator, channels, cfg.output_channels, cfg.g_width, cfg.norm, cfg.dropout)
        net = CodeBesideImage(of_images, cfg.latent_size)
        use_tuned_convolutions(net)
    net.gradient_checkpointing = cfg.gradient_checkpointing
    return net


def _build_discriminator(cfg: BicycleGANConfig) -> Discriminator:
    """Return one of the discriminators of the config, without its initial weights."""
    if cfg.discriminator == MULTISCALE:
        assert cfg.d_layers is not None, "the config is resolved"
        return MultiscaleDiscriminator(cfg.output_channels, cfg.d_width, cfg.norm, cfg.d_layers)
    build = networks.DISCRIMINATORS[cfg.discriminator]
    return build(cfg.output_channels, cfg.d_width, cfg.norm, 0, cfg.crop_size, features=cfg.features)


def _check_networks(cfg: BicycleGANConfig) -> None:
    """Check that the networks take the crop size and keep the codes. UsageError, with a setting that works, if not."""
    d_minimum = 1
    if cfg.discriminator != MULTISCALE:
        weights_file(cfg.features)
        with torch.device("meta"):
            d_minimum = _build_discriminator(cfg).minimum
    if cfg.generator != LATENT_UNET:
        if cfg.norm == "instance" or (cfg.norm == "batch" and cfg.norm_statistics == "sample"):
            raise UsageError(
                f"--generator {cfg.generator}: takes the latent code as planes beside the image, which norms with the "
                f"statistics of one image remove; use --norm batch --norm-statistics running"
            )
        with torch.device("meta"):
            check_crop_size(cfg.crop_size, cfg.generator, _build_generator(cfg), d_minimum)
    check_discriminator_size(cfg.crop_size, cfg.discriminator, d_minimum, MULTISCALE)


def _resolve_levels(cfg: BicycleGANConfig) -> int:
    """Return the downsamplings of the generator. UsageError, with a crop size that works, if it cannot take the crop."""
    power = (cfg.crop_size & -cfg.crop_size).bit_length() - 1  # the largest power of two that divides it is 2^power
    levels = min(power, MAX_LEVELS) if cfg.g_levels is None else cfg.g_levels
    if cfg.generator != LATENT_UNET:
        return levels
    if levels < 2:
        raise UsageError(
            f"--crop-size {cfg.crop_size}: no U-Net takes this size; use a multiple of 32, such as --crop-size "
            f"{max(32, cfg.crop_size // 32 * 32)}"
        )
    if levels > power:
        raise UsageError(
            f"--g-levels {levels}: takes multiples of {2**levels}, not --crop-size {cfg.crop_size}; use --g-levels {power}"
        )
    return levels


def _resolve_layers(cfg: BicycleGANConfig) -> int:
    """Return the stride-2 layers of the discriminators. UsageError, with a value that works, if the crop is too small."""
    if cfg.discriminator != MULTISCALE:
        return cfg.d_layers or 3
    fitting = [layers for layers in (3, 2, 1) if minimum_crop(layers) <= cfg.crop_size]
    if not fitting:
        raise UsageError(
            f"--crop-size {cfg.crop_size}: the discriminators of bicyclegan need at least {MIN_CROP}; use --crop-size 32"
        )
    if cfg.d_layers is not None and minimum_crop(cfg.d_layers) > cfg.crop_size:
        raise UsageError(
            f"--d-layers {cfg.d_layers}: needs crops of at least {minimum_crop(cfg.d_layers)}, not --crop-size "
            f"{cfg.crop_size}; use --d-layers {fitting[0]}"
        )
    return cfg.d_layers or fitting[0]
