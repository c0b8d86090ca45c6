"""Tests of the values of reference beside those of a model."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from translate.data.split import ImageRef, Split
from translate.errors import DataError
from translate.evaluation import references
from translate.evaluation.evaluator import Evaluator, Subject
from translate.evaluation.extractors import Features
from translate.evaluation.image_sets import ImageSet, ReadOptions, read_image_set
from translate.evaluation.references import REFERENCES, ReferenceSources, compute_references

from .photos import no_extractor, random_image, smooth_images

SIDE = 32
GAIN, SHIFT = 0.5, 40
"""Pixels of domain b are GAIN · a + SHIFT, of 255."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder, pixels):
    """Write images (N, 3, H, W) uint8 and return their references."""
    folder.mkdir(parents=True)
    for i, each in enumerate(pixels):
        Image.fromarray(each.permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
    return tuple(ImageRef(folder / f"{i}.png") for i in range(len(pixels)))


def to_b(pixels):
    return (GAIN * pixels.double() + SHIFT).round().byte()


def image_set(pixels):
    return ImageSet(tuple(map(str, range(len(pixels)))), tuple(pixels))


class MeanColours:
    """Stands for an extractor: the mean of each channel. `seen` counts its images."""

    name, sha256, spec = "efficientnet-lite0", "0", SimpleNamespace(resize="none")

    def __init__(self):
        self.seen = 0

    def __call__(self, pixels):
        rows = [image.reshape(-1, image.shape[2]).mean(axis=0) / 255 for image in pixels]
        self.seen += len(rows)
        return Features(np.array(rows, np.float32), None)


@pytest.fixture
def case(tmp_path):
    """Four pairs to evaluate and nine training images of each domain; the model makes grey images."""
    root = tmp_path / "data"
    a, b = write(root / "trainA", smooth_images(9, SIDE, 4)), write(root / "trainB", to_b(smooth_images(9, SIDE, 4)))
    inputs = smooth_images(4, SIDE, 4, seed=1)
    truth = image_set(to_b(inputs))
    made = image_set(torch.full_like(inputs, 128))
    subject = Subject(made, truth, truth, inputs=image_set(inputs))
    options = ReadOptions(SIDE)
    return subject, ReferenceSources(root, lambda: Split(a, b, paired=False), options, options)


def computed(case, *rows, say=pytest.fail, extractor=no_extractor):
    subject, sources = case
    evaluator = Evaluator(subject, extractor)
    metrics = {row: evaluator.compute(row) for row in rows}
    return metrics, compute_references(evaluator, sources, say)


def test_copying_is_the_metric_of_the_inputs(case):
    subject, _ = case
    _, found = computed(case, "l1", "swd", "checkerboard")
    by_hand = np.mean(
        [np.abs(x.numpy().astype(int) - y.numpy()) for x, y in zip(subject.inputs, subject.real, strict=True)]
    )
    assert found["copying"]["l1"].value == pytest.approx(by_hand)
    same = Evaluator(replace(subject, outputs=subject.inputs), no_extractor)
    for row in ("swd", "checkerboard"):
        for key, estimate in same.compute(row).items():
            assert (found["copying"][key].value, found["copying"][key].error) == (estimate.value, estimate.error)


def test_a_colour_map_finds_a_linear_change_of_colours(case):
    """b = a / 2 + 40: the optimal transport between their Gaussians is that very map, but for rounding to whole levels."""
    _, found = computed(case, "l1")
    assert found["colour_map"]["l1"].value < 1 < 10 < found["copying"]["l1"].value


def test_real_images_are_those_of_training_as_many_as_outputs(case):
    subject, sources = case
    _, found = computed(case, "swd")
    refs = [sources.find_training().b[i] for i in (0, 2, 4, 6)]
    real = Evaluator(replace(subject, outputs=read_image_set(refs, sources.root, sources.read_outputs)), no_extractor)
    assert found["real"]["swd"].value == real.compute("swd")["swd"].value


def test_metrics_of_pairs_and_of_the_input_have_no_meaningless_reference(case):
    """Training images are no pairs of test images, and a copy has all edges of its input by definition."""
    _, found = computed(case, "l1", "edge_correlation", "swd")
    assert found["real"].keys() == {"swd", "swd_32", "swd_16"}
    assert found["copying"].keys() == {"l1", "swd", "swd_32", "swd_16"}
    assert computed(case, "edge_correlation")[1] == {}


def test_features_are_computed_once_and_values_kept(case, monkeypatch):
    """Four real images, outputs, inputs, mapped inputs, and training images; of another run real ones and outputs alone."""
    extractor = MeanColours()
    _, found = computed(case, "kid", "precision_recall", extractor=lambda: extractor)
    assert extractor.seen == 5 * 4
    for name in REFERENCES:
        monkeypatch.setitem(references.REFERENCES, name, replace(REFERENCES[name], make=None))
    again = MeanColours()
    assert computed(case, "kid", "precision_recall", extractor=lambda: again)[1] == found
    assert again.seen == 2 * 4


def test_another_training_image_or_input_is_another_value(case):
    subject, sources = case
    before = computed(case, "l1")[1]
    Image.fromarray(random_image(0, SIDE, SIDE)).save(sources.root / "trainB" / "0.png")
    after = computed(case, "l1")[1]
    assert after["copying"] == before["copying"]
    assert after["colour_map"] != before["colour_map"]
    other = replace(subject, inputs=image_set(255 - smooth_images(4, SIDE, 4, seed=1)))
    assert computed((other, sources), "l1")[1]["copying"] != before["copying"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"l1": 3}', '{"l1": [null, 1]}', '{"l1": ["x", 1]}', '{"l1": [1]}']
)
def test_a_damaged_cache_is_as_good_as_none(case, tmp_path, content):
    before = computed(case, "l1")[1]
    kept = list((tmp_path / "cache").rglob("*.json"))
    assert len(kept) == 2
    for path in kept:
        path.write_text(content)
    assert computed(case, "l1")[1] == before


