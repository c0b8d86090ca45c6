"""The choice of labelled images: as many of each class, by the seed alone, and no label of another image is left."""

from collections import Counter
from pathlib import Path

import pytest

from translate.data.labelled import UNKNOWN, divide_labelled
from translate.data.split import ImageRef, Split
from translate.errors import UsageError

NAMES = ("x", "y", "z")


def split_of(*counts):
    labels = tuple(label for label, count in enumerate(counts) for _ in range(count))
    refs = tuple(ImageRef(Path(f"{n}.png")) for n in range(len(labels)))
    return Split(refs, (), False, labels, NAMES[: len(counts)])


def test_each_class_gets_as_many_and_all_others_lose_their_labels():
    split = split_of(5, 6, 7)
    hidden, labelled = divide_labelled(split, 7, seed=0)
    assert Counter(labelled.labels) == {0: 3, 1: 2, 2: 2}
    assert Counter(hidden.labels) == {0: 3, 1: 2, 2: 2, UNKNOWN: 11}
    assert hidden.a == split.a
    shown = {ref: label for ref, label in zip(hidden.a, hidden.labels, strict=True) if label != UNKNOWN}
    assert shown == dict(zip(labelled.a, labelled.labels, strict=True))
    assert all(dict(zip(split.a, split.labels, strict=True))[ref] == label for ref, label in shown.items())


def test_the_seed_decides_which():
    split = split_of(20, 20)
    chosen = [divide_labelled(split, 6, seed)[1].a for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_all_are_labelled_by_default():
    split = split_of(2, 3)
    assert divide_labelled(split, None, 0) == (split, split)


def test_too_few_for_a_class_are_refused():
    with pytest.raises(UsageError, match=r"--labelled 2: the data has 3 classes, .* give at least 3"):
        divide_labelled(split_of(5, 5, 5), 2, 0)
    with pytest.raises(UsageError, match=r"--labelled 9: takes 3 images of y, which has 2; give at most 6"):
        divide_labelled(split_of(5, 2, 5), 9, 0)
