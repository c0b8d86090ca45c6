import hashlib
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from translate import keyed_random

SEEDS = [0, 1, -1, 2**63 - 1, -(2**63)]
DRAWS = {"bits": keyed_random.bits, "uniform": keyed_random.uniform, "normal": keyed_random.normal}
FLOATS = {name: DRAWS[name] for name in ("uniform", "normal")}


def some_keys(count, seed=0):
    return keyed_random.image_keys(keyed_random.derive_key(seed, "test"), torch.arange(count))


def splitmix64(state):
    """The generator of Steele, Lea and Flood in plain unsigned integers."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def test_mix_of_one_integer_is_the_first_number_of_splitmix64():
    assert keyed_random.derive_key(1234567) % 2**64 == 6457827717110365317  # the published test vector
    for seed in SEEDS:
        assert keyed_random.derive_key(seed) % 2**64 == next(splitmix64(seed % 2**64))


def test_the_bits_of_a_key_are_a_stream_of_splitmix64():
    key = 1234567
    name = int.from_bytes(hashlib.sha256(b"crop").digest()[:8], "little")
    start = (key ^ name) - 0x9E3779B97F4A7C15  # the stream starts from the scrambled key: its constant is added first
    stream = splitmix64(next(splitmix64(start % 2**64)))
    bits = keyed_random.bits(torch.tensor([key]), "crop", 2, 3).flatten().tolist()
    assert [b % 2**64 for b in bits] == [next(stream) for _ in range(6)]


def test_pinned_values():
    """A change of the hash would change the second half of every resumed run."""
    assert keyed_random.derive_key(0, "init") == -33257885686627778
    assert keyed_random.derive_key(7, "step", 3, 1) == 4133760821795584509
    keys = keyed_random.image_keys(keyed_random.derive_key(5), torch.arange(2))
    assert keys.tolist() == [-6408163035247186059, -1173810852980375007]
    assert keyed_random.bits(keys, "x", 2).tolist() == [
        [6792869212197958910, -4715445952577573880],
        [-4650555934051201649, -1864198860424617396],
    ]
    assert torch.allclose(
        keyed_random.normal(keys, "x", 2), torch.tensor([[0.4892, 0.9924], [0.0561, 0.5100]]), atol=1e-4
    )
    assert keyed_random.permutation(8, 0, "order", 0).tolist() == [5, 4, 3, 2, 7, 0, 1, 6]


def test_a_uniform_number_is_the_upper_24_bits():
    keys = some_keys(50)
    upper = [b % 2**64 >> 40 for b in keyed_random.bits(keys, "u", 4).flatten().tolist()]
    assert (keyed_random.uniform(keys, "u", 4).flatten() * 2**24).tolist() == upper


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_are_mix_of_the_seed_and_each_number(seed):
    numbers = [0, 1, 2, 12345, -1, 2**62, -(2**63), 2**63 - 1]
    assert keyed_random.image_keys(seed, torch.tensor(numbers)).tolist() == [
        keyed_random.derive_key(seed, n) for n in numbers
    ]


def test_mix_depends_on_order_value_and_number_of_parts():
    parts = [(1, 2), (2, 1), (1,), (1, 2, 0), (0, 1, 2), ("1", 2), (1, "2"), ("a", "b"), ("b", "a"), ("ab",), ()]
    assert len({keyed_random.derive_key(*p) for p in parts}) == len(parts)


@pytest.mark.parametrize("seed", SEEDS)
def test_mix_and_keys_are_int64(seed):
    assert all(-(2**63) <= keyed_random.derive_key(seed, n) < 2**63 for n in range(200))
    assert keyed_random.image_keys(seed, torch.arange(3)).dtype == torch.int64


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_an_image_draws_the_same_in_any_batch(draw):
    keys = some_keys(7)
    whole = draw(keys, "z", 3, 2)
    for sizes in ([1] * 7, [3, 4], [5, 2]):
        assert torch.equal(torch.cat([draw(k, "z", 3, 2) for k in keys.split(sizes)]), whole)
    assert torch.equal(draw(keys.flip(0), "z", 3, 2), whole.flip(0))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_keys_and_names_give_unlike_streams(draw):
    streams = torch.cat([draw(some_keys(5), name, 4) for name in ("a", "b", "a/radius")])
    assert len(streams.flatten().unique()) == streams.numel()


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_torch_seed_neither_decides_nor_is_moved(draw):
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), draw(some_keys(3), "z", 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(draw(some_keys(3), "z", 4), first)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
@pytest.mark.parametrize("device", ["cpu", "meta", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_shape_type_and_device(draw, shape, device):
    drawn = draw(torch.zeros(3, dtype=torch.int64, device=device), "z", *shape)
    assert drawn.shape == (3, *shape)
    assert drawn.dtype == (torch.int64 if draw is keyed_random.bits else torch.float32)
    assert drawn.device.type == device


@pytest.mark.gpu
def test_the_gpu_draws_what_the_cpu_draws():
    keys = some_keys(5)
    for name in ("bits", "uniform"):
        assert torch.equal(DRAWS[name](keys.cuda(), "z", 100).cpu(), DRAWS[name](keys, "z", 100))
    assert torch.allclose(
        keyed_random.normal(keys.cuda(), "z", 100).cpu(), keyed_random.normal(keys, "z", 100), atol=1e-5
    )


# Along the stream of one key and over many keys the numbers must look alike.
AXES = {"one key": (1, 40_000), "many keys": (40_000, 1)}


@pytest.mark.parametrize(("count", "length"), AXES.values(), ids=AXES)
def test_uniform_numbers_are_uniform(count, length):
    u = keyed_random.uniform(some_keys(count), "u", length).flatten()
    assert u.min() >= 0
    assert u.max() < 1
    assert torch.equal(u * 2**24, (u * 2**24).round())  # multiples of 2^-24
    error = 4 / (12 * len(u)) ** 0.5  # four standard errors of the mean, 1/12 being the variance
    assert abs(u.mean() - 1 / 2) < error
    assert abs(u.var() - 1 / 12) < error
    assert chisquare(u.histc(100, 0, 1).numpy()).pvalue > 1e-3
    assert chisquare(np.histogram2d(u[::2].numpy(), u[1::2].numpy(), 10)[0].ravel()).pvalue > 1e-3  # and neighbours


@pytest.mark.parametrize(("count", "length"), AXES.values(), ids=AXES)
def test_every_bit_is_set_half_of_the_time(count, length):
    b = keyed_random.bits(some_keys(count), "b", length).flatten()
    share = torch.stack([(b >> i & 1).float().mean() for i in range(64)])
    assert (share - 0.5).abs().max() < 4 * 0.5 / len(b) ** 0.5


@pytest.mark.parametrize(("count", "length"), AXES.values(), ids=AXES)
def test_normal_numbers_are_normal(count, length):
    z = keyed_random.normal(some_keys(count), "z", length).flatten().double()
    assert z.isfinite().all()
    n = len(z)
    moments = {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}  # power: (mean, variance) of z^power
    for power, (mean, variance) in moments.items():
        assert abs((z**power).mean() - mean) < 4 * (variance / n) ** 0.5
    cells = torch.special.ndtr(z).histc(100, 0, 1)  # its distribution function makes a normal number uniform
    assert chisquare(cells.numpy()).pvalue > 1e-3


def test_normal_is_finite_where_uniform_is_extreme(monkeypatch):
    for extreme in (0.0, 1 - 2**-24):
        monkeypatch.setattr(keyed_random, "uniform", lambda key, name, *shape, u=extreme: torch.full((1, *shape), u))
        assert keyed_random.normal(torch.zeros(1, dtype=torch.int64), "z", 2).isfinite().all()


@pytest.mark.parametrize("length", [1, 2, 7, 1000])
def test_permutation_holds_every_index_once(length):
    for epoch in range(3):
        assert keyed_random.permutation(length, 0, "order", epoch).sort().values.tolist() == list(range(length))


def test_permutations_differ_by_epoch_and_seed():
    drawn = {
        tuple(keyed_random.permutation(20, seed, "order", epoch).tolist()) for seed in (0, 1) for epoch in range(5)
    }
    assert len(drawn) == 10


def test_all_permutations_are_equally_likely():
    counts = dict.fromkeys(permutations(range(4)), 0)
    for epoch in range(2400):
        counts[tuple(keyed_random.permutation(4, 0, "order", epoch).tolist())] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-3
