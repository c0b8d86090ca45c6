"""Splits of labelled images: labels stay with their images."""

import hashlib
from pathlib import Path

import pytest

from translate.data import layouts
from translate.data.split import ImageRef, Split, split_by_domain
from translate.errors import DataError

from .helpers import write_empty_images

# Splits.


def split_of(*labels, names=("x", "y", "z")):
    """Images whose names are their numbers."""
    refs = tuple(ImageRef(Path(f"{i:03d}.png")) for i in range(len(labels)))
    return Split(refs, (), False, tuple(labels), names)


def in_step(part, whole):
    """Labels belong to the same images as before."""
    before = dict(zip(whole.a, whole.labels, strict=True))
    return part.label_names == whole.label_names and [before[ref] for ref in part.a] == list(part.labels)


LABELS = {
    "domains": tuple(i % 3 for i in range(40)),
    "attributes": tuple((float(i % 2), float(i % 5 == 0)) for i in range(40)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_stay_with_their_images(kind):
    whole = split_of(*LABELS[kind])
    training, held_out = whole.hold_out(0.2)
    assert (len(training.a), len(held_out.a)) == (32, 8)
    for part in (training, held_out, whole.subsample(7), whole.subsample(99)):
        assert in_step(part, whole)


def test_labels_go_with_the_images_that_they_are_of():
    swapped = split_of(0, 1).swapped()
    assert (swapped.a, len(swapped.b), swapped.labels, swapped.label_names) == ((), 2, (), ())


def test_no_domain_is_held_out_whole():
    for place in (0, 39):
        labels = [0] * 40
        labels[place] = 1
        with pytest.raises(DataError, match=r"--hold-out 0\.5: .* of y"):
            split_of(*labels).hold_out(0.5)
    assert len(split_of(*[-1, *[0] * 39]).hold_out(0.5)[0].a) == 20  # an unknown label is no domain


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ((10, 10), 4, [0, 5, 10, 15]),
        ((2, 4, 6), 6, [0, 2, 4, 6, 8, 10]),
        ((17, 1, 2), 4, [0, 8, 17, 18]),  # 5 apart, none of y would be seen
        ((18, 1, 1), 3, [0, 18, 19]),
        ((18, 1, 1), 2, [0, 9]),
        ((1, 18, 1), 20, list(range(20))),
    ],
)
def test_a_subset_shows_every_domain_if_the_count_allows_it(sizes, count, expected):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    assert [int(ref.path.stem) for ref in split_of(*labels).subsample(count).a] == expected


def test_a_fingerprint_covers_labels_and_is_as_ever_without(tmp_path):
    write_empty_images(tmp_path, "train/a/1.png", "train/b/2.png")
    found = layouts.find_split(tmp_path, "domains")
    plain = Split(found.a, (), False)
    assert plain.fingerprint() == hashlib.sha256(b"1.png 8\n2.png 8").hexdigest()[:16]
    others = [
        found,
        Split(found.a, (), False, (1, 0), found.label_names),
        Split(found.a, (), False, (0, 1), ("a", "c")),
        Split(found.a, (), False, ((0.0,), (1.0,)), ("a",)),
        plain,
    ]
    assert len({split.fingerprint() for split in others}) == len(others)


def test_attributes_divide_images_by_who_has_them():
    refs = tuple(ImageRef(Path(name)) for name in "pqrs")
    split = Split(
        refs, (), False, labels=((1.0, 0.0), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0)), label_names=("dark", "young")
    )
    divided = split_by_domain(split, "young")
    assert [ref.path.name for ref in divided.a] == ["p", "q"]
    assert [ref.path.name for ref in divided.b] == ["r", "s"]
    with pytest.raises(DataError, match="no images but those of domain 'dark'"):
        split_by_domain(Split(refs[:1], (), False, labels=((1.0,),), label_names=("dark",)), "dark")
