"""References: images of a drawn again as b, two of one label at a time, the same from every tier."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions, fixed_batch
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import Sampler
from translate.data.split import ImageRef, Split

from .helpers import CPU, TIERS, first_batches, same_batches

PREPROCESSING = Preprocessing(20, 16, True, (3, 3))
LABELS = (0,) * 2 + (1,) * 6 + (2,) * 12


@pytest.fixture
def split(tmp_path):
    """Two images of x and four of y, whose grey tells which is which; the last of y is no image."""
    for domain, count in (("x", 2), ("y", 4)):
        for number in range(count):
            path = tmp_path / "train" / domain / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 30), (100 * "xy".index(domain) + 20 * number,) * 3).save(path)
    (tmp_path / "train" / "x" / "2.png").write_text("no image")
    return layouts.find_split(tmp_path, "domains").with_references()


def sampler_of(seed=0):
    return Sampler(Split((ImageRef(None),) * 20, (), False, LABELS, ("x", "y", "z")).with_references(), seed)


def test_labels_are_equally_frequent_and_so_are_the_images_of_each():
    """In a and in b, by chi-square tests of 6000 draws each, at a level of 1e-4."""
    for drawn in sampler_of().indices(torch.arange(6000)):
        counts = np.bincount(drawn, minlength=20)
        per_label = np.bincount(np.array(LABELS)[drawn], minlength=3)
        assert chisquare(per_label).pvalue > 1e-4
        for label in range(3):
            assert chisquare(counts[np.array(LABELS) == label]).pvalue > 1e-4


def test_two_neighbours_have_references_of_one_label_drawn_apart_from_each_other_and_from_a():
    a, b = (x.view(-1, 2) for x in sampler_of().indices(torch.arange(2000)))
    labels = torch.tensor(LABELS)
    assert torch.equal(labels[b[:, 0]], labels[b[:, 1]])
    assert 0.2 < (labels[a[:, 0]] == labels[a[:, 1]]).double().mean() < 0.47  # a third, by 5 standard deviations
    assert 0.2 < (labels[a[:, 0]] == labels[b[:, 0]]).double().mean() < 0.47
    assert (b[:, 0] == b[:, 1]).double().mean() < 0.5  # ½, 1/6 or 1/12 by the label: a quarter


def test_draws_are_a_function_of_seed_and_number():
    whole = sampler_of().indices(torch.arange(40))
    parts = [sampler_of().indices(torch.arange(first, first + 10)) for first in range(0, 40, 10)]
    for side in (0, 1):
        assert torch.equal(whole[side], torch.cat([part[side] for part in parts]))
    assert not torch.equal(whole[0], sampler_of(1).indices(torch.arange(40))[0])


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_shows_the_same_images_with_their_labels(split, tier):
    def batches(name):
        options = LoaderOptions(batch_size=4, seed=0, tier=name, workers=0)
        loader = Loader(split, PREPROCESSING, options, device=CPU, say=lambda line: None)
        return first_batches(loader.batches(4), 6)

    shown = batches(tier)
    for batch in shown:
        assert batch.keys() == {"a", "b", "label", "label_b"}
        for side, label in (("a", "label"), ("b", "label_b")):
            grey = ((batch[side].mean((1, 2, 3)) + 1) * 127.5).round()
            assert torch.equal((grey >= 100).long(), batch[label])
    assert same_batches(shown, batches("resident"))


def test_references_take_no_memory_of_their_own(split):
    lines = []
    options = LoaderOptions(batch_size=4, seed=0, tier="resident")
    loader = Loader(split, PREPROCESSING, options, device=CPU, say=lines.append)
    assert loader._source.stores["a"] is loader._source.stores["b"]
    assert loader.bytes_needed == 7 * 20 * 20 * 3
    assert any(line.startswith("data: 7 images (x, y), decoded once") for line in lines)


def test_the_sample_batch_has_them_too(split):
    batch = fixed_batch(split, PREPROCESSING, 4, CPU, torch.float32)
    assert torch.equal(batch["label"], batch["label_b"])
    assert torch.equal(batch["a"], batch["b"])
