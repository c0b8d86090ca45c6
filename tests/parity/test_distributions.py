"""What is random in a run has the reference's distributions, and its learning rate the reference's schedule.

Seeds are fixed, so nothing here passes or fails by chance; the levels say how surprising a result would have to be.
"""

import random
from collections import Counter
from functools import partial
from itertools import count, islice

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.data.sampler import Sampler
from translate.data.split import ImageRef, Split
from translate.methods import METHODS
from translate.methods.image_pool import ImagePool
from translate.training.schedule import Schedule

from ..helpers import unopened_split
from . import double

SURPRISING = 1e-4  # p of the tests of distributions
SIGMAS = 4

# The learning rate.

RATES = {
    "reference": {1: 2e-4, 100: 2e-4, 101: 1.980e-4, 150: 1.010e-4, 199: 3.96e-6, 200: 1.98e-6},
    "reference-2020": {1: 2e-4, 100: 1.980e-4, 101: 1.960e-4, 150: 9.90e-5, 199: 1.98e-6, 200: 0},
}
PER_EPOCH = 7


def rates(rule):
    """The rate of each epoch from 1 to 200, which is that of all its images."""
    plan = Schedule(PER_EPOCH, 100, 100, rule=rule)
    assert plan.planned == 200 * PER_EPOCH
    by_image = [2e-4 * plan.factor(n) for n in range(plan.planned)]
    assert all(by_image[n] == by_image[n - n % PER_EPOCH] for n in range(plan.planned))
    return by_image[::PER_EPOCH]


def test_rates_fall_after_each_epoch_unless_asked_otherwise():
    assert Schedule(PER_EPOCH, 100, 100) == Schedule(PER_EPOCH, 100, 100, rule="reference")


@pytest.mark.parametrize("rule", RATES)
def test_rates_are_those_of_the_table(rule):
    for epoch, rate in RATES[rule].items():
        assert rates(rule)[epoch - 1] == pytest.approx(rate, rel=1e-3, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("rule", RATES)
def test_rates_are_those_of_a_scheduler_stepped_before_or_after_the_epoch(rule):
    """Torch warns of the order of 2020, which is what it is known for."""
    optimizer = double.adam(nn.Linear(1, 1))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(double.lr_factor, epochs=100, decay_epochs=100))
    for rate in rates(rule):
        if rule == "reference-2020":
            scheduler.step()
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        optimizer.step()
        if rule == "reference":
            scheduler.step()


# The image pool. Every image is its own number.

POOL, QUERIES = 50, 12_000


def history(given):
    """For each image once the pool is full: its number, that of the image given for it, and the place of a swap."""
    places, swaps = list(range(POOL)), []
    for number, out in enumerate(given[POOL:], start=POOL):
        place = None if out == number else places.index(out)
        if place is not None:
            places[place] = number
        swaps.append((number, out, place))
    return swaps


@pytest.fixture(scope="module")
def given():
    numbers = torch.arange(QUERIES)
    out = ImagePool(POOL, 1, 1, 1, "pool")(numbers.double().view(-1, 1, 1, 1), numbers)
    return out.flatten().long().tolist()


@pytest.fixture(scope="module")
def of_ours(given):
    return history(given)


@pytest.fixture(scope="module")
def of_the_double():
    rng = random.Random(0)
    pool = double.Pool(POOL, ((rng.uniform(0, 1) > 0.5, rng.randint(0, POOL - 1)) for _ in count()))
    return history(pool.query(torch.arange(QUERIES)).tolist())


@pytest.mark.slow
def test_until_the_pool_is_full_images_are_returned_as_they_are(given):
    assert given[:POOL] == list(range(POOL))


@pytest.mark.slow
def test_half_of_the_images_are_returned_as_they_are(of_ours):
    returned = sum(out == number for number, out, _ in of_ours)
    assert abs(returned - len(of_ours) / 2) <= SIGMAS * (len(of_ours) / 4) ** 0.5


