"""True images of unpaired sets: who may say that equal names mean pairs, and what is told where nobody does."""

import os
import shutil
from pathlib import Path

import pytest

from translate.catalog.cards import cards_folder
from translate.data import layouts
from translate.errors import DataError
from translate.evaluation.truth import TruthRule, find_truth, resolve_truth, truth_kind


def write(root: Path, *names: str) -> Path:
    """Empty files: truth is decided by names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def numbered_alike(root: Path) -> Path:
    """Two folders of photos from two cameras, which number alike."""
    return write(root, *(f"test{side}/IMG_{i:03}.jpg" for side in "AB" for i in range(3)))


def test_equal_names_alone_are_no_truth(tmp_path: Path) -> None:
    root = numbered_alike(tmp_path)
    rule = resolve_truth(None, root)
    assert rule == TruthRule(False)
    found = find_truth(root, "test", "a2b", rule)
    assert (found.pairs, found.notice) == (None, "")
    assert "have the same names, which alone does not make them pairs" in found.missing
    assert "--truth names" in found.missing


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_names_are_the_truth_where_that_is_asked_for(tmp_path: Path, direction: str) -> None:
    root = numbered_alike(tmp_path)
    found = find_truth(root, "test", direction, resolve_truth("names", root))
    assert found.pairs is not None
    assert found.pairs == layouts.find_split(root, "paired", "test", direction)
    assert "pairs by name (--truth names)" in found.notice
    assert truth_kind(found.pairs) == "names"


def test_names_that_do_not_match_are_an_error_only_where_they_are_asked_for(tmp_path: Path) -> None:
    root = write(numbered_alike(tmp_path), "testB/surplus.jpg")
    with pytest.raises(DataError, match="testB/surplus"):
        find_truth(root, "test", "a2b", resolve_truth("names", root))
    found = find_truth(root, "test", "a2b", resolve_truth("names", root), skip_unmatched=True)
    assert found.pairs is not None
    assert len(found.pairs) == 3
    for rule in (TruthRule(False), TruthRule(True, "so the card of x says")):
        assert "do not have the same names" in find_truth(root, "test", "a2b", rule).missing
    assert find_truth(root, "test", "a2b", TruthRule(False), skip_unmatched=True).pairs is None


def test_files_side_by_side_are_the_truth_unless_none_is_wanted(tmp_path: Path) -> None:
    root = write(tmp_path, "test/1.png", "test/2.png")
    for asked in (None, "names"):
        found = find_truth(root, "test", "a2b", resolve_truth(asked, root))
        assert found.pairs is not None
        assert found.pairs.paired
        assert truth_kind(found.pairs) == "side by side"
        assert "files with A and B side by side" in found.notice
    found = find_truth(root, "test", "a2b", resolve_truth("none", root))
    assert (found.pairs, found.missing) == (None, "--truth none")
    assert truth_kind(layouts.find_split(root, "unpaired", "test")) is None


def write_record(run: Path, root: Path, truth: str | None) -> Path:
    run.mkdir()
    line = f'truth = "{truth}"\n' if truth else ""
    (run / "config.toml").write_text(f'method = "cyclegan"\nroot = "{root}"\nprocesses = 1\n{line}')
    return run


def test_a_run_says_it_of_the_folder_that_it_was_trained_on(tmp_path: Path) -> None:
    root = numbered_alike(tmp_path / "mine")
    run = write_record(tmp_path / "run", root, "names")
    rule = resolve_truth(None, root, run)
    assert (rule.by_names, rule.is_asked_for) == (True, False)
    assert "--truth names" in rule.source
    assert resolve_truth(None, Path(os.path.relpath(root)), run).by_names
    other = shutil.copytree(root, tmp_path / "other")
    assert resolve_truth(None, other, run) == TruthRule(False)
    assert resolve_truth("none", root, run).by_names is False
    for truth in (None, "whatever"):
        silent = write_record(tmp_path / f"run {truth}", root, truth)
        assert resolve_truth(None, root, silent) == TruthRule(False)


def test_a_damaged_record_says_nothing(tmp_path: Path) -> None:
    root = numbered_alike(tmp_path / "mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("root = \n")
    assert resolve_truth(None, root, tmp_path / "run") == TruthRule(False)


def test_the_card_of_the_set_that_ships_says_it_of_its_held_out_files(tmp_path: Path) -> None:
    """A renamed copy says nothing: what is in it, nobody knows."""
    root = cards_folder() / "earth_season"
    rule = resolve_truth(None, root)
    assert "the card of earth_season" in rule.source
    found = find_truth(root, "test", "a2b", rule)
    assert found.pairs is not None
    assert len(found.pairs) == 54
    assert find_truth(root, "train", "a2b", rule).pairs is None  # these places alternate
    (tmp_path / "renamed").symlink_to(root)
    assert resolve_truth(None, tmp_path / "renamed").by_names
    copy = shutil.copytree(root, tmp_path / "my_season")
    assert resolve_truth(None, copy) == TruthRule(False)
