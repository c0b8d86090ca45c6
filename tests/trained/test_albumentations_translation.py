"""Translation as a transform of albumentations: beside masks and boxes, and the same for the same seed."""

import numpy as np
import pytest

import translate
from translate import errors
from translate.data.albumentations_recipe import _albumentations
from translate.trained.translator import Translator

albumentations = _albumentations()


def pixels(side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_images_are_translated_and_masks_and_boxes_stay(cyclegan: Translator) -> None:
    image, mask, boxes = pixels(), pixels()[:, :, 0], np.array([[1.0, 2, 5, 6]])
    compose = albumentations.Compose(
        [translate.AlbumentationsTranslation(cyclegan, p=1.0), albumentations.NoOp()],  # which takes boxes
        bbox_params=albumentations.BboxParams(format="pascal_voc", label_fields=["classes"]),
    )
    given = compose(image=image, mask=mask, bboxes=boxes, classes=[4])
    assert np.array_equal(given["image"], cyclegan(image))
    assert np.array_equal(given["mask"], mask)
    assert np.allclose(given["bboxes"], boxes)
    floats = compose(image=image.astype(np.float32) / 255, mask=mask, bboxes=boxes, classes=[4])["image"]
    assert floats.dtype == np.float32


def test_a_model_with_noise_draws_by_the_seed(pix2pix: Translator) -> None:
    def made(seed: int) -> np.ndarray:
        compose = albumentations.Compose([translate.AlbumentationsTranslation(pix2pix, p=1.0)], seed=seed)
        return compose(image=pixels(64))["image"]

    assert np.array_equal(made(1), made(1))
    assert not np.array_equal(made(1), made(2))


def test_chance_decides(cyclegan: Translator) -> None:
    compose = albumentations.Compose([translate.AlbumentationsTranslation(cyclegan, p=0.5)], seed=0)
    image = pixels()
    assert {np.array_equal(compose(image=image)["image"], image) for _ in range(12)} == {True, False}


def test_a_domain_that_the_model_has_not(cyclegan: Translator) -> None:
    with pytest.raises(errors.UsageError, match="c"):
        translate.AlbumentationsTranslation(cyclegan, to="c")
