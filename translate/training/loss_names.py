"""Names of a method's losses among the scalars of a run, told apart by the roles of its updates."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from translate.methods.base import DISCRIMINATOR, GENERATOR, Method

LOSS, ADVERSARIAL = "loss/", "adv"
"""Prefix of a loss among the scalars: loss/<update>/<loss>; and the name of an adversarial loss, or its first part."""


@dataclass(frozen=True)
class LossNames:
    """Names of losses, with the roles of the updates and the domains that they may end in.

    A loss is called by its kind, or by its kind, an underscore, and a domain or two: cycle_a, adv_ab.
    """

    roles: Mapping[str, str] = field(default_factory=lambda: {"g": GENERATOR, "d": DISCRIMINATOR})
    """Update → its role."""
    domains: tuple[str, ...] = ("a", "b")

    @staticmethod
    def of(method: Method) -> "LossNames":
        """Return the names of a method's losses."""
        return LossNames({name: update.role for name, update in method.updates.items()}, tuple(method.domains))

    def role(self, name: str) -> str | None:
        """Return the role of the update that a loss belongs to; None for other scalars."""
        return self.roles.get(name.split("/")[1]) if name.startswith(LOSS) else None

    def adversarial_domain(self, name: str, role: str) -> str | None:
        """Return the domain of an adversarial loss of that role, "" where the name has none; None for other scalars."""
        if self.role(name) != role:
            return None
        _, update, loss = name.split("/", 2)
        kind, _, domain = loss.partition("_")
        if kind != ADVERSARIAL:
            return None
        alike = [other for other, its_role in self.roles.items() if its_role == role]
        return domain if len(alike) == 1 else "_".join(filter(None, (update, domain)))

    def stem(self, name: str) -> str:
        """Return the last part of a scalar's name without the domain: "cycle" of loss/g/cycle_a, "d_gap" of watch/d_gap_b."""
        last = name.rpartition("/")[2]
        kind, _, domain = last.rpartition("_")
        pairs = {first + second for first in self.domains for second in ("", *self.domains)}
        return kind if kind and domain in pairs else last
