"""Data sets that ship with the package, found by their names from any folder."""

import difflib
from collections.abc import Callable
from pathlib import Path

from translate.catalog.cards import DatasetCard, cards_folder, read_card, read_cards
from translate.errors import DataError
from translate.invocation import command_line

HOME = "datasets"
"""Folder that the names of data sets begin with, in commands and in a checkout."""


def shipped_folder(card: DatasetCard) -> Path | None:
    """Return the folder of a data set that ships, in the checkout or inside the installed package; None if it does not."""
    folder = cards_folder() / card.folder
    return folder if card.ships and folder.is_dir() else None


def find_shipped(path: Path) -> Path | None:
    """Return what a path such as datasets/earth_season/testA, or earth_season, stands for among the data sets that ship.

    None where no set of that name ships, or where it has no such folder or file.
    """
    parts = path.parts[1:] if path.parts[:1] == (HOME,) else path.parts
    if not parts or path.is_absolute():
        return None
    card = cards_folder() / f"{parts[0].replace('-', '_')}.toml"
    folder = shipped_folder(read_card(card)) if card.is_file() else None
    found = None if folder is None else folder.joinpath(*parts[1:])
    return found if found is not None and found.exists() else None


def find_images(path: str | Path, say: Callable[[str], None]) -> str | Path:
    """Return the images that a path names: as it is, or else those of a data set that ships; a line says so."""
    given = Path(path)
    shipped = None if given.exists() else find_shipped(given)
    if shipped is None:
        return path
    say(f"{given}: ships with the package, in {shipped}")
    return shipped


def find_data(path: str | Path, say: Callable[[str], None]) -> Path:
    """Return the data folder that a path names, as `find_images`.

    DataError, naming what is near, where a path that does not exist is like the name of another folder or of a data set.
    """
    root = Path(find_images(path, say))
    if root.exists():
        return root
    if near := _nearest(root):
        raise DataError(f"{root}: no such folder; {near}")
    return root


def _nearest(root: Path) -> str:
    """Return a proposal for a path that does not exist; empty where nothing is like it."""
    known = {card.folder: card for card in read_cards().values()}
    name = root.name.replace("-", "_")
    if root.parent in (Path(HOME), Path()) and name in known:
        return f"{command_line('data', 'get', known[name].name)} gets it"
    if root.parent in (Path(HOME), Path()) and (close := difflib.get_close_matches(name, known, n=1, cutoff=0.75)):
        return f"did you mean {HOME}/{close[0]}?"
    beside = [folder.name for folder in root.parent.iterdir() if folder.is_dir()] if root.parent.is_dir() else []
    close = difflib.get_close_matches(root.name, beside, n=1, cutoff=0.75)
    return f"did you mean {root.parent / close[0]}?" if close else ""
