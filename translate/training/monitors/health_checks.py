"""Sentinels: numbers that say whether a training goes wrong, and one line of advice when one of them says so.

They look at the fixed sample images whenever a grid is shown, and at the mean losses whenever these are logged. Nothing of
what they do changes a weight, a buffer or a random draw. docs/monitoring.md says what each number means.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from translate import keyed_random
from translate.methods.base import Batch, Method
from translate.methods.configs import AdversarialConfig
from translate.nn.losses import ADVERSARIAL
from translate.training.engine import Engine
from translate.training.monitors import health_rules
from translate.training.monitors.health_rules import ScalarKey

PROBE_STD = 4 / 255
"""Standard deviation of the noise laid over the middle image, two levels of 255: less than a person sees, more than the signals
of some levels' height by which generators pass the source on (Chu et al., "CycleGAN, a Master of Steganography", 2017)."""

PERSISTENT_POINTS = 10
"""Log points in a row that must show it: a discriminator wins for a while in every training."""

LEVELS = 127.5
"""Levels of 255 in a difference of 1."""

FLAT_VARIANCE = 1 / LEVELS**2
"""Variance of one level: below it an image is flat, and correlations with it are of noise."""

SOURCE_OF = {"b": "a", "a": "b"}
"""Target domain → the domain whose images are translated to it."""


class HealthMonitor:
    """Watches a training. `sample` is the fixed batch of the sample grids: images (N, C, H, W) in [-1, 1] by domain.

    Each trouble gives one line, when it is first seen; again only after it was gone.
    """

    def __init__(self, sample: Batch) -> None:
        self.sample = sample
        self._points: deque[dict[str, float]] = deque(maxlen=PERSISTENT_POINTS)
        self._told: set[ScalarKey] = set()

    def on_log(self, values: Mapping[str, float]) -> None:
        """Takes one log point: scalars by "loss/update/name" and others."""
        self._points.append({name: value for name, value in values.items() if name.startswith(("loss/d/", "loss/g/"))})

    def __call__(self, engine: Engine) -> tuple[dict[str, float], list[str]]:
        """The scalars of this moment, by "watch/name", and a line of advice for each trouble that is new."""
        method = engine.method
        values = measure_samples(engine, self.sample) | discriminator_gaps(self._points, method.cfg)
        troubles = [key for key in values if self._is_trouble(key, values, method)]
        if not health_rules.is_settled(engine.images, engine.clock.progress):
            troubles = []
        new = [key for key in troubles if key not in self._told]
        advice = [health_rules.warning_line(key, values[key], method.cfg, has_ground_truth(method)) for key in new]
        self._told = set(troubles)
        return {f"watch/{'_'.join(filter(None, key))}": value for key, value in values.items()}, advice

    def _is_trouble(self, key: ScalarKey, values: Mapping[ScalarKey, float], method: Method) -> bool:
        kind, domain = key
        limit = health_rules.limit_for(
            kind, values["error", domain] if kind == "change" and has_ground_truth(method) else None
        )
        lasts = len(self._points) == PERSISTENT_POINTS and not is_discriminator_fooled(self._points, method.cfg)
        return limit is not None and limit.is_exceeded(values[key]) and (kind != "d_gap" or lasts)


def has_ground_truth(method: Method) -> bool:
    """Whether the method's data show what each output should be."""
    return method.layout == "paired"


# What the sample images tell.


def measure_samples(engine: Engine, sample: Batch) -> dict[ScalarKey, float]:
    """The scalars of the sample images, by one copy from the device. For domain b and, where the method makes it, a:

    inversion: mean correlation (−1 to 1) of each output with its input, with the truth where it is known ·
    change: mean difference between output and input, of 255, where they have as many channels ·
    error: the same to the truth, where it is known · variety: see `variety` · hidden: see `hidden_signal`.
    """
    method = engine.method
    keys = engine.with_keys(sample)["key"]  # the noise that the grid is shown with
    values: dict[ScalarKey, Tensor] = {}
    with engine.evaluation_mode():
        made = {
            to: at_least_float32(method.translate(sample[source], to, keys))
            for to, source in SOURCE_OF.items()
            if to in method.generator_names and sample.keys() >= SOURCE_OF.keys()
        }
        for to, output in made.items():
            values |= {
                (kind, to): value
                for kind, value in compare_outputs(output, to, sample, has_ground_truth(method)).items()
            }
        for source in SOURCE_OF if len(made) == len(SOURCE_OF) else ():
            values["hidden", source] = hidden_signal(method, sample[source], made[SOURCE_OF[source]], source, keys)
    numbers = torch.stack(list(values.values())).tolist() if values else []
    return dict(zip(values, numbers, strict=True))


