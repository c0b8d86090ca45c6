import pytest
import torch
from scipy.stats import binomtest, chisquare

from translate.methods.image_pool import ImagePool


def pool_of(size, channels=1, height=1, width=1, name="pool_a"):
    return ImagePool(size, channels, height, width, name)


def numbered(first, count):
    """Images (count, 1, 1, 1) that are told apart by their value."""
    return torch.arange(first, first + count, dtype=torch.float32).view(-1, 1, 1, 1)


def keys(first, count):
    return torch.arange(first, first + count)


def values(images):
    return images.flatten().tolist()


def run(pool, start, count):
    """What each of `count` images gives, one at a time; image n has value n and key n."""
    return [pool(numbered(n, 1), keys(n, 1)).item() for n in range(start, start + count)]


@pytest.mark.parametrize("size", [1, 3, 10])
def test_until_it_is_full_images_are_stored_and_returned(size):
    pool = pool_of(size)
    assert run(pool, 1, size) == list(range(1, size + 1))
    assert values(pool.images) == list(range(1, size + 1))


def test_a_full_pool_returns_the_new_image_or_one_whose_place_it_takes():
    pool = pool_of(4)
    run(pool, 0, 4)
    for n in range(4, 204):
        before = values(pool.images)
        (out,) = values(pool(numbered(n, 1), keys(n, 1)))
        after = values(pool.images)
        if out == n:
            assert after == before
        else:
            expected = [n if image == out else image for image in before]
            assert out in before
            assert after == expected


@pytest.mark.parametrize("size", [1, 4])
def test_nothing_is_lost_or_made_up(size):
    """What went in is what came out, except for the first images (given twice) and the last ones (still stored)."""
    pool = pool_of(size)
    out = run(pool, 0, 100)
    assert sorted(out + values(pool.images)) == sorted([*range(100), *range(size)])


def test_half_of_the_images_are_swapped_at_uniform_places():
    size, count = 5, 2000
    pool = pool_of(size)
    run(pool, 0, size)
    places = []
    for n in range(size, size + count):
        before = values(pool.images)
        (out,) = values(pool(numbered(n, 1), keys(n, 1)))
        if out != n:
            places.append(before.index(out))
    assert binomtest(len(places), count, 0.5).pvalue > 1e-3
    assert chisquare([places.count(i) for i in range(size)]).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_size_zero_gives_back_what_it_is_given(dtype):
    fakes = torch.randn(3, 2, 4, 4).to(dtype)
    assert torch.equal(pool_of(0, 2, 4, 4)(fakes, keys(0, 3)), fakes)


@pytest.mark.parametrize("sizes", [[12], [1] * 12, [5, 7], [2, 2, 8]])
def test_a_batch_is_its_images_in_turn(sizes):
    pool, single = pool_of(3), pool_of(3)
    out = [pool(f, k) for f, k in zip(numbered(0, 12).split(sizes), keys(0, 12).split(sizes), strict=True)]
    assert values(torch.cat(out)) == run(single, 0, 12)
    assert torch.equal(pool.images, single.images)


def test_its_state_dict_is_all_of_its_state():
    pool = pool_of(3)
    run(pool, 0, 7)
    saved = {k: v.clone() for k, v in pool.state_dict().items()}
    expected = run(pool, 7, 30)
    other = pool_of(3)
    other.load_state_dict(saved)
    assert run(other, 7, 30) == expected


def test_a_half_filled_pool_goes_on_filling():
    pool = pool_of(4)
    run(pool, 0, 2)
    other = pool_of(4)
    other.load_state_dict(pool.state_dict())
    assert run(other, 2, 2) == [2, 3]
    assert values(other.images) == [0, 1, 2, 3]


def test_two_pools_swap_apart():
    a, b = pool_of(2, name="pool_a"), pool_of(2, name="pool_b")
    assert run(a, 0, 60) != run(b, 0, 60)


def test_images_stay_whole():
    pool = pool_of(2, 3, 4, 5)
    fakes = torch.randn(40, 3, 4, 5)
    for image in pool(fakes, keys(0, 40)):
        assert any(torch.equal(image, fake) for fake in fakes)


def test_stored_images_do_not_follow_the_tensor_they_came_from():
    pool = pool_of(1)
    fake = numbered(5, 1)
    pool(fake, keys(0, 1))
    fake.fill_(9)
    assert values(pool.images) == [5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_images_come_back_in_the_type_they_were_given(dtype):
    assert pool_of(2)(numbered(0, 5).to(dtype), keys(0, 5)).dtype == dtype


def test_torch_s_generator_is_neither_asked_nor_moved():
    outs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        outs.append(run(pool_of(2), 0, 30))
        assert torch.equal(torch.get_rng_state(), before)
    assert outs[0] == outs[1]
