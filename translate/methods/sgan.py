"""Semi-supervised GAN: a classifier that learns from a few labelled images, many without labels, and generated ones.

Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, sec. 5. The defaults are those of the authors' code for
CIFAR-10, the preset mnist has those for MNIST; docs/methods lists the source of each, and the deviations.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import DataError, UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Domain, Losses, Method, Scheduled, Step, Update
from translate.methods.building import batch_mean
from translate.methods.class_labels import classes_of_data
from translate.methods.configs import NoRandomCrop, SemiSupervisedConfig
from translate.methods.noise_images import OneDomainConfig, check_one_domain, refuse_translation, sample_columns
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.init import plain_normal_
from translate.nn.losses import Logits, l1
from translate.nn.networks.sgan import CONV_SIZE, NETWORKS, NOISE_SIZE, SGANClassifier
from translate.nn.weight_norm import initialise_from_data

INITIAL_STD = 0.05
"""Standard deviation of initial weights (the authors' code)."""
WIDTHS = {"conv": (128, 96), "dense": (500, 1000)}
"""Widths of the generator and of the classifier, by the setting `networks`."""
EMA_IMAGES = 1_386_000
"""Half-life of the averages in images: they keep 0.9999 of themselves in each step of 200 (the authors' code)."""


@dataclass(frozen=True)
class SGANConfig(NoRandomCrop, OneDomainConfig, SemiSupervisedConfig):
    """Config of semi-supervised GANs."""

    epochs: int = option(800, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        400, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    batch_size: int = option(
        200,
        "images without labels in a training step, for each process, an even number: half of them for the classifier, half for "
        "the generator; and half as many labelled ones",
        low=2,
        group="Data",
    )
    crop_size: int = option(32, "side of the images: 32; any with --networks dense", low=2, group="Data")
    flip: bool = option(False, "mirror half of the images", group="Data")
    networks: str = option(
        "conv", "conv: convolutional, for 32 pixels; dense: fully connected, for small grey images", choices=NETWORKS,
        group="Networks",
    )  # fmt: skip
    g_width: int | None = option(
        None,
        "channels of the generator's last hidden layer [default: 128; 500 of dense]",
        low=1,
        group="Networks",
    )
    d_width: int | None = option(
        None, "channels of the classifier's first layer [default: 96; 1000 of dense]", low=1, group="Networks"
    )
    lr: float = option(3e-4, "learning rate of both networks", low=0, group="Length")
    ema_half_life: int = option(
        EMA_IMAGES, "half-life, in images, of the averaged weights that are exported; 0: none", low=0, group="Length"
    )
    lambda_unsupervised: float = option(
        1.0, "weight of the loss on images without labels and generated ones", low=0, group="Losses"
    )
    supervised_only: bool = option(
        False,
        "train the classifier on the labelled images alone: the baseline that the method is compared with",
        group="Losses",
    )


class SGAN(Method[SGANConfig]):
    """Semi-supervised GAN (sec. 3.1 and 5): a classifier `d` of K classes, and a generator `g` by feature matching.

    The classifier has K logits; that of a generated image is fixed at 0, so that an image is real with the probability
    Z / (Z + 1), Z being the sum of the exponentials of the logits.
    """

    name = "sgan"
    summary = (
        "a classifier from few labelled images and many others; for evaluate --metrics accuracy, not for translation"
    )
    layout = "images"
    Config = SGANConfig
    presets = {
        "paper": {},
        "mnist": {
            "networks": "dense", "input_channels": 1, "crop_size": 28, "load_size": 28, "lr": 3e-3, "epochs": 300,
            "decay_epochs": 0,
        },
    }  # fmt: skip
    generator_names = {}
    sampling_networks = ("g", "d")
    network_settings = (
        "input_channels",
        "output_channels",
        "crop_size",
        "networks",
        "g_width",
        "d_width",
        "classes",
        "range_a",
    )
    learns_from_labels = True
    batch_multiple = 2
    preparation_images = 500
    coupled = "feature matching and batch norm"
    ema = ("g", "d")
    d: SGANClassifier

    def __init__(self, cfg: SGANConfig) -> None:
        super().__init__(cfg)
        self.class_names = tuple(cfg.classes.split(",")) if cfg.classes else ("0", "1")
        generator, classifier = NETWORKS[cfg.networks]
        self.g = generator(cfg.input_channels, cfg.crop_size, cfg.g_width)
        self.g.gradient_checkpointing = cfg.gradient_checkpointing
        self.d = classifier(cfg.input_channels, len(self.class_names), cfg.crop_size, cfg.d_width)
        for name, net in (("g", self.g), ("d", self.d)):
            plain_normal_(net, cfg.seed, name, gain=INITIAL_STD)
            set_test_time_behaviour(net, "running")
        self.updates = {
            "d": Update(("d",), cfg.lr, role=DISCRIMINATOR),
            **({} if cfg.supervised_only else {"g": Update(("g",), cfg.lr)}),
        }

    @classmethod
    def resolve_config(cls, cfg: SGANConfig) -> SGANConfig:
        check_one_domain(cfg, "sgan")
        if cfg.networks == "conv" and cfg.crop_size != CONV_SIZE:
            raise UsageError(
                f"--crop-size {cfg.crop_size}: sgan's convolutional networks are for {CONV_SIZE} pixels; use --crop-size "
                f"{CONV_SIZE}, or --networks dense"
            )
        if cfg.batch_size % (2 * cfg.accumulate):
            raise UsageError(
                f"--batch-size {cfg.batch_size}: is divided into {2 * cfg.accumulate} equal parts; use a multiple of "
                f"{2 * cfg.accumulate}"
            )
        g_width, d_width = WIDTHS[cfg.networks]
        return replace(
            cfg,
            output_channels=cfg.input_channels,
            g_width=cfg.g_width or g_width,
            d_width=cfg.d_width or d_width,
        )

    @classmethod
    def with_labels(cls, cfg: SGANConfig, names: tuple[str, ...], exclusive: bool) -> SGANConfig:
        """Return the config with the data's classes. DataError if it has none."""
        remedy = "put the images of each class into a folder of its own"
        if len(names) < 2:
            raise DataError(f"sgan needs images of two classes or more; {remedy}")
        return replace(cfg, classes=classes_of_data(cfg.classes, names, exclusive, "sgan", remedy))

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {"a": Domain(self.cfg.input_channels, self.cfg.range_a)}

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        """Take lengths and biases of the layers with weight norm from training images, and from as many generated ones.

        With the classifier's noise: in directions in which the images hardly differ, lengths would be very large without.
        """
        real = torch.cat([batch["a"] for batch in batches])
        numbers = torch.arange(len(real), device=real.device)
        self.eval()
        key = keyed_random.fold_in(numbers, self.cfg.seed, "prepare")
        initialise_from_data(self.d, lambda: self.d(real, key))
        initialise_from_data(self.g, lambda: self.sample(key))
        self.train()
        return [f"lengths and biases of the first weights from {len(real)} images"]

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the classifier's losses, then the generator's on images of their own: those of even and of odd number."""
        key = batch["key"][::2]
        label, labelled = batch["labelled_label"][::2], batch["labelled_a"][::2]
        labelled_key = keyed_random.fold_in(key, "labelled")
        if self.cfg.supervised_only:
            yield "d", {"class": F.cross_entropy(self.d(labelled, labelled_key)[1], label)}
            return
        real, other = batch["a"][::2], batch["a"][1::2]
        with torch.no_grad():
            fake = self.g(self.noise(key, "z d"))
        keys = torch.cat([labelled_key, key, keyed_random.fold_in(key, "fake")])
        _, logits = self.d(torch.cat([labelled, real, fake]), keys)  # no norm couples them
        of_labelled, of_real, of_fake = logits.chunk(3)
        yield "d", self.classifier_losses(of_labelled, of_real, of_fake, label)

        other_key = batch["key"][1::2]
        fake = self.g(self.noise(other_key, "z g"))
        features, _ = self.d(torch.cat([fake, other]), torch.cat([keyed_random.fold_in(other_key, "fake"), other_key]))
        of_fake, of_real = (batch_mean(x) for x in features.chunk(2))
        distance = l1 if self.cfg.networks == "conv" else F.mse_loss  # as the authors' code has it for each
        yield "g", {"feature_matching": distance(of_fake, of_real.detach())}

    def classifier_losses(self, labelled: Tensor, real: Tensor, fake: Tensor, label: Tensor) -> Losses:
        """Return the losses of logits (N, K): "class" of labelled images, "adv" of real and generated ones (sec. 5).

        log Z, the logarithm of the sum of the exponentials, is the logit of an image's being real.
        """
        on_real, on_fake = (torch.logsumexp(x.to(torch.promote_types(x.dtype, torch.float32)), 1) for x in (real, fake))
        adversarial = 0.5 * (F.softplus(on_real) - on_real).mean() + 0.5 * F.softplus(on_fake).mean()
        return {"class": F.cross_entropy(labelled, label), "adv": self.cfg.lambda_unsupervised * adversarial}

    def noise(self, key: Tensor, name: str) -> Tensor:
        """Return noise (N, NOISE_SIZE) from U(0, 1) that keys (N,) decide."""
        return keyed_random.uniform(key, name, NOISE_SIZE)

    def sample(self, key: Tensor, label: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Generate images, each a function of its key; they have no label."""
        return self.g(self.noise(key, "z"))

    def classify(self, x: Tensor) -> Tensor:
        return self.d(x)[1]

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> NoReturn:
        refuse_translation(self)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        return {"real": batch["a"], **sample_columns(self, batch["key"])}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        fake = self.sample(batch["key"])
        return {name: torch.logsumexp(self.classify(x), 1) for name, x in (("real", batch["a"]), ("fake", fake))}
