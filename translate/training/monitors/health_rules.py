"""Health rules: the limits of the health checks' scalars, and the warning and advice beyond them. Imports no torch."""

from dataclasses import dataclass

from translate.config import TrainConfig
from translate.text import flag_name

MIN_PROGRESS = 0.1
"""Share of the plan before which nothing warns: the outputs of an untrained generator are grey, alike, and as often negatives
of their inputs as not."""

MIN_IMAGES = 1000
"""Images before which nothing warns either, however short the plan: pix2pix's outputs have passed 0.05 of the variety of real
images after 250, 0.2 after 500 (measured on datasets/earth_map)."""

INVERTED = -0.3
"""Correlation below which outputs count as negatives. A negative is at −1 and, repainted, on the way up from there. The mean
over four pairs of unrelated satellite photographs has a standard deviation of 0.15 (measured on datasets/): this is two."""

COPIED = 2.0
"""Mean difference, in levels of 255, below which an output is a copy of its input. Saving a photograph as JPEG
changes it as much: by 1.2 to 1.6 levels at quality 90, by 2.7 to 3.3 at 75 (measured on datasets/)."""

COPIED_SHARE = 0.25
"""Share of the distance to the truth, where data are pairs, below which the distance to the input makes an output a copy. Not
of inputs that are made of the truth: they are near it, and cautious outputs near them."""

COLLAPSED = 0.05
"""`variety` below which all outputs count as one image. Differences are then a fifth of the usual size; those of photographs
of 64 pixels that are blurred to 2×2 blocks still have 0.4 (measured on datasets/)."""

HIDDEN = 2.0
"""`hidden` above which the cycle reads an invisible signal. At most 1 where it does not amplify noise."""

SATURATED = 0.95
"""Lead above which the discriminator has nothing left to learn, and its gradient nothing left to teach (Arjovsky and Bottou,
"Towards Principled Methods for Training GANs", 2017, sec. 2)."""

ScalarKey = tuple[str, str]
"""(kind of scalar, domain or ""): ("inversion", "b") is logged as watch/inversion_b."""


@dataclass(frozen=True)
class Limit:
    """Bound of a scalar of a healthy training."""

    side: str
    """Side of the bound that is a problem: "below" or "above"."""
    bound: float

    def is_exceeded(self, value: float) -> bool:
        """Return True if the value lies on the wrong side."""
        return value < self.bound if self.side == "below" else value > self.bound


def limit_for(kind: str, error: float | None = None) -> Limit | None:
    """Return the limit of a kind of scalar; None without. `error`: distance to the truth, where that is known."""
    match kind:
        case "inversion":
            return Limit("below", INVERTED)
        case "change":
            return Limit("below", COPIED if error is None else COPIED_SHARE * error)
        case "variety":
            return Limit("below", COLLAPSED)
        case "hidden":
            return Limit("above", HIDDEN)
        case "d_gap":
            return Limit("above", SATURATED)
        case _:
            return None


def is_settled(images: int, progress: float) -> bool:
    """Return True if a training has come far enough for its scalars to mean something."""
    return progress >= MIN_PROGRESS and images >= MIN_IMAGES


@dataclass(frozen=True)
class HealthRule:
    """Warning for a scalar beyond its limit, and the settings that may fix it."""

    message: str
    """Template with {domain}, {of_domain}, {origin} and {value}."""
    action: str
    """RESTART_WITH or RESUME_WITH."""
    remedies: tuple[tuple[str, str], ...]
    """(name of a setting, one of CHANGES or a value)."""


CHANGES = ("another", "a smaller", "a larger")
RESTART_WITH = "start again with"
CYCLE_WEIGHTS = ("lambda_cycle", "lambda_a", "lambda_b", "default_rate")
"""Names that methods give to the weight of the cycle consistency loss."""
RESUME_WITH = "stop, and resume (translate resume) with"

HEALTH_RULES: dict[str, HealthRule] = {  # kind of scalar → its rule
    "inversion": HealthRule(
        "images translated to domain {domain} look like negatives of {origin} (correlation {value:.2f})",
        RESTART_WITH,
        (("seed", "another"), ("lambda_identity", "a larger"), ("lambda_l1", "a larger")),
    ),
    "change": HealthRule(
        "images translated to domain {domain} are copies of their inputs (mean difference {value:.1f} of 255)",
        RESUME_WITH,
        (
            ("lambda_identity", "a smaller"),
            *((name, "a smaller") for name in CYCLE_WEIGHTS),
            ("lambda_nce", "a smaller"),
            ("lambda_gan", "a larger"),
            ("lambda_l1", "a larger"),
            ("lambda_feature_matching", "a larger"),
        ),
    ),
    "variety": HealthRule(
        "images translated to domain {domain} are nearly all the same ({value:.1%} of the variance of real ones)",
        RESTART_WITH,
        (("seed", "another"), ("lr", "a smaller"), ("pool_size", "a larger")),
    ),
    "hidden": HealthRule(
        "the cycle from domain {domain} and back depends on an invisible signal in the intermediate image: faint noise there "
        "makes the reconstruction {value:.1f} times worse than the noise itself can",
        RESUME_WITH,
        tuple((name, "a smaller") for name in CYCLE_WEIGHTS),
    ),
    "d_gap": HealthRule(
        "the discriminator{of_domain} never mistakes a generated image for a real one ({value:.1%}), so the generator learns "
        "nothing from it",
        RESUME_WITH,
        (("diffaugment", "color,translation,cutout"), ("lr", "a smaller")),
    ),
}


def warning_line(key: ScalarKey, value: float, cfg: TrainConfig, truth: bool) -> str:
    """Return a warning in one line, with the settings that may fix the problem.

    `truth`: the true output of each image is known.
    """
    kind, domain = key
    rule = HEALTH_RULES[kind]
    words = {
        "origin": "the true ones" if truth else "their inputs",
        "of_domain": f" of domain {domain}" if domain else "",
    }
    flags = remedy_flags(rule, cfg)
    advice = f"; {rule.action} {' or '.join(flags)}" if flags else ""
    return f"warning: {rule.message.format(domain=domain, value=value, **words)}{advice}"


def remedy_flags(rule: HealthRule, cfg: TrainConfig) -> list[str]:
    """Return the flags that may fix the problem, as far as the method has them and they can be changed that way."""
    flags = []
    for name, change in rule.remedies:
        now, flag = getattr(cfg, name, None), flag_name(name)
        is_useless = now is None or now == change or (change == "a smaller" and now == 0)
        if is_useless or name in cfg.not_advised:
            continue
        flags.append(f"{change} {flag} (now {now})" if change in CHANGES else f"{flag} {change}")
    return flags
