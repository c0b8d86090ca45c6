"""Which images are translated: how many of each class, the same ones whatever else is asked, and under which names."""

from collections import Counter

import pytest

from translate.conversion.augment.draw import (
    PlannedTranslation,
    check_names,
    draw_order,
    plan_translations,
    translation_path,
)
from translate.conversion.augment.labelled_set import LabelledImage
from translate.conversion.output_paths import Item
from translate.errors import DataError


def labelled(**classes: int) -> list[LabelledImage]:
    return [
        LabelledImage(f"{name}/{number}.png", (name, str(number)), "", name)
        for name, count in classes.items()
        for number in range(count)
    ]


@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.31, 0.5, 1.0, 1.5, 2.31])
def test_each_class_has_its_share_to_within_one(ratio: float) -> None:
    images = labelled(cat=60, dog=30, cow=10)
    planned = plan_translations(images, ratio, 0, ["b"], "keep")
    assert len(planned) == round(ratio * 100)
    counts = Counter(item.input.split("/")[0] for item, _ in planned)
    for name, size in {"cat": 60, "dog": 30, "cow": 10}.items():
        assert abs(counts[name] - ratio * size) <= 1
    assert max(Counter(item.input for item, _ in planned).values(), default=0) <= -(-len(planned) // 100)


def test_a_larger_ratio_keeps_what_a_smaller_one_chose() -> None:
    images = labelled(cat=17, dog=5)
    before: set[PlannedTranslation] = set()
    for ratio in (0.1, 0.2, 0.5, 0.9, 1.0, 1.7, 3.0):
        now = set(plan_translations(images, ratio, 3, ["b", "a"], "keep"))
        assert before <= now
        before = now


def test_the_order_follows_from_the_paths_and_the_seed_alone() -> None:
    images = labelled(cat=20, dog=20)
    assert draw_order(images, 1) == draw_order(images[::-1], 1) != draw_order(images, 2)


def test_an_image_goes_to_its_domains_in_turn() -> None:
    planned = plan_translations(labelled(cat=6), 2.0, 0, ["x", "y"], "keep")
    of_image: dict[str, list[str]] = {}
    for item, to in planned:
        of_image.setdefault(item.input, []).append(to)
    assert all(sorted(targets) == ["x", "y"] for targets in of_image.values())
    assert Counter(to for item, to in planned if item.sample == 0) == {"x": 3, "y": 3}


@pytest.mark.parametrize(
    ("path", "sample", "fmt", "expected"),
    [
        ("cat/1.JPG", 0, "keep", "cat/1-translated.JPG"),
        ("1.jpg", 2, "keep", "1-translated-2.jpg"),
        ("1.bmp", 0, "keep", "1-translated.png"),
        ("1.jpg", 0, "webp", "1-translated.webp"),
        ("a.b.png", 0, "keep", "a.b-translated.png"),
    ],
)
def test_names(path: str, sample: int, fmt: str, expected: str) -> None:
    assert translation_path(path, sample, fmt) == expected


def test_names_that_are_taken() -> None:
    planned = [PlannedTranslation(Item("1.bmp", "1-translated.png", 0), "b")]
    check_names(planned, {"1.bmp": "1.bmp"})
    with pytest.raises(DataError, match=r"1-translated\.png"):
        check_names(planned, {"1-translated.png": "1-translated.png"})
    with pytest.raises(DataError, match=r"1.png: the translation of 1.bmp would have the same name"):
        check_names([PlannedTranslation(Item("1.png", "1-translated.png", 0), "b"), *planned], {})