def test_swapped_places_are_uniform(of_ours):
    places = Counter(place for _, _, place in of_ours if place is not None)
    assert stats.chisquare([places[i] for i in range(POOL)]).pvalue > SURPRISING


def test_one_swap_says_nothing_of_the_next(of_ours):
    swapped = [place is not None for _, _, place in of_ours]
    table = stats.contingency.crosstab(swapped[:-1], swapped[1:]).count
    assert stats.chi2_contingency(table).pvalue > SURPRISING


def test_images_stay_in_the_pool_as_long_as_the_reference_s(of_ours, of_the_double):
    """Swapped in with p = ½ and out with ½ · 1/50 at each later image: a geometric distribution."""
    ages, expected = ([number - out for number, out, place in h if place is not None] for h in (of_ours, of_the_double))
    assert stats.ks_2samp(ages, expected).pvalue > SURPRISING
    assert np.mean(ages) == pytest.approx(2 * POOL, rel=SIGMAS / len(ages) ** 0.5)


# The order of the data.


@pytest.mark.parametrize(("a", "b"), [(7, 7), (7, 4), (4, 7), (3, 20)])
def test_each_epoch_goes_round_a(a, b):
    """Element i of an epoch of max(|A|, |B|) is image i mod |A|, in random order."""
    order, length = Sampler(unopened_split(a, b), seed=0), max(a, b)
    assert len(unopened_split(a, b)) == length
    epochs = [[order(e * length + i)[0] for i in range(length)] for e in range(5)]
    for epoch in epochs:
        assert Counter(epoch) == Counter(i % a for i in range(length))
    assert len(set(map(tuple, epochs))) == 5


@pytest.mark.slow
def test_every_image_of_a_is_as_likely_at_every_place():
    order = Sampler(unopened_split(6, 4), seed=0)
    table = np.zeros((6, 6))
    for n in range(6 * 2000):
        table[n % 6, order(n)[0]] += 1
    assert stats.chi2_contingency(table).pvalue > SURPRISING


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(5, 8), (8, 5)])
def test_unpaired_b_is_uniform_and_independent_of_a_and_of_the_b_before(a, b):
    of_a, of_b = zip(*map(Sampler(unopened_split(a, b), seed=0), range(8000)), strict=True)
    assert stats.chisquare(np.bincount(of_b, minlength=b)).pvalue > SURPRISING
    for left, right in ((of_a, of_b), (of_b[:-1], of_b[1:])):
        assert stats.chi2_contingency(stats.contingency.crosstab(left, right).count).pvalue > SURPRISING


def test_paired_epochs_have_every_pair_once():
    order = Sampler(unopened_split(9, 9, paired=True), seed=0)
    for epoch in range(3):
        drawn = [order(n) for n in range(9 * epoch, 9 * epoch + 9)]
        assert sorted(drawn) == [(i, i) for i in range(9)]


# Random crops and flips. The stored image tells its coordinates: red is the row, green the column.

LOAD, CROP, CUTS = 20, 16, 4000
OFFSETS = LOAD - CROP + 1


@pytest.fixture(scope="module")
def coordinates(tmp_path_factory):
    rows, columns = np.meshgrid(np.arange(LOAD), np.arange(LOAD), indexing="ij")
    path = tmp_path_factory.mktemp("coordinates") / "x.png"
    Image.fromarray(np.stack([10 * rows, 10 * columns, 0 * rows], axis=2).astype(np.uint8)).save(path)
    return path


