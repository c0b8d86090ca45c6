"""Download of a data set from Python: where it lies, and what is told meanwhile."""

import pytest

import translate
from translate.catalog import cards, get
from translate.errors import UsageError


def test_a_set_that_ships_is_there_already(capfd):
    """A set that is there is not fetched; `say=None` is silent."""
    root = cards.cards_folder()
    assert translate.get_data("earth-season", root, say=None) == root / "earth_season"
    assert capfd.readouterr() == ("", "")


def test_progress_has_the_signature_of_every_long_task(monkeypatch, tmp_path):
    """Each part is told with its amounts; an amount that is not known is 0."""

    def fetch(card, root, options):
        options.say(card.name)
        options.progress("archive", 5, None, "bytes")
        options.progress("archive", 10, 10, "bytes")
        return root / card.folder

    monkeypatch.setattr(get, "get_dataset", fetch)
    lines, counts = [], []
    folder = translate.get_data("facades", str(tmp_path), progress=lambda *now: counts.append(now), say=lines.append)
    assert (folder, lines, counts) == (tmp_path / "facades", ["facades"], [(5, 0, 0), (10, 0, 10)])


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="facades"):
        translate.get_data("facade")
