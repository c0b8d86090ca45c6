"""Configs that methods share: settings of adversarial losses, and of generators and discriminators by name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from translate.config import AUTO_ON_OFF, TrainConfig, option
from translate.errors import UsageError
from translate.images import IGNORE_INDEX, MAX_LABELS, LabelFormat, Palette, PaletteError, palette_text, parse_palette
from translate.nn import networks
from translate.nn.diffaugment import DIFFAUGMENT, find_policy
from translate.nn.features import FEATURE_NETWORKS, find_features
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import DISCRIMINATORS, GENERATORS
from translate.text import one_line

GENERATOR_SETTINGS = (
    "input_channels", "output_channels", "generator", "norm", "dropout", "g_width", "norm_statistics", "residual", "range_a",
    "range_b",
)  # fmt: skip
STORED_WHEN_ON = ("residual",)
"""Settings that the description of a model has only where they are on, so that other models load in versions without them."""
LABEL_SETTINGS = ("label_count", "palette", "ignore_index", "unknown_label", "instance_edges")
DISCRIMINATOR_SETTINGS = ("discriminator", "d_width", "d_layers")
NETWORK_SETTINGS = (*GENERATOR_SETTINGS, *DISCRIMINATOR_SETTINGS)


class NoRandomCrop:
    """Mixin for configs of methods whose authors resize images to the crop size, without a random crop."""

    crop_size: int

    @property
    def default_load_size(self) -> int:
        """Size that images are resized to by default: the crop size."""
        return self.crop_size


MODERN_PAIRED: dict[str, Any] = {
    "generator": "resize_unet_4levels_2blocks_2last",
    "g_width": 24,
    "norm": "batch",
    "norm_statistics": "running",
    "dropout": False,
    "discriminator": "projected+pixel",
    "adversarial": "hinge",
    "diffaugment": "translation,cutout",
    "share_augmentation": True,
    "lambda_l1": 10.0,
    "lambda_lowpass": 40.0,
    "lambda_features": 2.0,
    "batch_size": 8,
    "lr": 1e-3,
    "beta2": 0.99,
    "ema_half_life": 1000,
    "residual": "auto",
}
"""Settings of the preset modern of methods that compare outputs with true images, for small crops."""

MODERN_UNPAIRED: dict[str, Any] = {
    "generator": "resize_unet_3levels_2blocks",
    "g_width": 16,
    "norm": "batch",
    "norm_statistics": "running",
    "residual": "auto",
    "colour_start": "auto",
    "discriminator": "projected+pixel",
    "adversarial": "hinge",
    "diffaugment": "translation,cutout",
    "share_augmentation": True,
    "batch_size": 4,
    "lr": 1e-3,
    "beta2": 0.99,
    "ema_half_life": 300,
}
"""Settings of the preset modern that methods of two domains without pairs share, for small crops."""


@dataclass(frozen=True)
class LabelMapConfig(TrainConfig):
    """Config of paired methods whose domain a may hold label maps. What is None follows from the others or the data."""

    label_count: int | None = option(
        None,
        "domain a holds label maps of N classes: the values 0 to N−1 of grey or palette PNGs, resized by the nearest pixel and "
        "shown to the networks one-hot [default: the classes of --palette; without it, domain a holds images]",
        low=2,
        high=MAX_LABELS,
        group="Data",
    )
    palette: str | None = option(
        None,
        "file with a row label,red,green,blue,name for each class: the colours of colour-coded label maps, and of previews "
        "[default: for previews, those of palette PNGs]",
        group="Data",
    )
    ignore_index: int | None = option(
        None, "value of pixels without a label [default: 255]", low=0, high=65535, group="Data"
    )
    unknown_label: bool | None = option(
        None,
        "one more input channel, N, for pixels without a label [default: on if label maps of train have such pixels]",
        group="Data",
    )
    instance_edges: bool | None = option(
        None,
        "one more input channel, the last, for the edges of objects, from instance maps in train_inst/, val_inst/ and "
        "test_inst/ [default: on if there is train_inst/]",
        group="Data",
    )


L = TypeVar("L", bound=LabelMapConfig)


def resolve_label_maps(cfg: L) -> L:
    """Return the config with the settings of label maps filled in, and the channels of domain a that follow from them.

    The palette becomes its text, so that a run does not depend on the file. UsageError if the settings do not work together.
    """
    if cfg.label_count is None and cfg.palette is None:
        if given := [name for name in LABEL_SETTINGS if getattr(cfg, name) is not None]:
            raise UsageError(f"--{given[0].replace('_', '-')}: is for label maps; give --label-count or --palette too")
        return cfg
    ignore = IGNORE_INDEX if cfg.ignore_index is None else cfg.ignore_index
    palette = _read_palette(cfg.palette)
    labels = [row.label for row in palette if row.label != ignore]
    count = cfg.label_count or max(labels) + 1
    if count > MAX_LABELS:
        raise UsageError(
            f"--palette: has a label {count - 1}, but at most {MAX_LABELS} classes are possible, from 0 on"
        )
    if labels and max(labels) >= count:
        raise UsageError(
            f"--label-count {count}: the palette has a class {max(labels)}; give at least {max(labels) + 1}"
        )
    if ignore < count:
        raise UsageError(
            f"--ignore-index {ignore}: is one of the {count} classes, and has a channel as they have; leave it out, or give a "
            f"value of {count} or more"
        )
    if cfg.input_channels not in (3, count, count + 1, count + 2):
        raise UsageError(f"--input-channels {cfg.input_channels}: follows from the {count} classes; leave it out")
    if cfg.range_a is not None:
        raise UsageError(f"--range-a {cfg.range_a}: label maps have classes and no range; leave it out")
    text = palette_text(palette) if palette else None
    cfg = replace(cfg, label_count=count, ignore_index=ignore, palette=text)
    labels_format = label_format(cfg)
    assert labels_format is not None
    return replace(cfg, input_channels=labels_format.channels)


def label_format(cfg: LabelMapConfig) -> LabelFormat | None:
    """Return the format of the label maps of domain a; None if it holds images."""
    if cfg.label_count is None:
        return None
    ignore = IGNORE_INDEX if cfg.ignore_index is None else cfg.ignore_index
    palette = _read_palette(cfg.palette)
    return LabelFormat(cfg.label_count, ignore, bool(cfg.unknown_label), bool(cfg.instance_edges), palette)


def _read_palette(given: str | None) -> Palette:
    """Return the palette of a setting: its text, which has several lines, or the path of a file. UsageError for others."""
    if given is None:
        return ()
    if "\n" in given:
        source, text = "--palette", given
    else:
        source = f"--palette {given}"
        try:
            text = Path(given).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as e:
            raise UsageError(
                f"{source}: cannot be read: {one_line(e)}; give a text file of rows label,red,green,blue,name"
            ) from None
    try:
        return parse_palette(text)
    except PaletteError as e:
        raise UsageError(f"{source}: {e}") from None


@dataclass(frozen=True)
class NormConfig(TrainConfig):
    """Config of methods whose networks have one kind of norm."""

    norm: str = option(
        "instance", "normalisation layers of all networks", choices=("batch", "instance", "none"), group="Networks"
    )


@dataclass(frozen=True)
class PerturbationConfig(TrainConfig):
    """Config of methods whose generators may be trained on perturbed inputs."""

    adversarial_training: str = option(
        "off",
        "replace half of the generators' input images by adversarial ones, which change their output most: fgsm (one step), "
        "pgd (seven steps, slower) or off",
        choices=("off", "fgsm", "pgd"),
        group="Losses",
    )
    epsilon: float = option(
        2.0, "largest change of each value by --adversarial-training, in levels of 255", low=0, high=255, group="Losses"
    )
    cycle_noise: float = option(
        0.0,
        "standard deviation of the noise that is added to translated images before they are translated back, where images are "
        "in −1 to 1: against inputs hidden in the output; 0.1 in the code of Bashkirova et al.",
        low=0,
        high=2,
        group="Losses",
    )


@dataclass(frozen=True)
class DiscriminatorConfig(PerturbationConfig):
    """Config of methods with a discriminator."""

    g_width: int = option(64, "channels of the generator's first layer", low=1, group="Networks")
    d_width: int = option(64, "channels of the discriminator's first layer", low=1, group="Networks")
    beta2: float = option(
        0.999,
        "decay of Adam's mean square of gradients; 0.99 follows changes sooner",
        low=0,
        high=0.9999,
        group="Length",
    )
    adversarial: str = option("lsgan", "adversarial loss", choices=ADVERSARIAL, group="Losses")
    real_label: float = option(
        1.0, "label of real images; 0.9 is one-sided label smoothing", low=0.5, high=1.0, group="Losses"
    )
    lambda_penalty: float | None = option(
        None,
        "weight of the gradient penalty [default: 10 for wgan-gp; 1 for relativistic, where it is γ of R1 and R2 and "
        "large images need more]",
        low=0,
        group="Losses",
    )
    penalty_every: int | None = option(
        None,
        "apply the gradient penalty every N steps, with N times its weight [default: 1 for wgan-gp, 8 for "
        "relativistic]",
        low=1,
        group="Losses",
    )
    diffaugment: str = option(
        "",
        "DiffAugment policy: random changes of all images that the discriminators see [default: none]",
        choices=("", *DIFFAUGMENT),
        accepts=find_policy,
        group="Losses",
    )


@dataclass(frozen=True)
class AdversarialConfig(DiscriminatorConfig, NormConfig):
    """Config of methods with a discriminator, whose networks have one kind of norm."""


def features_option() -> Any:
    """Return the option --features of methods that may have projected discriminators."""
    return option(
        "efficientnet-lite0",
        "name or weights file of the frozen network that projected discriminators see images through",
        choices=FEATURE_NETWORKS,
        accepts=find_features,
        group="Networks",
    )


@dataclass(frozen=True)
class GanConfig(AdversarialConfig):
    """Config of methods that translate with a generator and a discriminator from the registries."""

    generator: str = option(
        "resnet_9blocks", "generator network", choices=GENERATORS, accepts=networks.find, group="Networks"
    )
    discriminator: str = option(
        "basic",
        "discriminator network; basic sees 70×70 patches",
        choices=DISCRIMINATORS,
        accepts=networks.find_discriminator,
        group="Networks",
    )
    features: str = features_option()
    d_layers: int = option(3, "stride-2 layers of the n_layers discriminator", low=1, high=6, group="Networks")
    dropout: bool = option(False, "dropout in the generator, in training and in conversion", group="Networks")
    share_augmentation: bool = option(
        False,
        "show the discriminator each generated image with one random change in both losses, so that its features are computed "
        "once",
        group="Losses",
    )
    lambda_lowpass: float = option(
        0.0, "weight of the L1 distance between means of 4×4 pixels, of colours and layout alone", low=0, group="Losses"
    )
    lambda_features: float = option(
        0.0, "weight of feature matching in the network of --features", low=0, group="Losses"
    )
    lambda_perceptual: float = option(
        0.0, "weight of the perceptual loss in the network of --perceptual-network", low=0, group="Losses"
    )
    perceptual_network: str = option(
        "vgg16-hed",
        "feature network of the perceptual loss, or the file of its weights",
        choices=FEATURE_NETWORKS,
        accepts=find_features,
        group="Losses",
    )
    colour_start: str = option(
        "off",
        "start the colour map of --residual at the linear map between the colours of the two domains; auto: if there is one",
        choices=AUTO_ON_OFF,
        group="Networks",
    )
    norm_statistics: str = option(
        "sample",
        "statistics for batch norm in conversion: sample (each image's own) or running (averages over training)",
        choices=("sample", "running"),
        group="Networks",
    )
    residual: str = option(
        "off",
        "add the generator's output to a learnt colour map of the input, instead of a tanh; for generators that have it: "
        "resize_unet; auto: where edges of the two domains lie alike",
        choices=AUTO_ON_OFF,
        group="Networks",
    )


@dataclass(frozen=True)
class SemiSupervisedConfig(TrainConfig):
    """Config of methods that learn classes from a few labelled images among many without labels."""

    labelled: int | None = option(
        None,
        "number of training images whose classes are used, as many of each class; all others are shown without "
        "[default: all]",
        low=1,
        group="Data",
    )
    label_seed: int = option(0, "seed of the choice of labelled images", group="Data")
    classes: str | None = option(
        None, "comma-separated names of the classes [default: those of the data]", group="Data"
    )


@dataclass(frozen=True)
class MixedSupervisionConfig(GanConfig):
    """Config of methods for two sets of images without partners, of which some may be known to be pairs."""

    pairs: str | None = option(
        None,
        "known pairs among the training images: a CSV file (a path in trainA, a path in trainB), or names (files of one name) "
        "[default: none]",
        group="Data",
    )
    lambda_pairs: float = option(
        10.0, "weight of the L1 distance to the true image of each known pair of --pairs", low=0, group="Losses"
    )