def cuts(path, paired):
    """Top, left and whether it is flipped (N, 3) of the crops of a and of b."""
    recipe = Preprocessing(LOAD, CROP, True, (3, 3))
    loader = Loader(
        Split((ImageRef(path),), (ImageRef(path),), paired), recipe,
        LoaderOptions(batch_size=500, seed=0, tier="resident"), device=torch.device("cpu"), say=lambda line: None,
    )  # fmt: skip
    batches = [{side: x.clone() for side, x in batch.items()} for batch in islice(loader.batches(0), CUTS // 500)]
    return [cut_of(torch.cat([batch[side] for batch in batches])) for side in "ab"]


def cut_of(crops):
    rows, columns = ((crops[:, i] + 1) * 127.5 / 10 for i in (0, 1))
    top, first, last = (x.round().long() for x in (rows[:, 0, 0], columns[:, 0, 0], columns[:, 0, -1]))
    assert ((last - first).abs() == CROP - 1).all()
    return torch.stack([top, torch.minimum(first, last), (first > last).long()], 1).numpy()


@pytest.mark.parametrize("paired", [False, True])
def test_offsets_are_uniform_and_half_are_flipped(coordinates, paired):
    for drawn in cuts(coordinates, paired):
        assert (drawn.min(0) == 0).all()
        assert drawn.max(0).tolist() == [LOAD - CROP, LOAD - CROP, 1]
        cells = np.ravel_multi_index(drawn.T, (OFFSETS, OFFSETS, 2))
        assert stats.chisquare(np.bincount(cells, minlength=OFFSETS * OFFSETS * 2)).pvalue > SURPRISING
        assert abs(drawn[:, 2].sum() - CUTS / 2) <= SIGMAS * (CUTS / 4) ** 0.5


def test_unpaired_images_are_cut_and_flipped_independently(coordinates):
    """Of their partners in a batch, and of the images before."""
    a, b = cuts(coordinates, paired=False)
    for left, right in ((a, b), (a[:-1], a[1:]), (b[:-1], b[1:])):
        for i in range(3):
            for j in range(3):
                table = stats.contingency.crosstab(left[:, i], right[:, j]).count
                assert stats.chi2_contingency(table).pvalue > SURPRISING


def test_pairs_are_cut_and_flipped_alike(coordinates):
    a, b = cuts(coordinates, paired=True)
    assert (a == b).all()


# Initial weights.


@pytest.fixture(scope="module", params=["cyclegan", "pix2pix"])
def networks(request):
    """All networks of the default recipe but for their width, by name."""
    cls = METHODS[request.param]
    method = cls(cls.resolve_config(cls.Config(g_width=16, d_width=16)))
    return {name: net for name, net in method.named_children() if name[:2] in ("g", "g_", "d", "d_")}


def assert_normal(x, mean, std):
    x, n = x.double().flatten(), x.numel()
    assert abs(x.mean() - mean) <= SIGMAS * std / n**0.5
    assert abs(x.std() - std) <= SIGMAS * std / (2 * n) ** 0.5
    assert stats.kstest(x.numpy(), stats.norm(mean, std).cdf).pvalue > SURPRISING


def modules(net, kind):
    return [module for module in net.modules() if isinstance(module, kind)]


@pytest.mark.slow
def test_initial_weights_are_normal_with_deviation_0_02(networks):
    assert len(networks) in (2, 4)
    for net in networks.values():
        weights = [m.weight.detach() for m in modules(net, (nn.Conv2d, nn.ConvTranspose2d))]
        for weight in weights:
            assert_normal(weight, 0, 0.02)
        assert_normal(torch.cat([weight.flatten() for weight in weights]), 0, 0.02)


def test_initial_norm_scales_are_normal_around_one(networks):
    norms = [m for net in networks.values() for m in modules(net, nn.BatchNorm2d)]
    if norms:  # only pix2pix has any
        assert_normal(torch.cat([m.weight.detach() for m in norms]), 1, 0.02)
        assert all((m.running_mean == 0).all() and (m.running_var == 1).all() for m in norms)


def test_initial_biases_are_zero(networks):
    for net in networks.values():
        biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
        assert biases
        assert not any(bias.any() for bias in biases)


def test_initial_weights_of_networks_are_unrelated(networks):
    weights = [modules(net, nn.Conv2d)[0].weight.detach().flatten() for net in networks.values()]
    for i, x in enumerate(weights):
        for y in weights[:i]:
            n = min(len(x), len(y))
            assert abs(np.corrcoef(x[:n], y[:n])[0, 1]) <= SIGMAS / n**0.5
