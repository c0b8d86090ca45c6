"""Store of decoded images: layout in memory, and depths that are mixed."""

import pytest
import torch

from translate.data.image_store import ImageStore, common_depth, convert_depth, decode_all


def test_images_of_one_size_are_stacked():
    images = [torch.full((3, 4, 5), i, dtype=torch.uint8) for i in range(3)]
    store = ImageStore(list(images), False, torch.float32)
    assert store.uniform
    assert store.data.shape == (3, 3, 4, 5)
    assert all(torch.equal(store.image(i), image) for i, image in enumerate(images))


def test_images_of_many_sizes_lie_one_after_another():
    images = [torch.full((1, height, 7), height, dtype=torch.uint8) for height in (2, 5, 3)]
    decoded = list(images)
    store = ImageStore(decoded, False, torch.float32)
    assert not store.uniform
    assert store.data.shape == (7 * 10,)
    assert all(torch.equal(store.image(i), image) for i, image in enumerate(images))
    assert decoded == []  # nothing is held twice


@pytest.mark.parametrize(
    ("depths", "dtype", "expected"),
    [
        ([torch.uint8, torch.uint8], torch.float32, torch.uint8),
        ([torch.uint8, torch.uint16], torch.float32, torch.uint16),
        ([torch.uint16, torch.float32], torch.float32, torch.float32),
        ([torch.uint16, torch.float32], torch.float64, torch.float64),
        ([torch.float32, torch.float32], torch.float64, torch.float32),
    ],
)
def test_the_common_depth_holds_all_images(depths, dtype, expected):
    assert common_depth([torch.zeros(1, dtype=depth) for depth in depths], dtype) == expected


def test_a_deeper_image_keeps_its_fraction_of_the_range_unless_the_range_was_declared():
    image = torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)
    assert convert_depth(image, torch.uint16, False).tolist() == [[[0, 51 * 257, 65535]]]
    assert convert_depth(image, torch.uint16, True).tolist() == [[[0, 51, 255]]]
    torch.testing.assert_close(convert_depth(image, torch.float32, False), torch.tensor([[[0, 0.2, 1]]]))
    assert convert_depth(image, torch.float32, True).tolist() == [[[0, 51, 255]]]


def test_images_are_decoded_in_order():
    assert decode_all(20, lambda i: (torch.tensor(i),), print, "images") == [(torch.tensor(i),) for i in range(20)]
