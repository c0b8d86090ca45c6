"""PatchNCE: the loss by hand, the locations it samples, and the encoder features it compares."""

import math

import pytest
import torch
import torch.nn.functional as F

from translate import keyed_random
from translate.nn.init import normal_
from translate.nn.networks import find
from translate.nn.patchnce import (
    ProjectionHeads,
    encoder_features,
    gather_locations,
    l2_normalise,
    mirror_locations,
    nce_layers,
    patch_nce,
    sample_locations,
)

from ..helpers import contrast_locations, random_tensor


def test_the_loss_of_equal_vectors_is_the_logarithm_of_their_number():
    same = torch.ones(2, 7, 4, dtype=torch.float64) / 2
    assert patch_nce(same, same, 0.07).item() == pytest.approx(math.log(7), abs=1e-12)


def test_the_loss_of_vectors_at_right_angles_by_hand():
    """−log(e^(1/τ) / (e^(1/τ) + 2)) for three."""
    basis = torch.eye(3, dtype=torch.float64)[None]
    assert patch_nce(basis, basis, 0.5).item() == pytest.approx(math.log(1 + 2 * math.exp(-2)), abs=1e-12)
    wrong = basis.roll(1, 1)
    assert patch_nce(wrong, basis, 0.5).item() == pytest.approx(math.log(2 + math.exp(2)), abs=1e-12)


def test_negatives_are_of_the_same_image_and_the_pairs_place_among_them_counts_nothing():
    query, key = l2_normalise(random_tensor(3, 9, 5)), l2_normalise(random_tensor(3, 9, 5, seed=1))
    expected = sum(contrast_locations(q, k) for q, k in zip(query, key, strict=True)) / 3
    torch.testing.assert_close(patch_nce(query, key, 0.07), expected, rtol=0, atol=1e-12)


def test_the_keys_get_no_gradient():
    query, key = (
        l2_normalise(random_tensor(1, 4, 3)).requires_grad_(),
        l2_normalise(random_tensor(1, 4, 3, seed=1)).requires_grad_(),
    )
    patch_nce(query, key, 0.07).backward()
    assert key.grad is None
    assert query.grad.abs().max() > 0


