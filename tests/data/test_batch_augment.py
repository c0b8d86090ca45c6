"""Known values, invariances and guarantees of the augmentation on the device."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.v2 import functional as tv

from translate import keyed_random
from translate.data import batch_augment
from translate.data.batch_augment import BATCH_AUGMENTATIONS, Warp, apply_augmentations, parse_augmentations, resample
from translate.errors import UsageError

from ..helpers import NoHostTensors, numbered_keys

GEOMETRY = [row for row, augmentation in BATCH_AUGMENTATIONS.items() if augmentation.colour is None]
WARPS = [row for row, augmentation in BATCH_AUGMENTATIONS.items() if augmentation.warp is not None]
MOVES = [row for row, augmentation in BATCH_AUGMENTATIONS.items() if augmentation.move is not None]


def images(count: int = 2, channels: int = 3, height: int = 24, width: int = 24) -> Tensor:
    """Noise in [-1, 1)."""
    return keyed_random.uniform(numbered_keys(count, 5), "images", channels, height, width) * 2 - 1


def smooth(count: int = 2, channels: int = 3, height: int = 24, width: int = 24) -> Tensor:
    """Slow waves in [-1, 1], other ones in each image and channel."""
    phase = keyed_random.uniform(numbered_keys(count, 6), "smooth", 2, channels, 1, 1) * 2 * math.pi
    rows, columns = torch.arange(float(height))[:, None] / height, torch.arange(float(width)) / width
    return torch.sin(2 * rows + phase[:, 0]) * torch.cos(2 * columns + phase[:, 1])


def warp(*values: float) -> Warp:
    return Warp(*(tensor([value]) for value in values))


def close(x: Tensor, y: Tensor, within: float = 1e-4) -> None:
    torch.testing.assert_close(x, y, rtol=0, atol=within)


def inner(x: Tensor, border: int = 6) -> Tensor:
    return x[:, :, border:-border, border:-border]


# The table.


def test_a_row_does_exactly_one_thing():
    for augmentation in BATCH_AUGMENTATIONS.values():
        assert sum(part is not None for part in (augmentation.move, augmentation.warp, augmentation.colour)) == 1


def test_the_documentation_names_every_row():
    page = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text(encoding="utf-8")
    first_cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert "".join(first_cells).replace("`", "").replace(",", "").split() == list(BATCH_AUGMENTATIONS)


def test_flags_are_read_in_the_tables_order():
    assert parse_augmentations("color, flip,flip") == ("flip", "color")
    assert parse_augmentations("") == ()
    assert parse_augmentations(",".join(BATCH_AUGMENTATIONS)) == tuple(BATCH_AUGMENTATIONS)


@pytest.mark.parametrize(("text", "hint"), [("colour", "did you mean color"), ("flip,xyzzy", "possible: flip, vflip")])
def test_an_unknown_augmentation_is_named_with_its_neighbour(text, hint):
    with pytest.raises(UsageError, match=f"--augment {text}: .*'{text.split(',')[-1]}'; {hint}"):
        parse_augmentations(text)


def test_nothing_asked_is_nothing_done():
    x = images()
    assert apply_augmentations(x, numbered_keys(), "a", ()) is x


# What a result depends on.


@pytest.mark.parametrize("row", BATCH_AUGMENTATIONS)
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 24, 24), (3, 17, 30), (5, 30, 17)])
def test_shape_type_and_range_stay(row, channels, height, width):
    x = images(4, channels, height, width).sign()  # the extremes
    for dtype in (torch.float32, torch.float64, torch.float16):
        y = apply_augmentations(x.to(dtype), numbered_keys(4), "a", [row])
        assert (y.shape, y.dtype) == (x.shape, dtype)
        assert y.abs().max() <= 1


def test_half_precision_still_tells_pixels_apart():
    x = images(2, 3, 8, 900).half()
    for rows in (WARPS, ["color"]):
        assert torch.equal(
            apply_augmentations(x, numbered_keys(), "a", rows),
            apply_augmentations(x.float(), numbered_keys(), "a", rows).half(),
        )


@pytest.mark.parametrize("row", BATCH_AUGMENTATIONS)
def test_every_augmentation_changes_images_and_does_so_differently(row):
    x = images(1).expand(16, -1, -1, -1)
    y = apply_augmentations(x, numbered_keys(16), "a", [row])
    distinct = {image.numpy().tobytes() for image in y}
    assert len(distinct) == {"flip": 2, "vflip": 2, "turn": 4}.get(row, 16)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_an_image_in_a_batch_is_bit_for_bit_the_image_alone(channels):
    x, key = images(9, channels), numbered_keys(9)
    whole = apply_augmentations(x, key, "a", BATCH_AUGMENTATIONS)
    for part in (slice(0, 1), slice(8, 9), slice(2, 7)):
        assert torch.equal(apply_augmentations(x[part], key[part], "a", BATCH_AUGMENTATIONS), whole[part])
    order = tensor([3, 1, 4, 0, 2, 8, 7, 6, 5])
    assert torch.equal(apply_augmentations(x[order], key[order], "a", BATCH_AUGMENTATIONS), whole[order])


@pytest.mark.parametrize("row", BATCH_AUGMENTATIONS)
def test_the_same_name_draws_the_same_and_another_anew(row):
    x = images(16)
    assert torch.equal(
        apply_augmentations(x, numbered_keys(16), "pair", [row]),
        apply_augmentations(x, numbered_keys(16), "pair", [row]),
    )
    assert not torch.equal(
        apply_augmentations(x, numbered_keys(16), "a", [row]), apply_augmentations(x, numbered_keys(16), "b", [row])
    )
    assert not torch.equal(
        apply_augmentations(x, numbered_keys(16), "a", [row]),
        apply_augmentations(x, numbered_keys(16, seed=4), "a", [row]),
    )


def test_two_sides_of_a_pair_stay_a_pair():
    """A negative is still the negative after all geometry, and a grey image still each channel of the coloured one."""
    x = images(8)
    close(
        apply_augmentations(-x, numbered_keys(8), "pair", GEOMETRY),
        -apply_augmentations(x, numbered_keys(8), "pair", GEOMETRY),
        1e-6,
    )
    close(
        apply_augmentations(x[:, 1:2], numbered_keys(8), "pair", GEOMETRY),
        apply_augmentations(x, numbered_keys(8), "pair", GEOMETRY)[:, 1:2],
        1e-6,
    )


def test_a_row_draws_the_same_whatever_else_is_done():
    x, key = images(8), numbered_keys(8)
    assert torch.equal(
        apply_augmentations(apply_augmentations(x, key, "a", ["flip"]), key, "a", ["color"]),
        apply_augmentations(x, key, "a", ["flip", "color"]),
    )


def test_the_order_in_which_augmentations_are_asked_for_does_not_matter():
    x = images()
    assert torch.equal(
        apply_augmentations(x, numbered_keys(), "a", list(BATCH_AUGMENTATIONS)),
        apply_augmentations(x, numbered_keys(), "a", list(BATCH_AUGMENTATIONS)[::-1] * 2),
    )


def test_torchs_generator_is_left_alone():
    before = torch.get_rng_state()
    apply_augmentations(images(), numbered_keys(), "a", BATCH_AUGMENTATIONS)
    assert torch.equal(before, torch.get_rng_state())


# Moves.


def test_flips_by_hand():
    x = images(2)
    u = tensor([[0.49], [0.5]])
    assert torch.equal(batch_augment.flip(x, u), torch.stack([x[0].flip(2), x[1]]))
    assert torch.equal(batch_augment.vflip(x, u), torch.stack([x[0].flip(1), x[1]]))


def test_turns_by_hand():
    u = tensor([[0.1], [0.3], [0.6], [0.9]])
    x = images(4)
    assert torch.equal(batch_augment.turn(x, u), torch.stack([x[i].rot90(i, (1, 2)) for i in range(4)]))
    x = images(4, height=10, width=14)  # only 180° fit
    assert torch.equal(batch_augment.turn(x, u), torch.stack([x[0], x[1], x[2].flip(1, 2), x[3].flip(1, 2)]))


@pytest.mark.parametrize("row", MOVES)
def test_moves_are_as_likely_as_they_should_be(row):
    x = torch.arange(4.0).view(1, 1, 2, 2).expand(4000, -1, -1, -1) / 4
    counts = apply_augmentations(x, numbered_keys(4000), "a", [row]).flatten(1).unique(dim=0, return_counts=True)[1]
    each = 4000 / len(counts)
    assert len(counts) == (4 if row == "turn" else 2)
    assert ((counts - each).abs() < 0.1 * each).all()


# Warps.


def test_the_identity_warp_changes_nothing():
    for x in (images(1), images(1, height=17, width=30), images(1, height=300, width=8)):
        close(resample(x, warp(1, 0, 0, 0, 1, 0)), x)


@pytest.mark.parametrize("row", WARPS)
def test_the_neutral_draw_changes_nothing(row):
    augmentation = BATCH_AUGMENTATIONS[row]
    u = torch.full((2, augmentation.draws), 0.0 if row == "jitter" else 0.5)
    close(resample(images(), augmentation.warp(u, 24, 24)), images())


def test_a_shift_by_whole_pixels_mirrors_what_comes_in():
    """Three to the left and one down: column x shows column x + 3, row y row y − 1; edges are mirrored with their pixel."""
    x = images(1)
    expected = torch.cat([x[..., 3:], x[..., -3:].flip(3)], 3)
    expected = torch.cat([expected[:, :, :1], expected[:, :, :-1]], 2)
    close(resample(x, warp(1, 0, 3, 0, 1, -1)), expected)


def test_a_quarter_turn_is_exact_and_of_the_sign_that_the_formula_says():
    x = images(1)
    turned = resample(x, batch_augment._rotation(tensor([90.0])))
    close(turned, x.rot90(1, (2, 3)))  # the pixel at (x, y) comes from (−y, x): right becomes top


def test_oblong_images_turn_without_being_sheared():
    """A disc stays one when it is turned about its centre."""
    rows, columns = torch.arange(40.0)[:, None] - 19.5, torch.arange(60.0) - 29.5
    radius = (rows**2 + columns**2).sqrt()
    disc, near = torch.tanh((10 - radius) / 3)[None, None], radius < 18  # further out lies what is mirrored
    close(resample(disc, batch_augment._rotation(tensor([37.0])))[0, 0, near], disc[0, 0, near], 0.03)


def test_a_warp_and_its_inverse_cancel():
    x, u = smooth(), tensor([[0.9], [0.2]])
    there = BATCH_AUGMENTATIONS["rotate"].warp(u, 24, 24)
    back = BATCH_AUGMENTATIONS["rotate"].warp(1 - u, 24, 24)
    close(inner(resample(resample(x, there), back)), inner(x), 5e-3)
    for part, expected in zip(there.compose(back), (1, 0, 0, 0, 1, 0), strict=True):
        close(part, torch.full((2,), float(expected)), 1e-6)


def test_two_warps_at_once_are_one_after_the_other():
    x = smooth(2, 3, 64, 64)
    first, second = warp(0.9, 0.2, 1.5, -0.1, 1.05, -2), warp(1.1, -0.3, -1, 0.2, 0.95, 1)
    first, second = (Warp(*(part.expand(2) for part in w)) for w in (first, second))
    one_by_one = resample(resample(x, first), second)
    at_once = resample(x, first.compose(second))
    close(inner(at_once, 20), inner(one_by_one, 20), 5e-3)
    assert (inner(resample(x, second.compose(first)), 20) - inner(at_once, 20)).abs().max() > 0.02


def test_warps_are_composed_and_resampled_once():
    x, key = smooth(12, 1, 64, 64), numbered_keys(12)
    one_by_one = x
    for row in WARPS:
        one_by_one = apply_augmentations(one_by_one, key, "a", [row])
    close(inner(apply_augmentations(x, key, "a", WARPS), 20), inner(one_by_one, 20), 0.012)


def test_jitter_shows_a_window_inside_the_image():
    """Of a ramp from 0 to 1 it shows a rising part, at most 286/256 times as steep and nothing mirrored."""
    ramp = torch.linspace(0, 1, 64).expand(500, 1, 64, 64)
    y = apply_augmentations(ramp, numbered_keys(500), "a", ["jitter"])[:, 0, 20]
    assert y.diff(dim=1).min() > 0
    zoom = 57 / 63 / (y[:, 60] - y[:, 3])
    close(zoom.min(), tensor(1.0), 2e-3)
    close(zoom.max(), tensor(286 / 256), 2e-3)
    close(zoom.mean(), tensor((1 + 286 / 256) / 2), 4e-3)
    middle = y[:, 31:33].mean(1)
    assert abs(middle.mean() - 0.5) < 0.002
    assert middle.max() - middle.min() > 0.08


def test_warping_keeps_what_is_sharp():
    """Linear interpolation would take a sixth off the differences between neighbours in a photograph, and more off these."""
    coarse = images(4, 3, 24, 24)
    x = torch.nn.functional.interpolate(coarse, scale_factor=3, mode="bicubic").clamp(-1, 1)
    y = resample(x, Warp(*(part.expand(4) for part in batch_augment._rotation(tensor([11.0])))))
    before, after = (inner(part, 16).diff(dim=3).square().mean() for part in (x, y))
    assert 0.93 < after / before < 1.07


def test_rotations_are_uniform_to_both_sides():
    turn = BATCH_AUGMENTATIONS["rotate"].warp(keyed_random.uniform(numbered_keys(4000), "rotate", 1), 24, 24)
    degrees = torch.rad2deg(torch.atan2(turn.yx, turn.xx))
    close(turn.xx**2 + turn.yx**2, torch.ones(4000), 1e-5)
    assert degrees.abs().max() <= batch_augment.ROTATION
    assert abs(degrees.mean()) < 0.5
    assert abs(degrees.std() - batch_augment.ROTATION / 3**0.5) < 0.3


def test_affine_stays_within_its_limits():
    w = BATCH_AUGMENTATIONS["affine"].warp(keyed_random.uniform(numbered_keys(4000), "affine", 5), 40, 60)
    area = (w.xx * w.yy - w.xy * w.yx).sqrt()
    for values, most in (
        (area.log(), math.log(1.1)),
        (w.x0, 6),
        (w.y0, 4),
        (torch.atan2(w.yx, w.xx), math.radians(10)),
    ):
        assert 0.95 * most < values.abs().max() <= most * 1.0001
        assert abs(values.mean()) < 0.05 * most


@pytest.mark.parametrize("row", WARPS)
def test_no_corner_turns_black(row):
    x = torch.full((16, 3, 24, 24), 0.7)
    close(apply_augmentations(x, numbered_keys(16), "a", [row]), x)


# Colours.


def test_colours_are_those_of_torchvision():
    x, u = (images(4) + 1) / 2, keyed_random.uniform(numbered_keys(4), "u", 4)
    y = batch_augment.color(x, u)
    for image, draws, result in zip(x, u.tolist(), y, strict=True):
        brightness, contrast, saturation = (1 + (2 * draw - 1) * 0.2 for draw in draws[:3])
        image = tv.adjust_brightness(image, brightness)
        image = tv.adjust_contrast(image, contrast)
        image = tv.adjust_saturation(image, saturation)
        close(tv.adjust_hue(image, (2 * draws[3] - 1) * 0.05), result, 2e-3)  # torchvision's grey has other digits


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_neutral_draw_changes_no_colour(channels):
    x = (images(2, channels) + 1) / 2
    close(batch_augment.color(x, torch.full((2, 4), 0.5)), x, 1e-5)


def test_other_channels_get_brightness_and_contrast_by_hand():
    """(0, 0.2) and (0.4, 0.6): brighter by 1.1 about 0, then 0.9 of the contrast about the mean 0.33."""
    x = tensor([[0.0, 0.2], [0.4, 0.6]]).view(1, 2, 1, 2)
    y = batch_augment.color(x, tensor([[0.75, 0.25, 0.9, 0.9]]))
    close(y, tensor([[0.033, 0.231], [0.429, 0.627]]).view(1, 2, 1, 2), 1e-6)


def test_grey_stays_grey():
    x = images(4, 1).expand(-1, 3, -1, -1)
    y = apply_augmentations(x, numbered_keys(4), "a", ["color"])
    close(y[:, 0], y[:, 1], 1e-5)
    close(y[:, 1], y[:, 2], 1e-5)


# Devices.


def test_it_runs_without_memory():
    x, key = torch.empty(2, 3, 32, 32, device="meta"), torch.empty(2, dtype=torch.int64, device="meta")
    y = apply_augmentations(x, key, "a", BATCH_AUGMENTATIONS)
    assert (y.device.type, y.shape) == ("meta", x.shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_host_waits_for_nothing_on_a_gpu(channels):
    """On pretended CUDA tensors, which need no GPU."""
    with FakeTensorMode():
        x = torch.empty(2, channels, 32, 32, device="cuda")
        key = torch.empty(2, dtype=torch.int64, device="cuda")
        with NoHostTensors():
            y = apply_augmentations(x, key, "a", BATCH_AUGMENTATIONS)
            assert (y.device.type, y.shape) == ("cuda", x.shape)


@pytest.mark.gpu
def test_a_gpu_gives_the_cpus_values_without_waiting():
    x, key = smooth(8, 3, 64, 48), numbered_keys(8)
    cuda = x.cuda(), key.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        y = apply_augmentations(*cuda, "a", BATCH_AUGMENTATIONS)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    close(y.cpu(), apply_augmentations(x, key, "a", BATCH_AUGMENTATIONS), 1e-3)