def test_a_reference_that_cannot_be_made_is_left_out_with_the_reason(case):
    subject, sources = case

    def fail():
        raise DataError("no training images")

    said = []
    _, found = computed((subject, replace(sources, find_training=fail)), "swd", say=said.append)
    assert (found.keys(), said) == ({"copying"}, ["no reference colour map and real against real: no training images"])
    said = []
    _, found = computed((subject, replace(sources, is_training=True)), "swd", say=said.append)
    assert found.keys() == {"copying", "colour_map"}
    assert "training images themselves" in said[0]
    said = []
    _, found = computed((subject, replace(sources, read_outputs=ReadOptions(SIDE, 2))), "l1", say=said.append)
    assert (found, said) == ({}, ["no reference copying and colour map: the domains have 3 and 2 channels"])


def test_a_metric_that_a_reference_does_not_allow_is_left_out(case, tmp_path):
    """KID needs three images, and there are two of training."""
    subject, sources = case
    split = sources.find_training()
    said = []
    few = replace(sources, find_training=lambda: replace(split, b=split.b[:2]))
    _, found = computed((subject, few), "kid", "swd", say=said.append, extractor=MeanColours)
    assert "kid" not in found["real"]
    assert "swd" in found["real"]
    assert said == ["left out of the reference real against real: kid: 2 translated images; it needs at least 3"]


def test_grey_and_colour_are_copied_as_files_are_read():
    """Pillow's conversion to grey rounds the same sum in another arithmetic: one level."""
    colour = random_image(3)
    grey = np.asarray(Image.fromarray(colour).convert("L"))
    copied = references._with_channels(torch.from_numpy(colour).permute(2, 0, 1), 1)[0].numpy()
    assert np.abs(copied.astype(int) - grey).max() <= 1
    repeated = references._with_channels(torch.from_numpy(grey.copy())[None], 3)
    assert torch.equal(repeated, torch.from_numpy(grey.copy()).expand(3, -1, -1))


def test_a_mapped_input_stays_within_the_range(case):
    """Bright inputs that the map would brighten further are clipped, not wrapped."""
    subject, sources = case
    split = sources.find_training()
    bright = replace(subject, inputs=image_set(torch.full((4, 3, SIDE, SIDE), 250, dtype=torch.uint8)))
    mapped = references.map_colours(bright, sources, split.b, split.a)
    assert all(image.min() == 255 for image in mapped)
