"""Inputs that are made of photos: by hand, with keys of their pixels, and photos that fit."""

import torch

from translate import keyed_random
from translate.evaluation.image_sets import ImageSet
from translate.evaluation.made_inputs import MADE_FORMAT, InputMaker


def maker_of(make_input, copy_input=lambda x: x, multiple=1):
    def key_of(pixels):
        return int(pixels.astype(int).sum())

    return InputMaker(make_input, copy_input, multiple, key_of, torch.device("cpu"), "a rule")


def photos_of(*sizes):
    """Return photos (3, H, W) of noise."""
    generator = torch.Generator().manual_seed(0)
    stored = tuple(torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes)
    return ImageSet(tuple(f"{i}.png" for i in range(len(sizes))), stored, formats="2 png")


def test_inputs_are_made_in_8_bits():
    """Half as bright: x/2 of [-1, 1] is 63.75 + v/2 of 255."""
    photos = photos_of((4, 6), (8, 2))
    inputs = maker_of(lambda photo, key: photo / 2).make(photos)
    for made, photo in zip(inputs.stored, photos.stored, strict=True):
        assert (made.float() - (63.75 + photo.float() / 2)).abs().max() <= 0.5
        assert made.dtype == torch.uint8
    assert (inputs.names, inputs.formats) == (photos.names, MADE_FORMAT)


def test_draws_depend_on_the_pixels_alone():
    """In another order and beside other photos, a photo gives the same input."""

    def make_input(photo, key):
        return photo + keyed_random.normal(key, "noise", *photo.shape[1:])

    photos, maker = photos_of((4, 4), (4, 4)), maker_of(make_input)
    alone = ImageSet(photos.names[1:], photos.stored[1:])
    assert torch.equal(maker.make(photos).stored[1], maker.make(alone).stored[0])
    assert not torch.equal(maker.make(photos).stored[0], photos.stored[0])


def test_photos_are_cropped_to_what_inputs_are_made_of():
    photos = photos_of((9, 14), (8, 4))
    fitted = maker_of(lambda photo, key: photo, multiple=4).fit(photos)
    assert [tuple(x.shape) for x in fitted.stored] == [(3, 8, 12), (3, 8, 4)]
    assert torch.equal(fitted.stored[0], photos.stored[0][:, :8, :12])


def test_copies_have_the_size_of_the_photos():
    """Every second pixel, and each of them twice."""
    maker = maker_of(
        lambda photo, key: photo[:, :, ::2, ::2],
        lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
        multiple=2,
    )
    photos = photos_of((5, 6))
    (copied,) = maker.make_copies(photos).stored
    assert torch.equal(copied, photos.stored[0][:, :4:2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2))
