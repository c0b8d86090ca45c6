"""StarGAN: one generator for many domains (Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain
Image-to-Image Translation", CVPR 2018). The defaults are the recipe of the authors' implementation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from translate import keyed_random
from translate.config import option
from translate.errors import DataError, UsageError
from translate.methods.base import Batch, Clock, Domain, Method, Step, Update
from translate.methods.building import build_adversarial_loss, build_generator, check_gan_config, coupling_reason
from translate.methods.configs import NETWORK_SETTINGS, GanConfig
from translate.nn.base import Generator
from translate.nn.blocks import keyed_dropout
from translate.nn.diffaugment import diffaugment
from translate.nn.losses import ADVERSARIAL, cycle_consistency, domain_classification
from translate.nn.networks import GENERATORS, find
from translate.nn.networks.stargan import StarGANClassifier
from translate.runtime import distributed

PAPER_LENGTH = {"images": 3_200_000, "decay_images": 1_600_000}
"""200 000 iterations of 16 images; over the last half of them the rate falls to zero. So say the paper and the code as it was
first released; the code as it is today lowers the rate by 0.1 % in all: that is `--schedule stargan-released`."""

ALL, NONE = "all", "none"
"""What `to` may be beside names: every domain in turn, and (of attributes) not one of them."""

SHOWN = 5
"""Domains in a sample grid, at most."""


@dataclass(frozen=True)
class StarGANConfig(GanConfig):
    """Settings of StarGAN. Without --images or --epochs it is trained for 3.2 million images."""

    epochs: int = option(
        0, "epochs at the constant learning rate; 0 trains for 3.2 million images instead", low=0, group="Length"
    )
    decay_epochs: int = option(
        0, "further epochs, over which the learning rate falls linearly to zero", low=0, group="Length"
    )
    batch_size: int = option(16, "images in a training step, for each process", low=1, group="Data")
    crop_size: int = option(128, "side of the random square crops to train on, in pixels", low=2, group="Data")
    lr: float = option(1e-4, "learning rate of all networks", low=0, group="Length")
    generator: str = option("stargan", "generator network", choices=GENERATORS, accepts=find, group="Networks")
    discriminator: str = option(
        "stargan", "discriminator network; it also classifies the domain", choices=("stargan",), group="Networks"
    )
    adversarial: str = option("wgan-gp", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    domains: str | None = option(
        None, "comma-separated names of the domains or attributes [default: those of the data]", group="Data"
    )
    attributes: bool = option(
        False, "labels are attributes, of which an image may have several [default: as the data has them]", group="Data"
    )
    lambda_cls: float = option(1.0, "weight of the classification loss", low=0, group="Losses")
    lambda_rec: float = option(10.0, "weight of the reconstruction loss", low=0, group="Losses")
    n_critic: int = option(5, "discriminator steps for each generator step, each on new images", low=1, group="Losses")


class StarGAN(Method):
    """`g` translates an image to the labels that it is given with it; `d` judges images and tells their labels.

    Labels are vectors (N, K) of 0 and 1: of K domains that of the image alone is 1, of K attributes those that it has.
    """

    name = "stargan"
    layout = "domains"
    Config = StarGANConfig
    ema = ("g",)
    network_settings = (*NETWORK_SETTINGS, "domains", "attributes")

    def __init__(self, cfg: StarGANConfig) -> None:
        super().__init__(cfg)
        self.domain_names = (
            tuple(cfg.domains.split(",")) if cfg.domains else ("1", "2")
        )  # unknown: for the shapes alone
        self.generator_names = dict.fromkeys(self.domain_names, "g")
        channels, kinds = cfg.input_channels, len(self.domain_names)
        self.g = build_generator(cfg, channels + kinds, channels, cfg.seed, "g")
        self.d = StarGANClassifier(channels, cfg.d_width, cfg.crop_size, kinds)
        self.d.initialise(self.d, cfg.seed, "d")
        self.adversarial_loss = build_adversarial_loss(cfg)
        self.updates = {"d": Update(("d",), cfg.lr), "g": Update(("g",), cfg.lr)}
        self.coupled = ", ".join(filter(None, ["targets are permuted", coupling_reason(cfg)]))

    @classmethod
    def resolve_config(cls, cfg: StarGANConfig) -> StarGANConfig:
        if cfg.input_channels != cfg.output_channels or cfg.range_b is not None:
            raise UsageError(
                "stargan's domains are all alike: give --input-channels and --output-channels one number, and no --range-b"
            )
        if cfg.preprocess == "none":
            raise UsageError(
                "--preprocess none leaves images of many sizes, but stargan's discriminator takes one; leave it out"
            )
        if cfg.batch_size // cfg.accumulate < 2:
            raise UsageError(
                f"--batch-size {cfg.batch_size} with --accumulate {cfg.accumulate}: targets are the labels of the other "
                f"images that are seen at once; take at least 2 of them"
            )
        check_gan_config(cls, replace(cfg, norm="none"))  # as the discriminator has it, which is asked about here
        if cfg.images is None and cfg.epochs == cfg.decay_epochs == 0:
            cfg = replace(
                cfg, images=PAPER_LENGTH["images"], decay_images=cfg.decay_images or PAPER_LENGTH["decay_images"]
            )
        return cfg

    @classmethod
    def with_labels(cls, cfg: StarGANConfig, names: tuple[str, ...], exclusive: bool) -> StarGANConfig:
        for name in names:
            if "," in name or name in (ALL, NONE):
                raise DataError(f"{name!r} cannot be the name of a domain: it means something else to --to; rename it")
        if exclusive and len(names) < 2:
            raise DataError(f"stargan translates between domains, but there is only {names[0]!r}; add another folder")
        if cfg.domains not in (None, ",".join(names)):
            raise UsageError(f"--domains {cfg.domains}: the data has {','.join(names)}; start a new run without it")
        return replace(cfg, domains=",".join(names), attributes=not exclusive)

    def phase(self, clock: Clock) -> str:
        return f"{self.adversarial_loss.phase(clock.step)} {'g' if self.updates_generator(clock) else ''}".strip()

    def updates_generator(self, clock: Clock) -> bool:
        """Whether the generator learns in this step too."""
        return (clock.step + 1) % self.cfg.n_critic == 0

    def step(self, batch: Batch, clock: Clock) -> Step:
        a, key, cfg = batch["a"], batch["key"], self.cfg
        own = self.label_vectors(batch["label"], a.dtype)
        target = permute_labels(own, key)

        def seen(x: Tensor, use: str) -> Tensor:
            """What the discriminator sees of images."""
            return diffaugment(x, key, cfg.diffaugment, use)

        # eq. 5: tell real from made images, and the labels of real ones.
        with torch.no_grad():
            fake = self.generate(a, target)
        real, fake = seen(a, "real"), seen(fake, "fake")
        on_real, kinds = self.d.source_and_class_logits(real)
        losses = {
            "adv": self.adversarial_loss.discriminator_loss(on_real, self.d(fake)),
            "classification": cfg.lambda_cls * domain_classification(kinds, own, attributes=cfg.attributes),
        }
        if self.adversarial_loss.has_penalty(clock.step):
            losses["penalty"] = self.adversarial_loss.penalty(self.d.forward, real, fake, key)
        yield "d", losses

        # eq. 6, after every n_critic-th step of the discriminator: fool it, be told as the target, and find the way back.
        if self.updates_generator(clock):
            fake = self.generate(a, target)
            on_fake, kinds = self.d.source_and_class_logits(seen(fake, "g"))

            def judged(x: Tensor) -> Tensor:
                """The discriminator's logits, those of the fakes without another pass."""
                return on_fake if x is fake else self.d(seen(x, "g"))

            yield (
                "g",
                {
                    "adv": self.adversarial_loss.generator_loss(judged, fake, a),
                    "classification": cfg.lambda_cls * domain_classification(kinds, target, attributes=cfg.attributes),
                    "reconstruction": cfg.lambda_rec * cycle_consistency(self.generate(fake, own), a),
                },
            )

    def label_vectors(self, label: Tensor, dtype: torch.dtype) -> Tensor:
        """Labels of a batch, (N,) numbers of domains or (N, K) attributes, as (N, K) of 0 and 1."""
        if self.cfg.attributes:
            return label.to(dtype)
        return (label[:, None] == torch.arange(len(self.domain_names), device=label.device)).to(dtype)

    def generate(self, x: Tensor, label: Tensor) -> Tensor:
        """x (N, C, H, W) translated to labels (N, K), which the generator sees as planes behind the image."""
        planes = label[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)
        planes = planes.contiguous(memory_format=torch.channels_last)  # joined to x they lie as x does, whichever way
        return self.g(torch.cat([x, planes], 1))

    @property
    def domains(self) -> Mapping[str, Domain]:
        return dict.fromkeys(self.domain_names, Domain(self.cfg.input_channels, self.cfg.range_a))

    def source_domain(self, to: str) -> str:
        return to

    def generator_for(self, to: str) -> Generator:
        return self.g

    def target_domains(self, to: str) -> tuple[str, ...]:
        if to == ALL:
            return self.domain_names
        self.target_label(to)
        return (to,)

    def target_label(self, to: str) -> Tensor:
        """The label (K,) that `to` means: of domains its name; of attributes the names, separated by commas, of all that the
        image shall have, or "none". UsageError, naming those that are possible, if it is no such."""
        asked = [to]
        if self.cfg.attributes:
            asked = [] if to == NONE else [name.strip() for name in to.split(",")]
        for name in asked:
            if name not in self.domain_names:
                several = f" (one or several, separated by commas), {NONE}" if self.cfg.attributes else ""
                raise UsageError(
                    f"this model translates to {', '.join(self.domain_names)}{several} or {ALL}, not to {name!r}"
                )
        return torch.tensor([float(name in asked) for name in self.domain_names])

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        return self.translate_to_label(x, self.target_label(to).to(x.device).expand(len(x), -1), key)

    def translate_to_label(self, x: Tensor, label: Tensor, key: Tensor | None) -> Tensor:
        """x translated to labels (N, K) as in conversion: keys (N,) decide what drops out."""
        with keyed_dropout(self.g, key if self.cfg.dropout else None):
            return self.generate(x, label)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        a, key = batch["a"], batch["key"]
        own = self.label_vectors(batch["label"], a.dtype)
        columns = {"input": a}
        for name, only in zip(
            self.domain_names[:SHOWN], torch.eye(len(self.domain_names), dtype=a.dtype, device=a.device), strict=False
        ):
            if self.cfg.attributes:
                columns[f"{name} changed"] = self.translate_to_label(a, (own - only).abs(), key)
            else:
                columns[f"to {name}"] = self.translate_to_label(a, only.expand_as(own), key)
        first = list(columns)[1]
        return {**columns, "cycle": self.translate_to_label(columns[first], own, key)}

    def discriminator_outputs(self, batch: Batch) -> dict[str, Tensor]:
        a = batch["a"]
        others = self.label_vectors(batch["label"], a.dtype).roll(1, 0)
        return {"real": self.d(a), "fake": self.d(self.translate_to_label(a, others, batch["key"]))}


def permute_labels(label: Tensor, key: Tensor) -> Tensor:
    """The labels (N, K) of a batch in another order, which the keys (N,) decide: as targets they occur as often as in the data.

    Over the batches of all processes, so that their number decides nothing.
    """
    order = keyed_random.bits(distributed.all_gather_batch(key), "target").argsort(stable=True)
    return distributed.local_shard(distributed.all_gather_batch(label)[order])
