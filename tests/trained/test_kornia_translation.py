"""Translation as a transform of kornia: beside masks and boxes, by chance, and again with the same parameters."""

import torch
from kornia.augmentation import AugmentationSequential

import translate
from translate.trained.translator import Translator


def batch(size: int = 8, count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_images_are_translated_and_masks_and_boxes_stay(cyclegan: Translator) -> None:
    images = batch()
    masks = (images[:, :1] > 0.5).float()
    boxes = torch.tensor([[[1.0, 2, 5, 6]]] * len(images))
    transform = AugmentationSequential(
        translate.KorniaTranslation(cyclegan, p=1.0), data_keys=["input", "mask", "bbox_xyxy"]
    )
    given, same_masks, same_boxes = transform(images, masks, boxes)
    assert torch.allclose(given, (cyclegan(2 * images - 1) + 1) / 2)
    assert torch.equal(same_masks, masks)
    assert torch.equal(torch.as_tensor(same_boxes), boxes)


def test_chance_decides_for_each_image(cyclegan: Translator) -> None:
    torch.manual_seed(0)
    images = batch(count=12)
    given = translate.KorniaTranslation(cyclegan, p=0.5)(images)
    translated = (cyclegan(2 * images - 1) + 1) / 2
    kinds = [(torch.equal(x, y), torch.allclose(x, z)) for x, y, z in zip(given, images, translated, strict=True)]
    assert set(kinds) == {(True, False), (False, True)}


def test_a_model_with_noise_draws_and_repeats_with_the_same_parameters(pix2pix: Translator) -> None:
    transform = translate.KorniaTranslation(pix2pix, p=1.0)
    images = batch(64, 2)
    first = transform(images)
    assert torch.equal(transform(images, params=transform._params), first)
    assert not torch.equal(transform(images), first)


def test_what_it_gives_can_be_learned_from(cyclegan: Translator) -> None:
    weight = torch.ones(1, requires_grad=True)
    (translate.KorniaTranslation(cyclegan, p=1.0)(batch()) * weight).sum().backward()
    assert weight.grad is not None
