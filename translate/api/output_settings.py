"""Settings of the generator's output that follow from the data, or are those of the run that is resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from translate.api.run_record import RunRecord, read_started_run
from translate.callbacks import SayCallback
from translate.config import AUTO_ON_OFF, TrainConfig
from translate.data.edge_layout import edge_correlation, moved_edges, read_small
from translate.data.split import Split
from translate.errors import UsageError
from translate.images import Reading
from translate.methods import Method
from translate.methods.configs import GanConfig
from translate.runtime import distributed

AUTO = AUTO_ON_OFF[0]

# A residual output keeps the shapes of the input: where they stay, training has to learn colours and details alone; where they
# change, a ghost of the input is left in the output (docs/quality.md). Both bounds lie between what sets of the two kinds have.
LEAST_CORRELATION = 0.55
"""Least correlation of edges in pairs: photos and elevation maps have 0.39, flat and shaded drawings 0.75."""
MOST_MOVED = 0.25
"""Largest share of edges that lie elsewhere in the other domain: sneakers and boots have 39 %, faces of other hair 14 %."""

C = TypeVar("C", bound=TrainConfig)


def find_output_settings(cls: type[Method], cfg: C, split: Split, run: Path, say: SayCallback) -> C:
    """Return the config with --residual and --colour-start on or off, where they are auto.

    They are those of the run which is resumed, or follow from the training images of a new one.
    """
    if not isinstance(cfg, GanConfig) or AUTO not in (cfg.residual, cfg.colour_start):
        return cfg
    found = distributed.broadcast_object(lambda: _find(cls, cfg, split, read_started_run(run), say))
    decided: dict[str, Any] = {name: value for name, value in found.items() if getattr(cfg, name) == AUTO}
    return cls.resolve_config(replace(cfg, **decided))


def _find(
    cls: type[Method], cfg: GanConfig, split: Split, record: RunRecord | None, say: SayCallback
) -> dict[str, str]:
    if record is not None:
        return {name: _on_or_off(record.settings.get(name, False)) for name in ("residual", "colour_start")}
    residual = cfg.residual
    if residual == AUTO:
        residual = _on_or_off(_is_possible(cls, cfg) and _keeps_shapes(cls, cfg, split, say))
    return {"residual": residual, "colour_start": residual}


def _on_or_off(value: Any) -> str:
    return "on" if value in (True, "on") else "off"


def _is_possible(cls: type[Method], cfg: GanConfig) -> bool:
    """Return whether the method, its networks and domains can have a residual output."""
    if cls.layout not in ("paired", "unpaired"):
        return False
    try:
        cls.resolve_config(replace(cfg, residual="on"))
    except UsageError:
        return False
    return True


def _keeps_shapes(cls: type[Method], cfg: GanConfig, split: Split, say: SayCallback) -> bool:
    """Return whether the shapes of the images may stay in a translation, and say why; False where nothing can be seen."""
    a, b = (read_small(refs, Reading(n)) for refs, n in ((split.a, cfg.input_channels), (split.b, cfg.output_channels)))
    if cls.layout == "paired":
        both = sorted(a.keys() & b.keys())
        value = edge_correlation([a[n] for n in both], [b[n] for n in both])
        keeps = value is not None and value >= LEAST_CORRELATION
        seen = "" if value is None else f"edges of inputs and true images have a correlation of {value:.2f}"
    else:
        value = moved_edges(list(a.values()), list(b.values()))
        keeps = value is not None and value <= MOST_MOVED
        seen = "" if value is None else f"{value:.0%} of the edges lie elsewhere in domain b"
    if seen:
        how = "are added to the input's colours" if keeps else "are painted anew"
        say(f"data: {seen}, so outputs {how} (--residual {_on_or_off(keeps)})")
    return keeps
