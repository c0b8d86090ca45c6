"""Health checks ("sentinels" for users): scalars that show that a training goes wrong, and one line of advice for each.

They are computed from the fixed sample images with each sample grid, and from the mean losses of each log point. They change
no weight, buffer or random draw of the training. docs/monitoring.md explains each scalar.
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
from translate.config import TrainConfig
from translate.data.layouts import LAYOUTS_WITH_TRUTH
from translate.methods.base import DISCRIMINATOR, GENERATOR, Batch, Method
from translate.methods.configs import DiscriminatorConfig
from translate.nn.losses import ADVERSARIAL
from translate.training.engine import Engine
from translate.training.loss_names import LOSS, LossNames
from translate.training.monitors import health_rules
from translate.training.monitors.health_rules import ScalarKey

PROBE_STD = 4 / 255
"""Standard deviation of the noise added to the intermediate image, two levels of 255: less than a person sees, more than the
signals of some levels' height by which generators pass the source on (Chu et al., "CycleGAN, a Master of Steganography",
2017)."""

PERSISTENT_POINTS = 10
"""Log points in a row that a discriminator must win for a warning: it wins for a while in every training."""

LEVELS = 127.5
"""Levels of 255 in a difference of 1."""

FLAT_VARIANCE = 1 / LEVELS**2
"""Variance of one level: an image below it is flat, and its correlations are those of noise."""

SOURCE_OF = {"b": "a", "a": "b"}
"""Target domain → the domain whose images are translated to it."""


class HealthMonitor:
    """Monitor of a training's health on `sample`, the batch of the sample grids: images (N, C, H, W) in [-1, 1] by domain.

    Each problem gives one line when it is first seen, and again only after it was gone.
    """

    def __init__(self, sample: Batch) -> None:
        self.sample = sample
        self._points: deque[dict[str, float]] = deque(maxlen=PERSISTENT_POINTS)
        self._active: set[ScalarKey] = set()

    def on_log(self, values: Mapping[str, float]) -> None:
        """Take the scalars of a log point, of which the losses count."""
        self._points.append({name: value for name, value in values.items() if name.startswith(LOSS)})

    def state(self) -> dict[str, Any]:
        """Return the last log points and the problems that have been told, for the checkpoint."""
        return {"points": list(self._points), "active": sorted(self._active)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; the monitor begins anew where it is empty."""
        self._points = deque(state.get("points", ()), maxlen=PERSISTENT_POINTS)
        self._active = {(kind, domain) for kind, domain in state.get("active", ())}

    def __call__(self, engine: Engine) -> tuple[dict[str, float], list[str]]:
        """Return the current scalars, by "watch/name", and a line of advice for each new problem."""
        method = engine.method
        values = measure_samples(engine, self.sample) | discriminator_gaps(self._points, method)
        problems = [key for key in values if self._is_problem(key, values, method)]
        if not health_rules.is_settled(engine.images, engine.clock.progress):
            problems = []
        new = [key for key in problems if key not in self._active]
        advice = [health_rules.warning_line(key, values[key], method.cfg, has_ground_truth(method)) for key in new]
        self._active = set(problems)
        return {f"watch/{'_'.join(filter(None, key))}": value for key, value in values.items()}, advice

    def _is_problem(self, key: ScalarKey, values: Mapping[ScalarKey, float], method: Method) -> bool:
        kind, domain = key
        limit = health_rules.limit_for(
            kind, values["error", domain] if kind == "change" and method.layout == "paired" else None
        )
        is_persistent = len(self._points) == PERSISTENT_POINTS and not is_discriminator_fooled(self._points, method)
        return limit is not None and limit.is_exceeded(values[key]) and (kind != "d_gap" or is_persistent)


def has_ground_truth(method: Method) -> bool:
    """Return True if the method's data are pairs, or it makes pairs of them: the true output of each image is known."""
    return method.layout in LAYOUTS_WITH_TRUTH


# Scalars of the sample images.


def measure_samples(engine: Engine, sample: Batch) -> dict[ScalarKey, float]:
    """Return the scalars of the sample images, by one copy from the device, for domain b and, where it is translated to, a.

    inversion: mean correlation (−1 to 1) of each output with its input, or with the truth where it is known.
    change: mean absolute difference of output and input, of 255, where they have as many channels.
    error: mean absolute difference of output and truth, of 255, where it is known.
    variety: see `variety`. hidden: see `hidden_signal`.
    """
    method = engine.method
    values: dict[ScalarKey, Tensor] = {}
    with engine.evaluation_mode():
        sample = method.sample_pairs(engine.with_keys(sample))
        keys = sample["key"]  # the noise of the sample grid
        outputs = {
            to: at_least_float32(method.translate(sample[source], to, keys))
            for to, source in SOURCE_OF.items()
            if to in method.generator_names and sample.keys() >= SOURCE_OF.keys()
        }
        for to, output in outputs.items():
            values |= {
                (kind, to): value
                for kind, value in compare_outputs(output, to, sample, has_ground_truth(method)).items()
            }
        for source in SOURCE_OF if len(outputs) == len(SOURCE_OF) else ():
            values["hidden", source] = hidden_signal(method, sample[source], outputs[SOURCE_OF[source]], source, keys)
    numbers = torch.stack(list(values.values())).tolist() if values else []
    return dict(zip(values, numbers, strict=True))


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32, or in its own type if that is wider: autocast gives half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def compare_outputs(output: Tensor, to: str, sample: Batch, truth: bool) -> dict[str, Tensor]:
    """Return the scalars of outputs (N, C, H, W) for domain `to`: kind → 0-dim tensor."""
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
    """Return Pearson's correlation (N,) of the brightness (mean of the channels) of images (N, C, H, W); 0 if one is flat."""
    x, y = (image.mean(1).flatten(1) for image in (x, y))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    variances = (image.square().mean(1).clamp_min(FLAT_VARIANCE) for image in (x, y))
    return (x * y).mean(1) / (next(variances) * next(variances)).sqrt()


