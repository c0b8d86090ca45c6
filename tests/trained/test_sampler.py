"""The sampler of models from noise: classes by number, and truncations that a model takes or does not."""

import pytest
import torch

from translate import keyed_random
from translate.errors import UsageError
from translate.methods.dcgan import DCGAN
from translate.trained import find
from translate.trained.sampler import ImageSampler

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(build):
    return build("dcgan", classes="cat,dog,owl", crop_size=32, load_size=32, noise_size=8)


@pytest.fixture(scope="module")
def sampler(folder):
    return ImageSampler(find.read_model(folder), CPU)


def test_labels_decide_the_class_of_each_image(sampler):
    made = sampler([4, 7], seed=1, labels=[2, 0])
    for row, (number, name) in enumerate([(4, "owl"), (7, "cat")]):
        torch.testing.assert_close(made[row], sampler([number], seed=1, of_class=name)[0], rtol=0, atol=1e-5)
    assert not torch.allclose(made[0], sampler([4], seed=1, of_class="dog")[0], atol=1e-5)


def test_a_truncation_reaches_a_method_that_takes_it_and_no_other(folder, monkeypatch):
    def build(truncation=None):
        return ImageSampler(find.read_model(folder), CPU, truncation=truncation)

    with pytest.raises(UsageError, match=r"--truncation 0\.5: dcgan has no truncation"):
        build(0.5)
    monkeypatch.setattr(DCGAN, "truncation_range", (0.25, 2.0))
    for wrong in (0.1, 2.5, float("nan")):
        with pytest.raises(UsageError, match=r"--truncation .*: must be from 0\.25 to 2 for dcgan"):
            build(wrong)
    prepared = []
    monkeypatch.setattr(DCGAN, "prepare_sampling", lambda self, truncation: prepared.append(truncation))

    def sample(self, key, label, truncation=7.0):
        return torch.full((len(key), 3, 4, 4), truncation / 8)

    monkeypatch.setattr(DCGAN, "sample", sample)
    assert build(0.5)([0, 1]).eq(1 / 16).all()
    assert build()([0, 1]).eq(7 / 8).all(), "the method's own default, where none is asked for"
    assert prepared == [0.5, None]


def test_numbers_are_keys_of_the_seed(sampler, monkeypatch):
    seen = []
    monkeypatch.setattr(DCGAN, "sample", lambda self, key, label: seen.append(key) or torch.zeros(len(key), 3, 4, 4))
    sampler([5, 2], seed=9)
    assert torch.equal(seen[0], keyed_random.image_keys(9, torch.tensor([5, 2])))
