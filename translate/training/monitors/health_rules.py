"""What the numbers of the sentinels mean: their limits, and what is said and advised beyond them. Without torch."""

from dataclasses import dataclass
from typing import Any

MIN_PROGRESS = 0.1
"""Share of the plan before which nothing trips: an untrained generator's outputs are grey, alike, and as often negatives of
their inputs as not."""

MIN_IMAGES = 1000
"""Images before which nothing trips either, however short the plan: pix2pix's outputs have passed 0.05 of the variety of real
images after 250, 0.2 after 500 (measured on datasets/earth_map)."""

INVERTED = -0.3
"""Correlation below which outputs count as negatives. A negative is at −1 and, repainted, on the way up from there. The mean
over four pairs of unrelated satellite photographs has a standard deviation of 0.15 (measured on datasets/): this is two."""

COPIED = 2.0
"""Mean difference, in levels of 255, below which an output is its input. Saving a photograph as JPEG changes it as much: by 1.2
to 1.6 levels at quality 90, by 2.7 to 3.3 at 75 (measured on datasets/)."""

COPIED_SHARE = 0.25
"""Where the truth is known: the output is a copy if it is this many times nearer to the input than to the truth."""

COLLAPSED = 0.05
"""`variety` below which outputs are all one image. Differences are then a fifth of the usual size; those of photographs of 64
pixels that are blurred to 2×2 blocks still have 0.4 (measured on datasets/)."""

HIDDEN = 2.0
"""`hidden` above which the way back reads what nobody sees. At most 1 where it passes noise on no larger than it came."""

SATURATED = 0.95
"""Gap above which the discriminator has nothing left to learn, and its slope nothing left to teach (Arjovsky and Bottou,
"Towards Principled Methods for Training GANs", 2017, sec. 2)."""

ScalarKey = tuple[str, str]
"""(kind of scalar, domain or ""): ("inversion", "b") is logged as watch/inversion_b."""


@dataclass(frozen=True)
class Limit:
    """A bound that a healthy number does not pass."""

    side: str
    """Of the bound that is trouble: "below" or "above"."""
    bound: float

    def is_exceeded(self, value: float) -> bool:
        return value < self.bound if self.side == "below" else value > self.bound


def limit_for(kind: str, error: float | None = None) -> Limit | None:
    """The limit of a kind of number; None where there is none. `error`: distance to the truth, where that is known."""
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
    """Whether a training is far enough for its numbers to mean something."""
    return progress >= MIN_PROGRESS and images >= MIN_IMAGES


@dataclass(frozen=True)
class HealthRule:
    """What is said when a scalar trips, and which settings may mend it: (name, one of CHANGES or a value)."""

    message: str
    action: str
    remedies: tuple[tuple[str, str], ...]


CHANGES = ("another", "a smaller", "a larger")
RESTART_WITH = "start again with"
CYCLE_WEIGHTS = ("lambda_cycle", "lambda_a", "lambda_b", "default_rate")
"""What methods call the weight of coming back to where one started."""
RESUME_WITH = "stop and go on (translate resume) with"

HEALTH_RULES: dict[str, HealthRule] = {
    "inversion": HealthRule(
        "images made for domain {domain} look like negatives of {origin} (correlation {value:.2f})",
        RESTART_WITH,
        (("seed", "another"), ("lambda_identity", "a larger"), ("lambda_l1", "a larger")),
    ),
    "change": HealthRule(
        "images made for domain {domain} are copies of their inputs (mean difference {value:.1f} of 255)",
        RESUME_WITH,
        (
            ("lambda_identity", "a smaller"),
            *((name, "a smaller") for name in CYCLE_WEIGHTS),
            ("lambda_nce", "a smaller"),
            ("lambda_l1", "a larger"),
        ),
    ),
    "variety": HealthRule(
        "images made for domain {domain} are nearly all the same ({value:.1%} of the variance of real ones)",
        RESTART_WITH,
        (("seed", "another"), ("lr", "a smaller"), ("pool_size", "a larger")),
    ),
    "hidden": HealthRule(
        "the way from {domain} and back lives from a signal that nobody sees in the image between: faint noise there makes it "
        "{value:.1f} times worse than it may",
        RESUME_WITH,
        tuple((name, "a smaller") for name in CYCLE_WEIGHTS),
    ),
    "d_gap": HealthRule(
        "the discriminator{of_domain} tells real from made images without fail ({value:.1%}) and teaches nothing any more",
        RESUME_WITH,
        (("diffaugment", "color,translation,cutout"), ("lr", "a smaller")),
    ),
}


def warning_line(key: ScalarKey, value: float, settings: Any, truth: bool) -> str:
    """What is wrong, in one line, and which of the settings (an object with them as attributes) may mend it.

    `truth`: whether the data show what each output should be.
    """
    kind, domain = key
    sign = HEALTH_RULES[kind]
    words = {
        "origin": "the true ones" if truth else "their inputs",
        "of_domain": f" of domain {domain}" if domain else "",
    }
    flags = remedy_flags(sign, settings)
    advice = f"; {sign.action} {' or '.join(flags)}" if flags else ""
    return f"warning: {sign.message.format(domain=domain, value=value, **words)}{advice}"


def remedy_flags(sign: HealthRule, settings: Any) -> list[str]:
    """The flags that may mend it, as far as the method has them and they can be changed that way."""
    flags = []
    for name, change in sign.remedies:
        now, flag = getattr(settings, name, None), "--" + name.replace("_", "-")
        if now is None or now == change or (change == "a smaller" and now == 0):
            continue
        flags.append(f"{change} {flag} (now {now})" if change in CHANGES else f"{flag} {change}")
    return flags
