"""Where the edges of two domains lie: values derived by hand, and what colours do not change."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate.data.edge_layout import SAMPLE, edge_correlation, edge_strength, moved_edges, read_small
from translate.data.split import ImageRef
from translate.images import Reading


def square(left, top, side=8, size=65, colour=(1.0, 1.0, 1.0), ground=0.0):
    """A square on a ground; its edges lie between pixels."""
    image = torch.full((3, size, size), ground)
    image[:, top : top + side, left : left + side] = torch.tensor(colour)[:, None, None]
    return image


def test_the_strength_of_an_edge_is_the_length_of_the_gradient():
    """A ramp of 3 a column and 4 a row: 5 everywhere."""
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    ramp = 4 * rows + 3 * columns
    assert torch.equal(edge_strength(ramp[None]), torch.full((4, 5), 5.0))
    # channels that cancel each other in the mean are an edge as well: two of a ramp of 5 make √2 · 5
    assert torch.allclose(edge_strength(torch.stack([ramp, -ramp])), torch.full((4, 5), 50.0).sqrt())


def test_edges_that_lie_elsewhere_are_counted():
    """Squares in the middle of cells far apart: all edges are moved; of two images one moves: half of them."""
    here, there = square(18, 18, 2), square(42, 42, 2)
    assert moved_edges([here], [there]) == pytest.approx(1.0)
    assert moved_edges([here, here], [here, there]) == pytest.approx(0.5)
    assert moved_edges([here], [here]) == 0


def test_colours_move_no_edge():
    dark, pale = square(20, 20), square(20, 20, colour=(0.2, 0.9, 0.1), ground=0.7)
    assert moved_edges([dark], [pale]) == pytest.approx(0.0, abs=1e-6)
    assert edge_correlation([dark], [pale]) == pytest.approx(1.0, abs=1e-4)  # sums in float32
    assert edge_correlation([dark], [1 - dark]) == pytest.approx(1.0, abs=1e-4)


def test_edges_of_other_places_are_not_correlated():
    """Disjoint edges: the covariance is minus the product of the means."""
    here, there = square(5, 5), square(40, 40)
    first, second = edge_strength(here), edge_strength(there)
    expected = -(first.mean() * second.mean()) / (first.std(correction=0) * second.std(correction=0))
    assert edge_correlation([here, here], [there, here]) == pytest.approx(
        (expected.item() + 1) / 2, abs=1e-4
    )  # float32


def test_flat_images_tell_nothing():
    flat = torch.ones(3, 65, 65)
    assert moved_edges([flat], [square(5, 5)]) is None
    assert edge_correlation([flat], [square(5, 5)]) is None
    assert moved_edges([flat, square(5, 5)], [square(5, 5)]) == 0
    assert moved_edges([], []) is None
    assert edge_correlation([], []) is None


def test_a_sample_of_the_files_is_read_and_damaged_ones_are_left_out(tmp_path):
    refs = []
    for number in range(SAMPLE + 20):
        path = tmp_path / f"{number:03}.png"
        array = np.zeros((4, 8, 3), np.uint8)
        array[:, 4:] = number
        Image.fromarray(array).save(path)
        refs.append(ImageRef(path, "right"))
    refs[0].path.write_bytes(b"no image")
    found = read_small(refs, Reading(3))
    assert len(found) == SAMPLE - 1
    assert max(found) == SAMPLE + 19
    assert all(torch.equal(image, torch.full((3, 65, 65), float(number))) for number, image in found.items())
