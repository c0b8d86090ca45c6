"""Labels in batches: those of the images that are really shown, the same from every tier."""

import pytest
import torch
from PIL import Image

from translate.data import batch_augment, layouts, stream_dataset
from translate.data.in_memory import InMemorySource
from translate.data.loader import Loader, LoaderOptions, fixed_batch
from translate.data.loader_context import prefetch_to_device
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import Sampler
from translate.data.streaming import StreamingSource

from .helpers import CPU, TIERS, first_batches, make_context, same_batches

PREPROCESSING = Preprocessing(20, 16, True, (3, 3))
BAD = ("x/2", "z/2")
"""The last of x, in whose place an image of y is shown, and the last of all, in whose place that is an image of x."""


def grey(domain, number):
    return 80 * "xyz".index(domain) + 10 * number


def row(value):
    """Two attributes of an image, as the table has them."""
    return [float(value % 80 == 10), float(value > 100)]


@pytest.fixture(params=["domains", "attributes", "images"])
def split(request, tmp_path):
    """Three domains of three plain images, whose grey tells which is which; two files of them are no images."""
    rows = ["file,second,bright"]
    for domain in "xyz":
        for number in range(3):
            path = tmp_path / "train" / domain / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            value = grey(domain, number)
            Image.new("RGB", (24 + 4 * number, 30), (value,) * 3).save(path)
            rows.append(",".join([f"{domain}/{number}.png", *(f"{mark:g}" for mark in row(value))]))
    for name in BAD:
        (tmp_path / "train" / f"{name}.png").write_text("no image")
    if request.param == "attributes":
        (tmp_path / "attributes.csv").write_text("\n".join(rows))
    return layouts.find_split(tmp_path, "images" if request.param == "images" else "domains")


def loader(split, tier, workers=0, **options):
    options = LoaderOptions(batch_size=4, seed=0, tier=tier, workers=workers, **options)
    return Loader(split, PREPROCESSING, options, device=CPU, say=lambda line: None)


def label_shown(split, image):
    """What the grey of an image in [-1, 1] says."""
    value = round(float((image.mean() + 1) * 127.5))
    return row(value) if isinstance(split.labels[0], tuple) else value // 80


def check(split, batches):
    for batch in batches:
        kind = torch.float32 if isinstance(split.labels[0], tuple) else torch.int64
        assert batch["label"].dtype == kind
        assert batch["label"].tolist() == [label_shown(split, image) for image in batch["a"]]
    return True


def same(first, second):
    """Are batches equal, and do they hold images and labels and nothing else?"""
    return all(batch.keys() == {"a", "label"} for batch in first) and same_batches(first, second)


@pytest.mark.parametrize("tier", TIERS)
def test_the_label_is_that_of_the_image_that_is_shown(split, tier):
    batches = first_batches(loader(split, tier).batches(3), 9)
    assert check(split, batches)
    shown = sorted(round(float((x.mean() + 1) * 127.5)) for batch in batches for x in batch["a"])
    assert set(shown) == {grey(d, i) for d in "xyz" for i in range(3) if f"{d}/{i}" not in BAD}
    assert same(batches, first_batches(loader(split, "resident").batches(3), 9))


def test_every_way_to_a_device_gives_the_same(split):
    memory = InMemorySource(make_context(split, PREPROCESSING, 4), on_device=True)
    expected = first_batches(loader(split, "resident").batches(4), 9)
    assert same(first_batches(memory._gathered(4), 9), expected)
    assert same(first_batches(prefetch_to_device(memory.context, memory.crop_on_host(4)), 9), expected)
    assert same(
        first_batches(prefetch_to_device(memory.context, StreamingSource(memory.context)._stacked(4)), 9), expected
    )


@pytest.mark.parametrize("rule", ["resize_and_crop", "none"])
def test_workers_hand_labels_over_with_their_images(split, rule):
    images = stream_dataset.StreamDataset(split, Preprocessing(20, 16, True, (3, 3), rule), Sampler(split, 0))
    handed, skipped = stream_dataset._answer(images, list(range(9)))
    assert isinstance(handed, dict) == (rule == "resize_and_crop")
    rows = stream_dataset._unstacked(handed)
    shown = [label_shown(split, found["a"][None].float() / 127.5 - 1) for found in rows]
    assert [found["label"].tolist() for found in rows] == shown
    assert len(skipped) == 2


@pytest.mark.slow
def test_worker_processes_give_the_same(split, quick_workers):
    assert same(
        first_batches(loader(split, "stream", workers=2).batches(0), 9),
        first_batches(loader(split, "ram").batches(0), 9),
    )


def test_augmentations_leave_labels_alone(split, monkeypatch):
    monkeypatch.setattr(batch_augment, "apply_augmentations", lambda x, *_, **__: -x)
    plain, turned = (
        first_batches(loader(split, "ram", augmentations=chosen).batches(0), 2) for chosen in ((), ("jitter",))
    )
    assert all(
        torch.equal(x["label"], y["label"]) and torch.equal(x["a"], -y["a"]) for x, y in zip(plain, turned, strict=True)
    )


def test_a_fixed_batch_shows_every_domain_and_white_keeps_its_label(split):
    batch = fixed_batch(split, PREPROCESSING, 99, CPU, torch.float64)
    assert len(batch["a"]) == 9
    for place, (image, label) in enumerate(zip(batch["a"], batch["label"].tolist(), strict=True)):
        domain, number = "xyz"[place // 3], place % 3
        white = f"{domain}/{number}" in BAD
        assert bool((image == 1).all()) == white
        assert label == (row(grey(domain, number)) if isinstance(label, list) else place // 3)
    assert batch["label"].dtype == (torch.float32 if isinstance(label, list) else torch.int64)
    if not isinstance(label, list):
        assert fixed_batch(split, PREPROCESSING, 3, CPU, torch.float32)["label"].tolist() == [0, 1, 2]


def test_what_is_loaded_is_said_with_its_labels(split):
    said = []
    Loader(split, PREPROCESSING, LoaderOptions(batch_size=1, seed=0), device=CPU, say=said.append)
    assert said[0].startswith(f"data: 9 images ({', '.join(split.label_names)}), ")


def test_images_without_labels_have_none_in_their_batches(images_root):
    split = layouts.find_split(images_root, "images")
    for tier in TIERS:
        assert first_batches(loader(split, tier).batches(0), 1)[0].keys() == {"a"}
    assert fixed_batch(split, PREPROCESSING, 2, CPU, torch.float32).keys() == {"a"}
