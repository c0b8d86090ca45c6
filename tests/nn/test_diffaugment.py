"""Values by hand, invariances and gradients of the differentiable augmentation."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from translate import keyed_random
from translate.nn import diffaugment as module
from translate.nn.diffaugment import DIFFAUGMENT, diffaugment, find_policy, parse_policy

from ..helpers import NoHostTensors, numbered_keys

ALL = "color,translation,cutout"
GEOMETRY = "translation,cutout"


def images(count: int = 2, channels: int = 3, height: int = 16, width: int = 12, dtype=torch.float32) -> Tensor:
    """Noise in [-1, 1) that is never 0, so that what is blanked can be seen."""
    return (keyed_random.uniform(numbered_keys(count), "images", channels, height, width).to(dtype) * 2 - 1) + 2.0**-26


@pytest.fixture
def drawn(monkeypatch):
    """Makes every draw of an image the given numbers."""

    def give(*values: float) -> None:
        def uniform(key: Tensor, name: str, *shape: int) -> Tensor:
            return tensor(values).view(1, *shape).expand(len(key), *shape)

        monkeypatch.setattr(module, "keyed_random", SimpleNamespace(uniform=uniform))

    return give


# The policy.


def test_a_policy_is_read_in_the_tables_order_whatever_its_own():
    assert parse_policy("cutout, color") == parse_policy(["cutout", "color", "cutout"]) == ("color", "cutout")
    assert parse_policy("") == parse_policy(()) == ()
    assert tuple(DIFFAUGMENT) == parse_policy(ALL)


def test_an_unknown_row_is_named_with_what_there_is():
    with pytest.raises(ValueError, match=r"colour.*color, translation, cutout"):
        parse_policy("colour,cutout")
    assert find_policy("cutout,colour") is None
    assert find_policy("cutout") == ("cutout",)


def test_no_policy_is_no_change():
    x = images()
    assert diffaugment(x, numbered_keys(), "") is x


# Values by hand.


@pytest.mark.parametrize("row", DIFFAUGMENT)
def test_the_middle_draw_changes_no_colour_and_moves_nothing(row, drawn):
    drawn(*[0.5] * (3 if row == "color" else 2))
    x = images(dtype=torch.float64)
    y = diffaugment(x, numbered_keys(), row)
    if row == "cutout":  # 16×12: 8 rows from 4 on and 6 columns from 3 on
        x = x.clone()
        x[:, :, 4:12, 3:9] = 0
    torch.testing.assert_close(y, x, rtol=0, atol=1e-12)


def test_colour_by_hand(drawn):
    """Two pixels, (0, 0.3, 0.6) and (0.6, 0.6, 0.6); brightness + 0.25, saturation × ½, contrast × 1.25."""
    drawn(0.75, 0.25, 0.75)
    x = tensor([[0.0, 0.6], [0.3, 0.6], [0.6, 0.6]], dtype=torch.float64).view(1, 3, 1, 2)
    # brightened: (0.25, 0.55, 0.85), (0.85, 0.85, 0.85); paler: (0.4, 0.55, 0.7), (0.85, 0.85, 0.85); their mean: 0.7
    expected = [[0.325, 0.8875], [0.5125, 0.8875], [0.7, 0.8875]]
    y = diffaugment(x, numbered_keys(1), "color")
    torch.testing.assert_close(y[0, :, 0], tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_one_channel_has_no_saturation(drawn):
    x, outcomes = images(channels=1), []
    for saturation in (0.0, 0.9):
        drawn(0.6, saturation, 0.5)
        outcomes.append(diffaugment(x, numbered_keys(), "color"))
    assert torch.equal(*outcomes)
    torch.testing.assert_close(outcomes[0], x + 0.1)


@pytest.mark.parametrize(("draw", "dy", "dx"), [(0.0, -2, -1), (0.999, 2, 1)])
def test_translation_moves_an_eighth_and_brings_in_grey(draw, dy, dx, drawn):
    """16 rows move by 2 and 8 columns by 1; the opposite side does not come back in."""
    drawn(draw, draw)
    x = images(height=16, width=8)
    y = diffaugment(x, numbered_keys(), "translation")
    expected = torch.zeros_like(x)
    rows, columns = slice(max(0, -dy), 16 - max(0, dy)), slice(max(0, -dx), 8 - max(0, dx))
    expected[:, :, rows, columns] = x.roll((-dy, -dx), (2, 3))[:, :, rows, columns]
    assert torch.equal(y, expected)
    assert (y == 0).sum() == 2 * 3 * (16 * 8 - 14 * 7)


@pytest.mark.parametrize("side", range(2, 12))
def test_cutout_covers_what_the_authors_indices_do(side, drawn):
    """They write 0 at clamp(0 … hole − 1 + offset − hole // 2, 0, side − 1) for an offset below side + 1 − hole mod 2."""
    hole = int(side * 0.5 + 0.5)
    count = side + (1 - hole % 2)
    for offset in range(count):
        drawn((offset + 0.5) / count, (offset + 0.5) / count)
        covered = torch.arange(hole).add(offset - hole // 2).clamp(0, side - 1)
        expected = torch.ones(side, side)
        expected[covered[:, None], covered] = 0
        assert torch.equal(diffaugment(torch.ones(1, 1, side, side), numbered_keys(1), "cutout")[0, 0], expected)


# Statistics.


def test_shifts_and_holes_are_uniform_and_colours_centred():
    count, key = 4000, numbered_keys(4000)
    ramp = torch.arange(1.0, 17).expand(count, 1, 16, 16)
    middle = diffaugment(ramp, key, "translation")[:, 0, 8, 8] - 9  # the shift along the width
    shares = torch.stack([(middle == shift).float().mean() for shift in range(-2, 3)])
    torch.testing.assert_close(shares, torch.full((5,), 0.2), rtol=0, atol=0.025)
    covered = (diffaugment(torch.ones(count, 1, 16, 16), key, "cutout") == 0).float().mean()
    one_side = sum(min(16, offset + 4) - max(0, offset - 4) for offset in range(17)) / 17 / 16
    assert abs(covered - one_side**2) < 0.01
    shift = diffaugment(torch.zeros(count, 1, 1, 1), key, "color").flatten()
    assert abs(shift.mean()) < 0.02
    assert shift.min() < -0.49
    assert 0.49 < shift.max() < 0.5


def test_the_two_directions_and_the_three_colours_are_drawn_apart():
    draws = torch.stack([keyed_random.uniform(numbered_keys(4000), f"d/{row}", 3) for row in DIFFAUGMENT], 1).flatten(1)
    correlation = torch.corrcoef(draws.T) - torch.eye(9)
    assert correlation.abs().max() < 0.06


# Keys and names decide a result.


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_an_image_in_a_batch_is_the_image_alone(channels):
    x, key = images(5, channels), numbered_keys(5)
    whole = diffaugment(x, key, ALL)
    assert whole.shape == x.shape
    for i in range(5):
        torch.testing.assert_close(diffaugment(x[i : i + 1], key[i : i + 1], ALL), whole[i : i + 1])
    order = tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(diffaugment(x[order], key[order], ALL), whole[order])


def test_another_key_or_name_draws_anew_and_the_same_the_same():
    x = images(8)
    whole = diffaugment(x, numbered_keys(8), ALL, "real")
    assert torch.equal(whole, diffaugment(x, numbered_keys(8), ALL, "real"))
    for other in (diffaugment(x, numbered_keys(8), ALL, "fake"), diffaugment(x, numbered_keys(8, seed=4), ALL, "real")):
        assert all(not torch.equal(one, another) for one, another in zip(whole, other, strict=True))


def test_a_row_draws_the_same_whatever_else_is_done():
    x = images()
    alone = diffaugment(x, numbered_keys(), "translation")
    torch.testing.assert_close(diffaugment(alone, numbered_keys(), "cutout"), diffaugment(x, numbered_keys(), GEOMETRY))


def test_torchs_generator_is_left_alone():
    before = torch.get_rng_state()
    diffaugment(images(), numbered_keys(), ALL)
    assert torch.equal(before, torch.get_rng_state())


def test_the_memory_format_changes_no_value():
    x = images()
    torch.testing.assert_close(
        diffaugment(x.to(memory_format=torch.channels_last), numbered_keys(), ALL), diffaugment(x, numbered_keys(), ALL)
    )


# The condition of a pair.


def test_both_sides_of_a_pair_are_moved_and_cut_together():
    a = images(8)
    y = diffaugment(torch.cat([a, a], 1), numbered_keys(8), GEOMETRY, condition_channels=3)
    assert torch.equal(y[:, :3], y[:, 3:])


def test_only_the_judged_side_changes_its_colours():
    a, b = images(8), images(8).flip(3)
    pair = torch.cat([a, b], 1)
    y = diffaugment(pair, numbered_keys(8), ALL, condition_channels=3)
    assert torch.equal(y[:, :3], diffaugment(a, numbered_keys(8), GEOMETRY))
    torch.testing.assert_close(y[:, 3:], diffaugment(b, numbered_keys(8), ALL))
    assert not torch.equal(y[:, 3:], diffaugment(b, numbered_keys(8), GEOMETRY))


# Gradients.


@pytest.mark.parametrize("policy", [*DIFFAUGMENT, ALL])
def test_gradients_are_right_once_and_twice(policy):
    x = images(2, 4, 6, 5, torch.float64).requires_grad_()

    def augmented(x: Tensor) -> Tensor:
        return diffaugment(x, numbered_keys(), policy, condition_channels=1)

    assert torch.autograd.gradcheck(augmented, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: augmented(x).pow(3), x, fast_mode=True)


def test_pixels_that_stay_get_the_gradient_and_the_others_none():
    x = images().requires_grad_()
    y = diffaugment(x, numbered_keys(), GEOMETRY)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert set(slope.unique().tolist()) == {0.0, 1.0}
    assert slope.sum() == (y != 0).sum()
    assert slope.sum() < x.numel()


# Precision, compilers, devices.


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_once_and_keeps_its_type(dtype):
    x = images().to(dtype)
    y = diffaugment(x, numbered_keys(), ALL)
    assert y.dtype == dtype
    assert torch.equal(y, diffaugment(x.float(), numbered_keys(), ALL).to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    x = images()
    with torch.autocast("cpu", dtype=dtype):
        y = diffaugment(x, numbered_keys(), ALL)
    assert y.dtype == torch.float32
    assert torch.equal(y, diffaugment(x, numbered_keys(), ALL))


def test_it_runs_without_memory():
    x, key = torch.empty(2, 6, 32, 32, device="meta"), torch.empty(2, dtype=torch.int64, device="meta")
    y = diffaugment(x, key, ALL, condition_channels=3)
    assert (y.device.type, y.shape) == ("meta", x.shape)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo looks at it itself
def test_compiled_as_one_graph_it_gives_the_same_values_and_gradients():
    """aot_eager traces forward and backward as a compiler does, and then runs the same kernels."""
    keyed_random.compile_names_as_constants()

    def loss(x: Tensor) -> Tensor:
        return diffaugment(x, numbered_keys(), ALL, condition_channels=1).square().sum()

    x, z = images().requires_grad_(), images().requires_grad_()
    plain, traced = loss(x), torch.compile(loss, backend="aot_eager", fullgraph=True)(z)
    torch.testing.assert_close(plain, traced)
    plain.backward()
    traced.backward()
    torch.testing.assert_close(x.grad, z.grad)


def test_the_host_waits_for_nothing_on_a_gpu():
    """On pretended CUDA tensors, which need no GPU."""
    with FakeTensorMode():
        x = torch.empty(2, 6, 32, 32, device="cuda", requires_grad=True)
        key = torch.empty(2, dtype=torch.int64, device="cuda")
        with NoHostTensors():
            y = diffaugment(x, key, ALL, condition_channels=3)
        assert (y.device.type, y.shape) == ("cuda", x.shape)


@pytest.mark.gpu
def test_a_gpu_gives_the_cpus_values_without_waiting():
    x, key = images(4, 6, 64, 48), numbered_keys(4)
    cuda = x.cuda(), key.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        y = diffaugment(*cuda, ALL, condition_channels=3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(y.cpu(), diffaugment(x, key, ALL, condition_channels=3), rtol=1e-5, atol=1e-5)
