"""Folders and files that the check of a data folder finds."""

import pytest

from translate.data import layouts

from .helpers import report_of, write_images, write_unpaired


@pytest.mark.parametrize(
    ("names", "found", "side_by_side"),
    [
        (["trainA/1.png", "trainB/2.png"], ["unpaired"], False),
        (["trainA/1.png", "trainB/1.jpg"], ["paired", "unpaired"], False),
        (["trainA/1.png", "trainA/2.png", "trainA/3.png", "trainB/1.png"], ["unpaired"], False),
        (["train/1.png", "test/2.png"], ["paired", "unpaired"], True),
        (["1.png", "sub/2.jpg"], ["images"], False),
        (["notes.txt"], [], False),
    ],
)
def test_layouts_are_those_that_training_takes(tmp_path, names, found, side_by_side):
    write_images(tmp_path, *(name for name in names if not name.endswith("txt")))
    report = report_of(tmp_path)
    assert (report["layouts"], report["side_by_side"]) == (found, side_by_side)
    for layout in found:
        assert len(layouts.find_split(tmp_path, layout)) > 0


def test_counts_by_split_and_domain(tmp_path):
    write_unpaired(tmp_path, 5, 2)
    write_images(tmp_path, "testA/x.png", "valB/y.png", "valB/z.png", "valA/w.png")
    splits = report_of(tmp_path)["splits"]
    counts = {split: {domain: facts["files"] for domain, facts in row.items()} for split, row in splits.items()}
    assert counts == {"train": {"a": 5, "b": 2}, "val": {"a": 1, "b": 2}, "test": {"a": 1, "b": 0}}


def test_limit_decodes_so_many_of_each_folder(tmp_path):
    facts = report_of(write_unpaired(tmp_path, 7, 3), limit=4)["splits"]["train"]
    assert [(facts[name]["files"], facts[name]["checked"]) for name in "ab"] == [(7, 4), (3, 3)]