def mean_absolute_difference(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of images in [-1, 1], in levels of 255."""
    return LEVELS * (x - y).abs().mean()


def variety(generated: Tensor, *real: Tensor) -> Tensor:
    """Return the variance between generated images (N, C, H, W), as a share of that between real ones; 1 is ideal.

    Of several sets of real images the one that varies least counts, for a few inputs may happen to be much alike.
    """
    return generated.var(0).mean() / torch.stack([images.var(0).mean() for images in real]).min().clamp_min(
        FLAT_VARIANCE
    )


def hidden_signal(method: Method, image: Tensor, middle: Tensor, domain: str, key: Tensor) -> Tensor:
    """Return how much worse the cycle reconstructs images when invisible noise is added to the intermediate image.

    The error with noise, over the sum of the error without and the noise. At most 1 if the way back does not amplify noise
    (triangle inequality); many times that if it depends on a signal as faint as the noise. `middle`: `image` translated to the
    other domain; `domain`: the domain of `image`; `key`: (N,).
    """
    noise = keyed_random.normal(key, "sentinels: hidden", *middle.shape[1:]).to(middle.dtype)
    noisy = (middle + PROBE_STD * noise).clamp(-1, 1)
    plain, disturbed = (at_least_float32(method.translate(x, domain, key)) for x in (middle, noisy))
    return mean_absolute_difference(disturbed, image) / (
        mean_absolute_difference(plain, image) + mean_absolute_difference(noisy, middle)
    )


# Scalars of the losses.


@dataclass(frozen=True)
class ChanceLevels:
    """Values of an adversarial cost where the discriminator is at chance, and where it never errs."""

    lost: float
    """Discriminator's cost at chance."""
    won: float
    """Discriminator's cost where it never errs."""
    fooling: float
    """Generator's cost where the discriminator is at chance."""

    def gap(self, loss: float) -> float:
        """Return the lead of a discriminator with this loss: 0 at chance, 1 where it never errs, below 0 worse than chance."""
        return (self.lost - loss) / (self.lost - self.won)


def discriminator_gaps(points: Sequence[Mapping[str, float]], method: Method) -> dict[ScalarKey, float]:
    """Return the lead of each discriminator, as `ChanceLevels.gap`, in the mean of the log points that have its loss.

    The key is ("d_gap", its domain or ""). Empty where the method's cost has no chance level.
    """
    chance = chance_levels(method.cfg)
    if chance is None:
        return {}
    domains = _adversarial_domains(points, method, DISCRIMINATOR)
    weight = method.adversarial_weight * method.discriminator_weight
    return {
        ("d_gap", domain): fmean(chance.gap(point[name] / weight) for point in points if name in point)
        for name, domain in domains.items()
    }


def _adversarial_domains(points: Sequence[Mapping[str, float]], method: Method, role: str) -> dict[str, str]:
    """Return the domains of the adversarial losses of that role, by the names of the losses."""
    names, losses = dict.fromkeys(name for point in points for name in point), LossNames.of(method)
    return {name: domain for name in names if (domain := losses.adversarial_domain(name, role)) is not None}


def is_discriminator_fooled(points: Sequence[Mapping[str, float]], method: Method) -> bool:
    """Return True if the mean adversarial loss of the generators is no higher than with a discriminator at chance.

    With the maximum-likelihood cost, minus the mean of the odds, this means less: the generators' gradient, which is those
    odds, is as strong as there, so that they still learn, if perhaps from a few of their images alone.
    """
    chance, names = chance_levels(method.cfg), _adversarial_domains(points, method, GENERATOR)
    losses = [value / method.adversarial_weight for point in points for name, value in point.items() if name in names]
    return chance is not None and bool(losses) and fmean(losses) <= chance.fooling


def chance_levels(cfg: TrainConfig) -> ChanceLevels | None:
    """Return the levels of a method's adversarial cost; None for a cost of its own, or a critic's, which has no bound."""
    if not isinstance(cfg, DiscriminatorConfig) or not ADVERSARIAL[cfg.adversarial].bounded_below:
        return None
    return _chance_levels(cfg.adversarial, cfg.real_label)


@cache
def _chance_levels(adversarial: str, real_label: float) -> ChanceLevels:
    """Find the levels on a grid of logits: at chance the discriminator gives real and fake the same logit, the best for it."""
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
