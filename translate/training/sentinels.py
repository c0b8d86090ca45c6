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

from translate import noise
from translate.methods.base import AdversarialConfig, Batch, Method
from translate.nn.losses import ADVERSARIAL
from translate.training import signs
from translate.training.engine import Engine
from translate.training.signs import Key

PROBE = 4 / 255
"""Standard deviation of the noise laid over the middle image, two levels of 255: less than a person sees, more than the signals
of some levels' height by which generators pass the source on (Chu et al., "CycleGAN, a Master of Steganography", 2017)."""

LASTING = 10
"""Log points in a row that must show it: a discriminator wins for a while in every training."""

LEVELS = 127.5
"""Levels of 255 in a difference of 1."""

UNSEEN = 1 / LEVELS**2
"""Variance of one level: below it an image is flat, and correlations with it are of noise."""

SOURCE = {"b": "a", "a": "b"}
"""Target domain → the domain whose images are translated to it."""


class Sentinels:
    """Watches a training. `sample` is the fixed batch of the sample grids: images (N, C, H, W) in [-1, 1] by domain.

    Each trouble gives one line, when it is first seen; again only after it was gone.
    """

    def __init__(self, sample: Batch) -> None:
        self.sample = sample
        self._points: deque[dict[str, float]] = deque(maxlen=LASTING)
        self._told: set[Key] = set()

    def logged(self, values: Mapping[str, float]) -> None:
        """Takes one log point: scalars by "loss/update/name" and others."""
        self._points.append({name: value for name, value in values.items() if name.startswith(("loss/d/", "loss/g/"))})

    def __call__(self, engine: Engine) -> tuple[dict[str, float], list[str]]:
        """The scalars of this moment, by "watch/name", and a line of advice for each trouble that is new."""
        method = engine.method
        values = look(engine, self.sample) | gaps(self._points, method.cfg)
        troubles = [key for key in values if self._is_trouble(key, values, method)]
        if not signs.settled(engine.images, engine.clock.progress):
            troubles = []
        new = [key for key in troubles if key not in self._told]
        advice = [signs.line_of(key, values[key], method.cfg, knows_truth(method)) for key in new]
        self._told = set(troubles)
        return {f"watch/{'_'.join(filter(None, key))}": value for key, value in values.items()}, advice

    def _is_trouble(self, key: Key, values: Mapping[Key, float], method: Method) -> bool:
        kind, domain = key
        limit = signs.limit_of(kind, values["error", domain] if kind == "change" and knows_truth(method) else None)
        lasts = len(self._points) == LASTING and not is_fooled(self._points, method.cfg)
        return limit is not None and limit.is_passed(values[key]) and (kind != "d_gap" or lasts)


def knows_truth(method: Method) -> bool:
    """Whether the method's data show what each output should be."""
    return method.layout == "paired"


# What the sample images tell.


def look(engine: Engine, sample: Batch) -> dict[Key, float]:
    """The scalars of the sample images, by one copy from the device. For domain b and, where the method makes it, a:

    inversion: mean correlation (−1 to 1) of each output with its input, with the truth where it is known ·
    change: mean difference between output and input, of 255, where they have as many channels ·
    error: the same to the truth, where it is known · variety: see `variety` · hidden: see `hidden`.
    """
    method = engine.method
    keys = engine.numbered(sample)["key"]  # the noise that the grid is shown with
    values: dict[Key, Tensor] = {}
    with engine.aside():
        made = {
            to: exactly(method.translate(sample[source], to, keys))
            for to, source in SOURCE.items()
            if to in method.translators and sample.keys() >= SOURCE.keys()
        }
        for to, output in made.items():
            values |= {(kind, to): value for kind, value in compare(output, to, sample, knows_truth(method)).items()}
        for source in SOURCE if len(made) == len(SOURCE) else ():
            values["hidden", source] = hidden(method, sample[source], made[SOURCE[source]], source, keys)
    numbers = torch.stack(list(values.values())).tolist() if values else []
    return dict(zip(values, numbers, strict=True))