def test_half_precision_around_it_changes_nothing():
    query, key = (l2_normalise(random_tensor(2, 50, 256, seed=n)).float() for n in (0, 1))
    exact = patch_nce(query, key, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(patch_nce(query, key, 0.07), exact)


def test_places_are_different_ones_uniform_and_each_image_s_own():
    key = keyed_random.image_keys(0, torch.arange(400))
    at = sample_locations(key, "a", [torch.empty(400, 1, 4, 5)], 8)[0]
    assert at.shape == (400, 8)
    assert all(len(set(row)) == 8 for row in at.tolist())
    counts = at.flatten().bincount(minlength=20)
    assert ((counts - 160).abs() < 5 * (400 * 0.4 * 0.6) ** 0.5).all()
    assert torch.equal(at[7:8], sample_locations(key[7:8], "a", [torch.empty(1, 1, 4, 5)], 8)[0])
    assert not torch.equal(at, sample_locations(key, "b", [torch.empty(400, 1, 4, 5)], 8)[0])
    assert at.float().std(0).min() > 1


def test_where_a_map_has_fewer_places_all_are_taken():
    at = sample_locations(torch.tensor([1, 2]), "a", [torch.empty(2, 1, 3, 4), torch.empty(2, 1, 2, 2)], 256)
    assert [sorted(row) for row in at[0].tolist()] == [list(range(12))] * 2
    assert at[1].shape == (2, 4)


def test_vectors_are_taken_from_their_places():
    x = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    at = torch.tensor([[7, 0], [19, 6]])
    expected = [[x[0, :, 1, 2], x[0, :, 0, 0]], [x[1, :, 3, 4], x[1, :, 1, 1]]]
    assert torch.equal(gather_locations(x, at), torch.stack([torch.stack(rows) for rows in expected]))


@pytest.mark.parametrize("width", [4, 5])
def test_mirrored_places_hold_what_the_mirrored_map_has(width):
    x = random_tensor(2, 3, 3, width)
    at = torch.arange(3 * width).expand(2, -1)
    assert torch.equal(gather_locations(x, mirror_locations(at, width)), gather_locations(x.flip(3), at))


def test_heads_give_vectors_of_length_one():
    heads = ProjectionHeads([3, 8]).double()
    out = heads([random_tensor(2, 5, 3), random_tensor(2, 7, 8)])
    assert [x.shape for x in out] == [(2, 5, 256), (2, 7, 256)]
    for x in out:
        torch.testing.assert_close(x.norm(dim=2), torch.ones_like(x[..., 0]), rtol=0, atol=1e-5)


def test_a_vector_of_zeros_has_a_gradient():
    x = torch.zeros(1, 2, 3, requires_grad=True)
    l2_normalise(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("antialias_9blocks", (0, 4, 8, 12, 16)),
        ("antialias_4blocks", (0, 4, 8, 12)),
        ("resnet_9blocks", (0, 4, 7, 10, 14)),
        ("resnet_3blocks", (0, 4, 7, 10)),
        ("resize_unet_3levels_2blocks", (0, 1, 5, 9, 12)),
        ("resize_unet", (0, 1, 5, 9, 13, 16, 20)),
        ("unet_32", ()),
    ],
)
def test_layers_that_are_tapped(name, expected):
    with torch.device("meta"):
        assert nce_layers(find(name)(3, 3, 4)) == expected


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("name", ["antialias_6blocks", "resnet_6blocks"])
def test_maps_are_what_the_layers_give(name, norm):
    """The padded image, convolutions before their norm and ReLU, sums of blocks; nothing written over afterwards."""
    net = normal_(find(name)(3, 3, 2, norm).double(), 0, gain=0.2)
    x = random_tensor(2, 3, 16, 16)
    outs = {}
    for place, layer in enumerate(net.model):
        layer.register_forward_hook(lambda layer, given, out, place=place: outs.__setitem__(place, out.clone()))
    net(x)
    found = encoder_features(net, x)
    assert torch.equal(found[0], F.pad(x, (3, 3, 3, 3), "reflect"))
    for place, at in zip(nce_layers(net), found, strict=True):
        torch.testing.assert_close(at, outs[place], rtol=0, atol=1e-12)
    assert (found[1] < 0).any() and (found[2] < 0).any()


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_maps_of_a_unet_are_those_that_its_translation_passes(norm):
    """The padded image, each convolution of stride 2 before its norm, and the first block's sum; in training, too."""
    net = normal_(find("resize_unet_3levels_2blocks")(3, 3, 4, norm).double(), 0, gain=0.2)
    x, layers, outs = random_tensor(2, 3, 16, 16), net.model[0], []
    for tapped in (layers.downs[0][0], *(down[1] for down in layers.downs), layers.bottom[0]):
        tapped.register_forward_hook(lambda layer, given, out: outs.append(out.clone()))
    net(x)
    expected = outs[:5]
    assert [tuple(y.shape[1:]) for y in expected] == [(3, 18, 18), (4, 8, 8), (8, 4, 4), (16, 2, 2), (16, 2, 2)]
    for found, wanted in zip(encoder_features(net, x), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("recomputes", [False, True])
def test_running_statistics_are_those_of_translations_alone(recomputes):
    net = find("resize_unet_3levels_2blocks")(3, 3, 4, "batch")
    net.gradient_checkpointing = recomputes
    x = random_tensor(2, 3, 16, 16).float()
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    features = encoder_features(net, x)
    sum(y.square().mean() for y in features).backward()
    assert before and all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    net(x)
    assert not any(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("name", ["antialias_6blocks", "resize_unet_2levels_5blocks"])
def test_maps_may_be_recomputed(name, norm):
    grads = []
    for recomputes in (False, True):
        net = normal_(find(name)(3, 3, 2, norm).double(), 0, gain=0.2)
        net.gradient_checkpointing = recomputes
        sum(x.square().mean() for x in encoder_features(net, random_tensor(1, 3, 16, 16))).backward()
        grads.append([p.grad for p in net.parameters() if p.grad is not None])
    assert len(grads[0]) == len(grads[1]) > 0
    assert all(torch.equal(left, right) for left, right in zip(*grads, strict=True))
