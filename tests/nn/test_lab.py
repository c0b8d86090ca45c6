"""CIELAB: published values, kornia, and the gamut's edge against a scan by formulas of its own."""

import kornia
import numpy as np
import pytest
import torch

from translate.nn.lab import grey_image, image_to_lab, lab_to_image, lightness, shrinkage

from ..helpers import random_tensor

PRIMARIES = {  # Lindbloom's calculator, sRGB and D65, to its digits; the matrix has four
    (1, 1, 1): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (1, 0, 0): (53.24, 80.09, 67.20),
    (0, 1, 0): (87.73, -86.18, 83.18),
    (0, 0, 1): (32.30, 79.19, -107.86),
    (1, 1, 0): (97.14, -21.55, 94.48),
}


def image_of(*rgb):
    """Return an image of one pixel, (1, 3, 1, 1) in [-1, 1], of sRGB in [0, 1]."""
    return torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1) * 2 - 1


def random_colours(count=300, reach=110.0):
    """Return L* (1, 1, 1, N) and a* and b* (1, 2, 1, N): most of them are no colours of sRGB."""
    numbers = random_tensor(3, count, seed=1)
    return (50 + 49 * numbers[0]).view(1, 1, 1, -1), (reach * numbers[1:]).view(1, 2, 1, -1)


def linear_rgb(light, a, b):
    """Return linear sRGB of a colour, by the formulas of CIE 15 and the matrix of IEC 61966-2-1 inverted, with numpy."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    y = (light + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, (f - 16 / 116) * 108 / 841) * matrix.sum(1)[:, None]
    return np.linalg.solve(matrix, xyz)


@pytest.mark.parametrize(("rgb", "lab"), PRIMARIES.items())
def test_published_values(rgb, lab):
    light, ab = image_to_lab(image_of(*rgb))
    assert [light.item(), *ab.flatten().tolist()] == pytest.approx(lab, abs=0.05)
    assert lightness(image_of(*rgb)).item() == light.item()


def test_it_is_kornias_conversion():
    """Kornia rounds its matrix and its white apart: to a twentieth of a unit."""
    images = random_tensor(1, 3, 20, 20)
    found = torch.cat(image_to_lab(images), 1)
    torch.testing.assert_close(found, kornia.color.rgb_to_lab((images + 1) / 2), rtol=0, atol=0.05)


def test_there_and_back():
    images = random_tensor(2, 3, 16, 16)
    torch.testing.assert_close(lab_to_image(*image_to_lab(images)), images, rtol=0, atol=1e-12)


def test_half_precision_is_computed_in_single():
    """To the digits of bf16, of which the input has no more."""
    images = random_tensor(1, 3, 8, 8).bfloat16()
    light, ab = image_to_lab(images)
    assert light.dtype == torch.float32
    assert (lab_to_image(light.bfloat16(), ab.bfloat16()) - images).abs().max() < 0.1


def test_grey_images_have_the_lightness_and_no_colour():
    light = torch.linspace(0, 100, 101, dtype=torch.float64).view(1, 1, 1, -1)
    image = grey_image(light)
    assert torch.equal(image[:, :1].expand(-1, 3, -1, -1), image)
    found, ab = image_to_lab(image)
    torch.testing.assert_close(found, light, rtol=0, atol=1e-10)
    assert ab.abs().max() < 1e-10


def test_colours_of_the_gamut_stay():
    light, ab = image_to_lab(random_tensor(2, 3, 16, 16))
    assert torch.equal(shrinkage(light, ab), torch.ones_like(light))


def test_other_colours_are_shrunk_to_the_edge():
    """The factor is the largest at which linear red, green and blue are in [0, 1], by a scan in steps of 1/5000."""
    light, ab = random_colours()
    found = shrinkage(light, ab).flatten()
    steps = np.linspace(0, 1, 5001)
    for number, factor in enumerate(found.tolist()):
        a, b = ab[0, :, 0, number].tolist()
        rgb = linear_rgb(np.full_like(steps, light.flatten()[number]), a * steps, b * steps)
        edge = steps[((rgb > -1e-6) & (rgb < 1 + 1e-6)).all(0)].max()
        assert factor == pytest.approx(edge, abs=2 / 5000)
    assert 50 < (found < 1).sum() < 300


def test_shrinking_keeps_lightness_and_hue():
    """A thousandth of L* is less than a level of 16 bits, 100 / 65535."""
    light, ab = random_colours()
    image = lab_to_image(light, ab)
    assert image.abs().max() <= 1
    for number in range(ab.shape[3]):
        l_in, (a, b) = light.flatten()[number].item(), ab[0, :, 0, number].tolist()
        l_out, shrunk = (x.flatten() for x in image_to_lab(image[..., number : number + 1]))
        assert l_out.item() == pytest.approx(l_in, abs=1e-3)
        across = (a * shrunk[1] - b * shrunk[0]) / np.hypot(a, b)
        along = (a * shrunk[0] + b * shrunk[1]) / np.hypot(a, b)
        assert abs(across) < 0.02
        assert -0.02 < along <= np.hypot(a, b) + 0.02


def test_gradients_are_those_of_finite_differences():
    """At the edge of the gamut, too, which moves with L*, a* and b*."""
    light, ab = random_colours(12)
    is_shrunk = shrinkage(light, ab) < 1
    assert is_shrunk.any()
    assert not is_shrunk.all()
    assert torch.autograd.gradcheck(
        lab_to_image, (light.requires_grad_(), ab.requires_grad_()), eps=1e-4, atol=1e-5, rtol=1e-2
    )


@pytest.mark.parametrize("value", [0.0, 1e-4, 99.9999, 100.0])
def test_black_and_white_have_finite_gradients(value):
    light = torch.full((1, 1, 1, 1), value, requires_grad=True)
    ab = torch.full((1, 2, 1, 1), 60.0, requires_grad=True)
    image = lab_to_image(light, ab)
    image.sum().backward()
    assert lightness(image).item() == pytest.approx(value, abs=2e-3)
    assert light.grad.isfinite().all()
    assert ab.grad.isfinite().all()
