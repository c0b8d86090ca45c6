"""Label maps in batches: one-hot, of classes alone, and moved as their images are, in every tier."""

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.config import WHOLE_IMAGES
from translate.data import layouts
from translate.data.albumentations_recipe import load_recipe
from translate.data.instances import attach_instances
from translate.data.loader import fixed_batch, preparation_batches
from translate.data.preprocessing import Preprocessing
from translate.images import LabelFormat

from .helpers import CPU, RULES, TIERS, first_batches, make_loader, same_batches

COUNT = 5
LABELS = LabelFormat(COUNT, unknown=True, edges=True)
SHADES = torch.tensor([0, 50, 100, 150, 200, 250], dtype=torch.uint8)
"""Grey of the image b at each class, and at no class: b shows the classes of a."""


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    for folder in ("trainA", "trainB", "train_inst"):
        (root / folder).mkdir()
    for i, (height, width) in enumerate([(30, 40), (40, 30), (33, 33)]):
        stored = rng.integers(0, COUNT + 1, (height // 8 + 1, width // 8 + 1)).astype(np.uint8)
        stored = stored.repeat(8, 0).repeat(8, 1)[:height, :width]
        Image.fromarray(np.where(stored == COUNT, 255, stored).astype(np.uint8)).save(root / "trainA" / f"{i}.png")
        Image.fromarray(stored.astype(np.uint16) * 1000).save(root / "train_inst" / f"{i}.png")
        Image.fromarray(SHADES.numpy()[stored]).convert("RGB").save(root / "trainB" / f"{i}.png")
    return attach_instances(layouts.find_split(root, "paired"), root, "train")


def preprocessing(rule="crop", load_size=32, crop_size=24):
    return Preprocessing(load_size, crop_size, True, (LABELS.stored_channels, 3), rule, labels=LABELS)


def classes_of(a):
    """The stored map of a batch of one-hot tensors, which must be such."""
    assert set(a.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(a[:, :-1].sum(1), torch.ones_like(a[:, 0]))
    return LABELS.stored_of(a)


@pytest.mark.parametrize("rule", RULES)
def test_tiers_give_the_same_bits(split, rule):
    size = 1 if rule in WHOLE_IMAGES else 2
    resident, ram, streamed = (
        first_batches(make_loader(split, preprocessing(rule), tier=tier, batch_size=size).batches(1), 5)
        for tier in TIERS
    )
    assert same_batches(resident, ram)
    assert same_batches(resident, streamed)
    assert all(batch["a"].shape[1] == COUNT + 2 for batch in resident)
    assert all(len(classes_of(batch["a"])) == size for batch in resident)


def has_edges_of_classes(stored):
    """Are the edges of a map, away from the border of the crop, those of its classes? Each class is one object here."""
    expected = torch.from_numpy(images.instance_edges(stored[0].numpy()))
    return torch.equal(stored[1, 1:-1, 1:-1], expected[1:-1, 1:-1])


@pytest.mark.parametrize("augment", [(), ("flip", "vflip", "turn"), ("color",)])
@pytest.mark.parametrize("tier", TIERS)
def test_maps_and_edges_move_with_their_images(split, tier, augment):
    loader = make_loader(split, preprocessing(), tier=tier, batch_size=2, augmentations=augment)
    for batch in first_batches(loader.batches(0), 6):
        stored = classes_of(batch["a"])
        assert all(map(has_edges_of_classes, stored))
        shown = SHADES[stored[:, :1].long()]
        if augment == ("color",):  # it changes the image, never the map
            plain = first_batches(make_loader(split, preprocessing(), tier=tier, batch_size=2).batches(0), 1)[0]
            first = first_batches(loader.batches(0), 1)[0]
            assert torch.equal(first["a"], plain["a"])
            assert not torch.equal(first["b"], plain["b"])
        else:
            assert torch.equal(images.quantize(batch["b"]), shown.expand(-1, 3, -1, -1))


def test_warps_take_the_nearest_pixel(split):
    """Inside of a class, where all that bicubic interpolation reads is of that class, map and image still agree."""
    loader = make_loader(split, preprocessing(), batch_size=2, augmentations=("jitter", "rotate", "affine"))
    compared = 0
    for batch in first_batches(loader.batches(0), 6):
        stored = classes_of(batch["a"])
        b = images.quantize(batch["b"])[:, :1].float()
        reach = torch.nn.functional.max_pool2d
        flat = reach(b, 3, 1, 1) == -reach(-b, 3, 1, 1)
        assert torch.equal(b[flat], SHADES[stored[:, :1].long()][flat].float())
        compared += int(flat.sum())
    assert compared > 500


def test_recipes_of_albumentations_move_maps_as_masks(split, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("transforms:\n  - HorizontalFlip: {p: 0.5}\n  - RandomRotate90: {p: 1}\nresizes: true\n")
    options = {"tier": "stream", "albumentations": load_recipe(recipe)}
    for batch in first_batches(make_loader(split, preprocessing(), batch_size=2, **options).batches(0), 4):
        stored = classes_of(batch["a"])
        assert torch.equal(images.quantize(batch["b"]), SHADES[stored[:, :1].long()].expand(-1, 3, -1, -1))
    recipe.write_text("transforms:\n  - RandomBrightnessContrast: {p: 1}\n")
    options = {"tier": "stream", "albumentations": load_recipe(recipe)}
    changed = first_batches(make_loader(split, preprocessing(), **options).batches(0), 3)
    plain = first_batches(make_loader(split, preprocessing(), tier="stream").batches(0), 3)
    assert all(torch.equal(x["a"], y["a"]) for x, y in zip(changed, plain, strict=True))
    assert not any(torch.equal(x["b"], y["b"]) for x, y in zip(changed, plain, strict=True))


def test_resized_maps_hold_classes_alone_with_edges_of_two_pixels(split):
    for batch in first_batches(
        make_loader(split, preprocessing("resize_and_crop", 45, 45), batch_size=2).batches(0), 3
    ):
        assert all(map(has_edges_of_classes, classes_of(batch["a"])))


def test_shown_and_preparing_batches_are_one_hot_too(split):
    batch = fixed_batch(split, preprocessing(), 3, CPU, torch.float64)
    assert batch["a"].dtype == torch.float64
    stored = classes_of(batch["a"])
    assert torch.equal(images.quantize(batch["b"]), SHADES[stored[:, :1].long()].expand(-1, 3, -1, -1))
    for batch in preparation_batches(split, preprocessing(), 2, CPU, torch.float32):
        classes_of(batch["a"])