def exactly(x: Tensor) -> Tensor:
    """At least in float32, whatever autocast gave."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def compare(output: Tensor, to: str, sample: Batch, truth: bool) -> dict[str, Tensor]:
    """The scalars of outputs (N, C, H, W) for domain `to`: kind → 0-dim tensor."""
    source, real = sample[SOURCE[to]], sample[to]
    values = {"inversion": correlation(output, real if truth else source).mean()}
    if output.shape == source.shape:
        values["change"] = distance(output, source)
    if truth:
        values["error"] = distance(output, real)
    if len(output) > 1:
        values["variety"] = variety(output, *([real] if truth else [real, source]))
    return values


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation of the brightness (mean of the channels) of images (N, C, H, W): (N,); 0 with a flat one."""
    x, y = (image.mean(1).flatten(1) for image in (x, y))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    variances = (image.square().mean(1).clamp_min(UNSEEN) for image in (x, y))
    return (x * y).mean(1) / (next(variances) * next(variances)).sqrt()


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference, in levels of 255."""
    return LEVELS * (x - y).abs().mean()


def variety(made: Tensor, *real: Tensor) -> Tensor:
    """Variance of each value between made images (N, C, H, W), as a share of that between real ones: of the sets given, the one
    that varies least, for a few inputs may happen to be much alike. 1 is as it should be."""
    return made.var(0).mean() / torch.stack([images.var(0).mean() for images in real]).min().clamp_min(UNSEEN)


def hidden(method: Method, image: Tensor, middle: Tensor, domain: str, key: Tensor) -> Tensor:
    """How much worse images come back to their domain when noise that nobody sees is laid over the image between.

    The error with noise, over the error without plus the noise. At most 1 if the way back passes noise on no larger than it
    came (triangle inequality); many times that if it lives from a signal as faint as the noise.
    """
    grain = noise.normal(key, "sentinels: hidden", *middle.shape[1:]).to(middle.dtype)
    noisy = (middle + PROBE * grain).clamp(-1, 1)
    plain, disturbed = (exactly(method.translate(x, domain, key)) for x in (middle, noisy))
    return distance(disturbed, image) / (distance(plain, image) + distance(noisy, middle))


# What the losses tell. By custom, adversarial losses are called adv or adv_<what it is about>, in updates d and g.

DISCRIMINATOR, GENERATOR = "loss/d/adv", "loss/g/adv"


@dataclass(frozen=True)
class Chance:
    """Values of an adversarial cost: the discriminator's if it cannot tell (`lost`) and if it always can (`won`), and the
    generator's where the discriminator cannot tell (`fooling`)."""

    lost: float
    won: float
    fooling: float

    def gap(self, loss: float) -> float:
        """0: the discriminator is at chance; 1: it never errs. Below 0: worse than a coin."""
        return (self.lost - loss) / (self.lost - self.won)


def gaps(points: Sequence[Mapping[str, float]], cfg: Any) -> dict[Key, float]:
    """How far each discriminator is ahead, in the mean of the log points that have its loss: see `Chance.gap`.

    Key: ("d_gap", what it judges).
    """
    chance = chance_of(cfg)
    if chance is None:
        return {}
    names = dict.fromkeys(name for point in points for name in point if name.startswith(DISCRIMINATOR))
    return {
        ("d_gap", name.removeprefix(DISCRIMINATOR).removeprefix("_")): fmean(
            chance.gap(point[name]) for point in points if name in point
        )
        for name in names
    }


def is_fooled(points: Sequence[Mapping[str, float]], cfg: Any) -> bool:
    """Whether the generators' adversarial loss is no higher than where nobody can tell, in the mean of the log points.

    With the maximum-likelihood cost, minus the mean of the odds, this says less: that the generators' slope, which is those
    very odds, is as strong as there. So they are still taught, if perhaps by a few of their images alone.
    """
    chance = chance_of(cfg)
    losses = [value for point in points for name, value in point.items() if name.startswith(GENERATOR)]
    return chance is not None and bool(losses) and fmean(losses) <= chance.fooling


def chance_of(cfg: Any) -> Chance | None:
    """The values for a method's cost; None if it has no such: no shared cost, or a critic's, whose gap has no end."""
    if not isinstance(cfg, AdversarialConfig) or not ADVERSARIAL[cfg.adversarial].bounded:
        return None
    return _chance(cfg.adversarial, cfg.real_label)


@cache
def _chance(adversarial: str, real_label: float) -> Chance:
    """Found on a grid of logits: at chance the discriminator gives real and fake the same one, the best for it."""
    cost = ADVERSARIAL[adversarial]
    d = torch.func.vmap(partial(cost.d, target=real_label) if cost.smooths else cost.d)
    logits = torch.linspace(-20, 20, 801, dtype=torch.float64)  # in steps of 0.05
    same = d(logits, logits)
    flat = logits[same < same.min() + 1e-9]  # the hinge's cost is flat between −1 and 1, a paired one everywhere
    best = flat.median()[None]
    apart = d(*(side.flatten() for side in torch.meshgrid(logits, logits, indexing="ij")))
    fooling = cost.g(best, best) if cost.pairs else cost.g(best)
    return Chance(float(same.min()), float(apart.min()), float(fooling))
