"""Image numbers of a run: epochs, partners and unpaired draws."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, chisquare

from translate.data.sampler import Sampler
from translate.data.split import ImageRef, Split

from ..helpers import unopened_split

# Sampling.


@pytest.mark.parametrize(("a", "b"), [(7, 7), (3, 7), (7, 3)])
def test_permute_both_shows_every_image_of_both_domains(a, b):
    sampler = Sampler(Split((ImageRef(None),) * a, (ImageRef(None),) * b, False), 0, "permute-both")
    for epoch in range(4):
        drawn = [sampler(n) for n in range(7 * epoch, 7 * epoch + 7)]
        for side, count in enumerate((a, b)):
            counts = np.bincount([pair[side] for pair in drawn], minlength=count)
            assert counts.min() >= 7 // count
            assert counts.max() <= -(-7 // count)
    partners = {tuple(sampler(n) for n in range(7 * e, 7 * e + 7)) for e in range(4)}
    assert len(partners) == 4
    assert any(x != y for x, y in (sampler(n) for n in range(28)))


def test_permute_both_leaves_a_as_it_is_and_partners_together():
    split = Split((ImageRef(None),) * 5, (ImageRef(None),) * 5, False)
    numbers = torch.arange(40)
    assert torch.equal(Sampler(split, 1, "permute-both").indices(numbers)[0], Sampler(split, 1).indices(numbers)[0])
    pairs = Sampler(Split(split.a, split.b, True), 1, "permute-both").indices(numbers)
    assert torch.equal(*pairs)


# The order.


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_has_every_image_of_a_once(epoch, paired):
    sampler = Sampler(unopened_split(9, 9 if paired else 4, paired), seed=0)
    assert sorted(sampler(n)[0] for n in range(9 * epoch, 9 * epoch + 9)) == list(range(9))


def test_a_smaller_domain_a_goes_round_within_the_epoch():
    sampler = Sampler(unopened_split(3, 8), seed=0)
    counts = np.bincount([sampler(n)[0] for n in range(8, 16)])
    assert sorted(counts) == [2, 3, 3]


def test_partners_stay_together():
    sampler = Sampler(unopened_split(6, 6, paired=True), seed=0)
    assert all(a == b for a, b in map(sampler, range(30)))


def test_epochs_and_seeds_have_their_own_order():
    orders = {
        tuple(Sampler(unopened_split(9, 9), seed)(n)[0] for n in range(9 * e, 9 * e + 9))
        for seed in (0, 1)
        for e in (0, 1)
    }
    assert len(orders) == 4


def test_unpaired_b_is_uniform_and_says_nothing_of_a():
    sampler = Sampler(unopened_split(3, 4), seed=0)
    table = np.zeros((3, 4))
    for n in range(4 * 600):
        table[sampler(n)] += 1
    assert chisquare(table.sum(0)).pvalue > 1e-3
    assert chi2_contingency(table).pvalue > 1e-3


def test_the_order_of_asking_does_not_matter():
    forwards, backwards = Sampler(unopened_split(5, 7), seed=3), Sampler(unopened_split(5, 7), seed=3)
    assert [forwards(n) for n in range(40)] == [backwards(n) for n in reversed(range(40))][::-1]


def test_without_b_the_order_is_that_of_a():
    sampler = Sampler(unopened_split(5, 0), seed=0)
    assert sorted(sampler(n)[0] for n in range(5)) == list(range(5))
