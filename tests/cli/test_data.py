"""`translate data list | get NAME`: what the list says, and a name that it does not have."""

import json
from pathlib import Path

from translate.catalog.cards import read_cards
from translate.cli import data

from .conftest import Fails, Run


def test_the_list_has_a_line_for_each_data_set(run: Run, elsewhere: Path) -> None:
    out, err = run("data", "list", "--root", elsewhere)
    assert err == []
    assert out[0].split() == ["name", "layout", "images", "here", "licence"]
    assert [line.split()[0] for line in out[1:]] == list(read_cards())


def test_the_list_as_json(run: Run, elsewhere: Path) -> None:
    (line,), _ = run("data", "list", "--root", elsewhere, "--json")
    listed = json.loads(line)
    assert listed["root"] == str(elsewhere)
    assert [row["name"] for row in listed["sets"]] == list(read_cards())


def test_an_unknown_data_set(fails: Fails) -> None:
    fails(["data", "get", "nowhere"], 2, "nowhere", "translate data list")


def test_a_licence_is_cut_to_the_width_of_the_terminal() -> None:
    assert data._short("a long licence", 30) == "a long licence"
    assert data._short("a long licence", 8) == "a long…"
