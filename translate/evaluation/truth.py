"""True translations of unpaired sets: known from files side by side, or from names where somebody says that these mean it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.catalog.recognition import recognise_folder
from translate.data import layouts
from translate.data.split import Split
from translate.errors import DataError, TranslateError
from translate.run_folder import read_config

TRUTH = ("names", "none")
"""Values of `--truth`."""


@dataclass(frozen=True)
class TruthRule:
    """Rule by which files of two folders count as pairs, or do not."""

    by_names: bool
    """True where files of the same name show the same."""
    source: str = ""
    """Flag or record that says so, for messages; empty where none does."""
    is_asked_for: bool = False
    """True if `--truth` says so: then names that do not match are an error."""


@dataclass(frozen=True)
class KnownTruth:
    """Images of a split as pairs, if they are known to be such."""

    pairs: Split | None
    notice: str = ""
    """One line on how the pairs are known."""
    missing: str = ""
    """Reason why no pairs are known, with the remedy."""
    names_match: bool = False
    """True where no pairs are known, but names match one to one: they may be pairs."""


def resolve_truth(asked: str | None, root: Path, run: Path | None = None) -> TruthRule:
    """Return the rule for a data folder: what `--truth` asks for, else what the run or the folder's card says.

    The record of a run speaks for the folder that it was trained on alone.
    """
    if asked is not None:
        return TruthRule(asked == "names", f"--truth {asked}", is_asked_for=True)
    if recorded := _recorded_truth(run, root):
        return TruthRule(recorded == "names", f"the run was trained with --truth {recorded}")
    if card := recognise_folder(root):
        return TruthRule(True, f"so the card of {card.name} says")
    return TruthRule(False)


def _recorded_truth(run: Path | None, root: Path) -> str | None:
    """Return the setting `truth` of a run that was trained on this data folder; None where it says nothing."""
    settings = recorded_settings(run)
    is_same = isinstance(settings.get("root"), str) and Path(settings["root"]).resolve() == root.resolve()
    return settings["truth"] if is_same and settings.get("truth") in TRUTH else None


def recorded_settings(run: Path | None) -> dict[str, Any]:
    """Return the settings of a run as they were recorded; empty without a run, and where its record cannot be read."""
    try:
        return read_config(run) if run is not None else {}
    except TranslateError:  # a damaged record does not make its model unusable
        return {}


def find_truth(root: Path, split: str, direction: str, rule: TruthRule, *, skip_unmatched: bool = False) -> KnownTruth:
    """Find the pairs of a split of an unpaired set. DataError where `--truth names` asks for them, but names do not match."""
    if rule.source and not rule.by_names:
        return KnownTruth(None, missing=rule.source)
    is_joined = not layouts.has_twin_folders(root, split)
    try:
        pairs = layouts.find_split(root, "paired", split, direction, skip_unmatched=skip_unmatched and rule.by_names)
    except DataError:
        if rule.is_asked_for:
            raise
        return KnownTruth(
            None,
            missing=f"{split}A and {split}B in {root} do not have the same names, so they are no pairs",
        )
    if is_joined or rule.by_names:
        how = "files with A and B side by side" if is_joined else f"pairs by name ({rule.source})"
        return KnownTruth(
            pairs,
            f"{root}: {split} holds {how}; metrics against the true images are computed too, which training never saw",
        )
    why = (
        f"{split}A and {split}B in {root} have the same names, which alone does not make them pairs; if files of one name show "
        f"the same, give --truth names"
    )
    return KnownTruth(None, missing=why, names_match=True)


def truth_kind(split: Split) -> str | None:
    """Return how the pairs of a split are known, for the protocol: "side by side", "names", or None without pairs.

    "made": the inputs are made of the true images.
    """
    if not split.paired:
        return None
    if split.a[0] == split.b[0]:
        return "made"
    return "side by side" if split.a[0].half else "names"