def at_least_float32(x: Tensor) -> Tensor:
    """At least in float32, whatever autocast gave."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def compare_outputs(output: Tensor, to: str, sample: Batch, truth: bool) -> dict[str, Tensor]:
    """The scalars of outputs (N, C, H, W) for domain `to`: kind → 0-dim tensor."""
    source, real = sample[SOURCE_OF[to]], sample[to]
    values = {"inversion": correlation(output, real if truth else source).mean()}
    if output.shape == source.shape:
        values["change"] = mean_absolute_difference(output, source)
    if truth:
        values["error"] = mean_absolute_difference(output, real)
    if len(output) > 1:
        values["variety"] = variety(output, *([real] if truth else [real, source]))
    return values


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation of the brightness (mean of the channels) of images (N, C, H, W): (N,); 0 with a flat one."""
    x, y = (image.mean(1).flatten(1) for image in (x, y))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    variances = (image.square().mean(1).clamp_min(FLAT_VARIANCE) for image in (x, y))
    return (x * y).mean(1) / (next(variances) * next(variances)).sqrt()


def mean_absolute_difference(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference, in levels of 255."""
    return LEVELS * (x - y).abs().mean()


def variety(made: Tensor, *real: Tensor) -> Tensor:
    """Variance of each value between made images (N, C, H, W), as a share of that between real ones: of the sets given, the one
    that varies least, for a few inputs may happen to be much alike. 1 is as it should be."""
    return made.var(0).mean() / torch.stack([images.var(0).mean() for images in real]).min().clamp_min(FLAT_VARIANCE)


def hidden_signal(method: Method, image: Tensor, middle: Tensor, domain: str, key: Tensor) -> Tensor:
    """How much worse images come back to their domain when noise that nobody sees is laid over the image between.

    The error with noise, over the error without plus the noise. At most 1 if the way back passes noise on no larger than it
    came (triangle inequality); many times that if it lives from a signal as faint as the noise.
    """
    grain = keyed_random.normal(key, "sentinels: hidden", *middle.shape[1:]).to(middle.dtype)
    noisy = (middle + PROBE_STD * grain).clamp(-1, 1)
    plain, disturbed = (at_least_float32(method.translate(x, domain, key)) for x in (middle, noisy))
    return mean_absolute_difference(disturbed, image) / (
        mean_absolute_difference(plain, image) + mean_absolute_difference(noisy, middle)
    )


# What the losses tell. By custom, adversarial losses are called adv or adv_<what it is about>, in updates d and g.

D_ADVERSARIAL, G_ADVERSARIAL = "loss/d/adv", "loss/g/adv"


@dataclass(frozen=True)
class ChanceLevels:
    """Values of an adversarial cost: the discriminator's if it cannot tell (`lost`) and if it always can (`won`), and the
    generator's where the discriminator cannot tell (`fooling`)."""

    lost: float
    won: float
    fooling: float

    def gap(self, loss: float) -> float:
        """0: the discriminator is at chance; 1: it never errs. Below 0: worse than a coin."""
        return (self.lost - loss) / (self.lost - self.won)


def discriminator_gaps(points: Sequence[Mapping[str, float]], cfg: Any) -> dict[ScalarKey, float]:
    """How far each discriminator is ahead, in the mean of the log points that have its loss: see `ChanceLevels.gap`.

    Key: ("d_gap", what it judges).
    """
    chance = chance_levels(cfg)
    if chance is None:
        return {}
    names = dict.fromkeys(name for point in points for name in point if name.startswith(D_ADVERSARIAL))
    return {
        ("d_gap", name.removeprefix(D_ADVERSARIAL).removeprefix("_")): fmean(
            chance.gap(point[name]) for point in points if name in point
        )
        for name in names
    }


def is_discriminator_fooled(points: Sequence[Mapping[str, float]], cfg: Any) -> bool:
    """Whether the generators' adversarial loss is no higher than where nobody can tell, in the mean of the log points.

    With the maximum-likelihood cost, minus the mean of the odds, this says less: that the generators' slope, which is those
    very odds, is as strong as there. So they are still taught, if perhaps by a few of their images alone.
    """
    chance = chance_levels(cfg)
    losses = [value for point in points for name, value in point.items() if name.startswith(G_ADVERSARIAL)]
    return chance is not None and bool(losses) and fmean(losses) <= chance.fooling


def chance_levels(cfg: Any) -> ChanceLevels | None:
    """The values for a method's cost; None if it has no such: no shared cost, or a critic's, whose gap has no end."""
    if not isinstance(cfg, AdversarialConfig) or not ADVERSARIAL[cfg.adversarial].bounded_below:
        return None
    return _chance_levels(cfg.adversarial, cfg.real_label)


@cache
def _chance_levels(adversarial: str, real_label: float) -> ChanceLevels:
    """Found on a grid of logits: at chance the discriminator gives real and fake the same one, the best for it."""
    cost = ADVERSARIAL[adversarial]
    d = torch.func.vmap(
        partial(cost.discriminator_loss, target=real_label)
        if cost.supports_label_smoothing
        else cost.discriminator_loss
    )
    logits = torch.linspace(-20, 20, 801, dtype=torch.float64)  # in steps of 0.05
    same = d(logits, logits)
    flat = logits[same < same.min() + 1e-9]  # the hinge's cost is flat between −1 and 1, a paired one everywhere
    best = flat.median()[None]
    apart = d(*(side.flatten() for side in torch.meshgrid(logits, logits, indexing="ij")))
    fooling = cost.generator_loss(best, best) if cost.relativistic else cost.generator_loss(best)
    return ChanceLevels(float(same.min()), float(apart.min()), float(fooling))
