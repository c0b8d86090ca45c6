"""Tests of diversity: distances of several outputs of one input."""

import numpy as np
import pytest
import torch

from translate.errors import UsageError
from translate.evaluation import cases
from translate.evaluation.cases import EvaluationOptions
from translate.evaluation.diversity import mean_pairwise_distance
from translate.evaluation.evaluator import Evaluator, Subject
from translate.evaluation.extractors import EXTRACTORS, Features

from .photos import no_extractor, random_images


def test_it_is_the_mean_over_all_pairs():
    """The sides of two triangles: 3, 4, 5, and three points of which two are one."""
    corners = torch.tensor([[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], [[0.0, 6.0], [0.0, 6.0], [0.0, 0.0]]])
    assert mean_pairwise_distance(corners).tolist() == [4.0, 4.0]
    assert mean_pairwise_distance(corners[:, [2, 0, 1]]).tolist() == [4.0, 4.0]


def test_equal_outputs_have_none():
    assert mean_pairwise_distance(np.ones((2, 5, 7), np.float32)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(3, 1, 4), (3, 4)])
def test_one_output_has_no_diversity(shape):
    with pytest.raises(ValueError, match=r"expected \(N, S, D\) of at least two outputs"):
        mean_pairwise_distance(torch.zeros(shape))


class MeanColours:
    """Extractor whose only feature is the mean of the pixels."""

    name, sha256, spec = "efficientnet-lite0", "0" * 64, EXTRACTORS["efficientnet-lite0"]

    def __call__(self, pixels):
        return Features(np.array([[image.mean()] for image in pixels], np.float32), None)


def test_the_error_is_that_over_inputs_and_the_protocol_names_the_features():
    """Outputs of 0 and of twice the mean of the input: their distance is that mean."""
    inputs = random_images(1, 2, 3)
    shades = [float(pixels.double().mean()) for pixels in inputs]

    def translate_samples(x):
        level = ((x + 1) / 2).mean()
        return torch.stack([torch.full((3, 4, 4), -1.0), torch.full((3, 4, 4), float(2 * level - 1))])

    subject = Subject(inputs, inputs, inputs=inputs, translate_samples=translate_samples)
    done = Evaluator(subject, MeanColours)
    found = done.compute("diversity")["diversity"]
    assert found.value == pytest.approx(np.mean(shades), abs=0.5)  # of 8-bit rounding
    assert found.error == pytest.approx(np.std(shades) / 3**0.5, rel=0.2, abs=0.3)  # of a bootstrap of three inputs
    assert [row["diversity"] for row in done.per_image_rows()] == pytest.approx(shades, abs=0.5)
    settings = done.settings["diversity"]
    assert (settings["samples"], settings["extractor"], settings["sha256"]) == (2, "efficientnet-lite0", "0" * 64)


def test_folders_have_none():
    with pytest.raises(UsageError, match="diversity: needs a model and its inputs: translate evaluate MODEL ROOT"):
        Evaluator(Subject(random_images(1), random_images(2)), no_extractor).compute("diversity")


def test_outputs_are_the_samples_of_a_model(pix2pix):
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    outputs = cases._translate_samples(pix2pix, EvaluationOptions(samples=3, seed=5))(x)
    assert len(outputs) == 3
    assert torch.equal(outputs[2:], pix2pix(x, seed=5, sample=2))


def test_a_model_with_one_output_is_refused(cyclegan):
    with pytest.raises(
        UsageError, match="diversity: needs a model with several outputs for an input, but cyclegan"
    ) as error:
        cases._translate_samples(cyclegan, EvaluationOptions())(torch.zeros(1, 3, 64, 64))
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="--samples 1: must be at least 2"):
        EvaluationOptions(samples=1)
