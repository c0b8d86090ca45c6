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
def sampler(build):
    folder = build("dcgan", classes="cat,dog,owl", crop_size=32, load_size=32, noise_size=8)
    return ImageSampler(find.read_model(folder), CPU)


def test_labels_decide_the_class_of_each_image(sampler):
    made = sampler([4, 7], seed=1, labels=[2, 0])
    for row, (number, name) in enumerate([(4, "owl"), (7, "cat")]):
        torch.testing.assert_close(made[row], sampler([number], seed=1, of_class=name)[0], rtol=0, atol=1e-5)
    assert not torch.allclose(made[0], sampler([4], seed=1, of_class="dog")[0], atol=1e-5)


def test_a_truncation_reaches_a_method_that_takes_it_and_no_other(sampler, monkeypatch):
    with pytest.raises(UsageError, match=r"--truncation 0\.5: dcgan has no truncation"):
        sampler.check_truncation(0.5)
    sampler.check_truncation(None)
    monkeypatch.setattr(DCGAN, "truncation_range", (0.25, 2.0))
    for wrong in (0.1, 2.5, float("nan")):
        with pytest.raises(UsageError, match=r"--truncation .*: must be from 0\.25 to 2 for dcgan"):
            sampler.check_truncation(wrong)
    sampler.check_truncation(2.0)

    def sample(self, key, label, truncation=7.0):
        return torch.full((len(key), 3, 4, 4), truncation / 8)

    monkeypatch.setattr(DCGAN, "sample", sample)
    assert sampler([0, 1], truncation=0.5).eq(1 / 16).all()
    assert sampler([0, 1]).eq(7 / 8).all(), "the method's own default, where none is asked for"


def test_numbers_are_keys_of_the_seed(sampler, monkeypatch):
    seen = []
    monkeypatch.setattr(DCGAN, "sample", lambda self, key, label: seen.append(key) or torch.zeros(len(key), 3, 4, 4))
    sampler([5, 2], seed=9)
    assert torch.equal(seen[0], keyed_random.image_keys(9, torch.tensor([5, 2])))
