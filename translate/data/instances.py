"""Instance maps of label maps: which file belongs to which, decided by names alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from translate import images
from translate.data import pairing
from translate.data.split import Split
from translate.errors import DataError
from translate.text import join_names


def has_instances(root: Path) -> bool:
    """Return whether a data folder has instance maps for its training images."""
    return (root / "train_inst").is_dir()


def attach_instances(split: Split, root: Path, name: str, direction: str = "a2b") -> Split:
    """Return a split with the instance map of each label map of a, from the folder `<name>_inst`.

    Files match by name, as the two sides of pairs do. DataError where the folder or an instance map is missing.
    """
    labels, folder = root / f"{name}{'B' if direction == 'b2a' else 'A'}", root / f"{name}_inst"
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; it must hold the instance maps of {labels}, or use --instance-edges off"
        )
    found = match_instances([ref.path for ref in split.a], labels, folder)
    return replace(split, a=tuple(replace(ref, instances=found[ref.path]) for ref in split.a))


def match_instances(paths: Sequence[Path], labels: Path, folder: Path) -> dict[Path, Path]:
    """Map each label map below the folder `labels` to its instance map in another folder. DataError where one has none."""
    match = pairing.match_names(list(paths), images.list_images(folder), (labels, folder))
    found = dict(match.pairs)
    if missing := [path.name for path in paths if path not in found]:
        raise DataError(
            f"{folder}: no instance map for {len(missing)} of {len(paths)} label maps: {join_names(missing)}; give "
            f"each the name of its label map"
        )
    return found
