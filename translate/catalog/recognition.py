"""The card of a data folder, recognised by the folder's name and content together."""

from pathlib import Path

from translate.catalog.cards import DatasetCard, read_cards
from translate.catalog.get import find_mismatch


def recognise_folder(root: Path, cards_folder: Path | None = None) -> DatasetCard | None:
    """Return the card that says how the truth of a data folder is known, if the folder is that card's; else None.

    It must have the name of the card's folder, the numbers of images that the card counts, and the content of its hash where
    it has one: neither another set of this name nor a renamed folder is taken for it.
    """
    name = root.resolve().name
    for card in read_cards(cards_folder).values():
        if card.truth is not None and card.folder == name and find_mismatch(card, root) is None:
            return card
    return None
