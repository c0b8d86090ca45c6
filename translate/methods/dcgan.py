"""DCGAN: images from noise (Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", ICLR 2016). The defaults are the paper's recipe (sec. 4), but for 4×4 convolutions,
as all networks here have them; epochs are those of the authors' code, which the paper leaves open.

Not taken from that code: its weight decay of 1e-5, of which the paper says nothing; the alternation of the two networks from
one batch to the next; and the generation of images by the batch norm statistics of their own batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn, cast

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import UsageError
from translate.methods.base import DISCRIMINATOR, Batch, Clock, Domain, Method, Scheduled, Step, Update
from translate.methods.building import (
    adam_options,
    augment,
    build_adversarial_loss,
    check_adversarial_config,
    coupling_reason,
)
from translate.methods.class_labels import classes_of_data, one_hot
from translate.methods.configs import AdversarialConfig, NoRandomCrop
from translate.methods.noise_images import (
    SAMPLE_COLUMNS,
    OneDomainConfig,
    check_one_domain,
    check_power_of_two,
    refuse_translation,
    sample_columns,
)
from translate.nn.blocks import set_test_time_behaviour
from translate.nn.init import normal_
from translate.nn.losses import ADVERSARIAL, Logits
from translate.nn.networks.dcgan import MIN_SIZE, DCGANDiscriminator, DCGANGenerator


@dataclass(frozen=True)
class DCGANConfig(NoRandomCrop, OneDomainConfig, AdversarialConfig):
    """Config of DCGAN."""

    epochs: int = option(25, "epochs at the constant learning rate", low=0, group="Length")
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    batch_size: int = option(128, "images in a training step, for each process", low=1, group="Data")
    crop_size: int = option(64, "side of the generated images: a power of two from 32 up", low=2, group="Data")
    flip: bool = option(False, "mirror half of the images", group="Data")
    norm: str = option(
        "batch", "normalisation layers of both networks", choices=("batch", "instance", "none"), group="Networks"
    )
    g_width: int = option(
        128,
        "channels of the generator's last hidden layer; the first has up to 8 times as many",
        low=1,
        group="Networks",
    )
    d_width: int = option(128, "channels of the discriminator's first layer", low=1, group="Networks")
    adversarial: str = option("non-saturating", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    noise_size: int = option(
        100, "length of the noise vector, whose entries are uniform in [−1, 1]", low=1, group="Networks"
    )
    virtual_batch_norm: bool = option(
        False,
        "virtual batch norm in the generator, instead of --norm: statistics of a fixed reference batch and the image "
        "itself",
        group="Networks",
    )
    reference_size: int = option(64, "images in the reference batch of virtual batch norm", low=1, group="Networks")
    n_critic: int = option(1, "discriminator steps for each generator step, each on new images", low=1, group="Losses")
    d_warmup: int = option(
        0, "training images that the discriminator sees before the generator's first step", low=0, group="Length"
    )
    conditional: bool = option(True, "generate images of a given class, where the data has classes", group="Networks")
    classes: str | None = option(
        None, "comma-separated names of the classes [default: those of the data]", group="Data"
    )


class DCGAN(Method[DCGANConfig]):
    """DCGAN (sec. 3 and 4): a generator `g` of images from noise, and a discriminator `d`.

    Where the data has classes, both networks are given the class (Mirza and Osindero, "Conditional Generative Adversarial
    Nets", 2014, sec. 3.2): the generator by a one-hot code beside the noise, the discriminator by one plane for each class
    beside the image, 1 for its own and 0 for the others. All are 0 where the class is not known.
    """

    name = "dcgan"
    summary = "images from noise, by class if the data has classes; for translate sample, not for translation"
    layout = "images"
    Config = DCGANConfig
    generator_names = {}
    sampling_networks = ("g",)
    network_settings = (
        "input_channels", "output_channels", "crop_size", "norm", "g_width", "d_width", "noise_size", "virtual_batch_norm",
        "reference_size", "classes", "range_a",
    )  # fmt: skip
    ema = ("g",)

    def __init__(self, cfg: DCGANConfig) -> None:
        super().__init__(cfg)
        self.classes = tuple(cfg.classes.split(",")) if cfg.classes else ()
        count, size = len(self.classes), cfg.crop_size
        reference = self._reference() if cfg.virtual_batch_norm else None
        self.g = DCGANGenerator(cfg.noise_size + count, cfg.input_channels, size, cfg.g_width, cfg.norm, reference)
        self.d = DCGANDiscriminator(cfg.input_channels + count, size, cfg.d_width, cfg.norm)
        self.g.gradient_checkpointing = cfg.gradient_checkpointing
        for name, net in (("g", self.g), ("d", self.d)):
            normal_(net, cfg.seed, name)
            set_test_time_behaviour(net, "running")  # one generated image is no batch to take statistics from
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {
            "d": Update(("d",), cfg.lr, options=adam_options(cfg), role=DISCRIMINATOR),
            "g": Update(("g",), cfg.lr, options=adam_options(cfg)),
        }
        self.coupled = coupling_reason(self)

    def _reference(self) -> Tensor:
        """Return the codes of virtual batch norm's reference batch, (M, noise_size + classes), as many of each class."""
        numbers = torch.arange(self.cfg.reference_size)
        label = numbers % len(self.classes) if self.classes else None
        return self.latent_code(
            keyed_random.image_keys(keyed_random.derive_key(self.cfg.seed, "reference"), numbers), label
        )

    @classmethod
    def resolve_config(cls, cfg: DCGANConfig) -> DCGANConfig:
        check_power_of_two(cfg, "dcgan", MIN_SIZE)
        check_one_domain(cfg, "dcgan")
        if cfg.images is not None and cfg.d_warmup >= cfg.images:
            raise UsageError(
                f"--d-warmup {cfg.d_warmup} leaves none of --images {cfg.images} for the generator; use a smaller --d-warmup"
            )
        check_adversarial_config(cfg)
        return replace(cfg, output_channels=cfg.input_channels)

    @classmethod
    def with_labels(cls, cfg: DCGANConfig, names: tuple[str, ...], exclusive: bool) -> DCGANConfig:
        """Return the config with the data's classes, unless there are fewer than two or `conditional` is off."""
        if not cfg.conditional:
            return replace(cfg, classes=None)
        classes = classes_of_data(cfg.classes, names, exclusive, "dcgan", "use --conditional off")
        return replace(cfg, classes=classes)

    @property
    def domains(self) -> Mapping[str, Domain]:
        return {"a": Domain(self.cfg.input_channels, self.cfg.range_a)}

    def updates_generator(self, clock: Clock) -> bool:
        """Return whether the step updates the generator: after the warm-up, every `n_critic`-th does."""
        return clock.images >= self.cfg.d_warmup and (clock.step + 1) % self.cfg.n_critic == 0

    def phase(self, clock: Clock) -> str:
        alone = "" if self.updates_generator(clock) else "warm-up" if clock.images < self.cfg.d_warmup else "critic"
        return " ".join(filter(None, (alone, self.adversarial_loss.phase(clock.step))))

    def step(self, batch: Batch, clock: Clock, scheduled: Scheduled) -> Step:
        """Yield the discriminator's losses, then the generator's, unless the step is the discriminator's alone."""
        real, key, cfg, loss = batch["a"], batch["key"], self.cfg, self.adversarial_loss
        label = batch["label"] if self.classes else None
        updates_generator = self.updates_generator(clock)

        def d(x: Tensor) -> Tensor:
            return cast(Tensor, self.d(self.with_class_planes(x, label)))

        with torch.set_grad_enabled(updates_generator):
            fake = self.g(self.latent_code(key, label))

        # Goodfellow et al., 2014, alg. 1: the discriminator first. Real and fake images in batches of their own, as batch norm
        # would mix them.
        real_view, fake_view = augment(cfg, batch, real, "real"), augment(cfg, batch, fake.detach(), "fake")
        losses = {"adv": loss.discriminator_loss(d(real_view), d(fake_view))}
        if loss.has_penalty(clock.step):
            uncompiled = self.d.forward
            losses["penalty"] = loss.penalty(
                lambda x: uncompiled(self.with_class_planes(x, label)), real_view, fake_view, key
            )
        yield "d", losses

        # The same fakes, by the discriminator just updated.
        if updates_generator:
            on_fake = d(augment(cfg, batch, fake, "g"))
            yield "g", {"adv": loss.generator_loss(on_fake, lambda: d(augment(cfg, batch, real, "g")))}

    def latent_code(self, key: Tensor, label: Tensor | None) -> Tensor:
        """Return the generator's inputs (N, noise_size + classes): noise in [-1, 1) that key (N,) decides, and the class.

        label (N,): the class, -1 where it is not known; None where there are no classes.
        """
        z = 2 * keyed_random.uniform(key, "z", self.cfg.noise_size) - 1
        return z if label is None else torch.cat([z, one_hot(label, len(self.classes)).to(z.dtype)], 1)

    def with_class_planes(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Return the discriminator's inputs: images (N, C, H, W) and the planes of their class along the channels."""
        if label is None:
            return x
        planes = one_hot(label, len(self.classes)).to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.cat([x, planes], 1)

    def sample(self, key: Tensor, label: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Generate images, each a function of its key and label in any batch; without labels the keys decide them too."""
        if label is None and self.classes:
            label = (keyed_random.uniform(key, "class") * len(self.classes)).to(torch.int64)
        return self.g(self.latent_code(key, label))

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> NoReturn:
        refuse_translation(self)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Return real images and samples: of different noise, or of the same noise and the first classes."""
        key, columns = batch["key"], {"real": batch["a"]}
        if self.classes:
            for index, name in enumerate(self.classes[:SAMPLE_COLUMNS]):
                columns[f"sample {name}"] = self.sample(key, torch.full_like(key, index))
        else:
            columns |= sample_columns(self, key)
        return columns

    def discriminator_outputs(self, batch: Batch) -> dict[str, Logits]:
        label = batch["label"] if self.classes else None
        fake = self.sample(batch["key"], label)
        return {name: self.d(self.with_class_planes(x, label)) for name, x in (("real", batch["a"]), ("fake", fake))}
