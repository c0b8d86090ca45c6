"""A data set whose items are translated now and then: which, by what, in what process, and what is left as it is."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import translate
from translate.errors import UsageError
from translate.trained.augmented import translate_batch
from translate.trained.translator import Translator


@pytest.fixture(scope="module")
def tensors() -> TensorDataset:
    draws = torch.Generator().manual_seed(0)
    return TensorDataset(torch.rand(12, 3, 8, 8, generator=draws), torch.arange(12))


def chosen(items: list, dataset: TensorDataset) -> list[bool]:
    return [not torch.equal(image, dataset[index][0]) for index, (image, _) in enumerate(items)]


def test_labels_stay_and_translations_are_those_of_the_model(tensors: TensorDataset, cyclegan: Translator) -> None:
    items = [*translate.Augmented(tensors, cyclegan, p=1.0)]
    for index, (image, label) in enumerate(items):
        assert label == index
        assert torch.equal(image, (cyclegan(2 * tensors[index][0][None] - 1)[0] + 1) / 2)
    assert chosen([*translate.Augmented(tensors, cyclegan, p=0.0)], tensors) == [False] * 12


def test_an_item_follows_from_its_index_the_epoch_and_the_seed(tensors: TensorDataset, cyclegan: Translator) -> None:
    first, again, other = (translate.Augmented(tensors, cyclegan, seed=seed) for seed in (0, 0, 1))
    order = [5, 3, 5, 11, -1]
    assert all(torch.equal(first[index][0], again[index][0]) for index in order)
    assert torch.equal(first[-1][0], first[11][0])
    before = chosen([*first], tensors)
    assert 0 < sum(before) < 12
    assert chosen([*other], tensors) != before
    first.set_epoch(1)
    assert chosen([*first], tensors) != before
    first.set_epoch(0)
    assert chosen([*first], tensors) == before


@pytest.mark.slow
def test_workers_give_what_the_process_itself_gives(tensors: TensorDataset, cyclegan_folder: Path) -> None:
    dataset = translate.Augmented(tensors, cyclegan_folder)
    loader = DataLoader(dataset, batch_size=1, num_workers=2, persistent_workers=True, multiprocessing_context="spawn")
    for epoch in (0, 1):  # the workers are at work already when the second begins
        dataset.set_epoch(epoch)
        for index, (image, label) in enumerate(loader):
            assert torch.equal(image[0], dataset[index][0])
            assert label.item() == index


def test_kinds_of_images_come_back_as_they_are(cyclegan: Translator) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    expected = cyclegan(pixels)
    items = [Image.fromarray(pixels), pixels, tensor, (Image.fromarray(pixels), 3), [tensor / 255, "cat", {"box": 1}]]
    image, array, bytes_, pair, several = (translate.Augmented([item], cyclegan, p=1.0)[0] for item in items)
    assert np.array_equal(np.asarray(image), expected)
    assert np.array_equal(array, expected)
    assert np.abs(bytes_.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1
    assert (bytes_.dtype, pair[1], several[1:]) == (torch.uint8, 3, ["cat", {"box": 1}])
    assert several[0].dtype == torch.float32
    assert np.abs(several[0].permute(1, 2, 0).numpy() * 255 - expected).max() <= 1


def test_targets_are_drawn(tensors: TensorDataset, cyclegan: Translator) -> None:
    items = [*translate.Augmented(tensors, cyclegan, p=1.0, to=("a", "b"))]
    of_b = [
        torch.equal(image, translate_batch(cyclegan, tensors[i][0][None], "b")[0]) for i, (image, _) in enumerate(items)
    ]
    of_a = [
        torch.equal(image, translate_batch(cyclegan, tensors[i][0][None], "a")[0]) for i, (image, _) in enumerate(items)
    ]
    assert [a != b for a, b in zip(of_a, of_b, strict=True)] == [True] * 12
    assert any(of_a)
    assert any(of_b)


def test_a_model_with_noise_gives_another_image_in_each_epoch(pix2pix: Translator) -> None:
    dataset = translate.Augmented([torch.rand(3, 64, 64)], pix2pix, p=1.0)
    first = dataset[0]
    dataset.set_epoch(1)
    assert not torch.equal(dataset[0], first)


def test_a_model_that_was_named_is_sent_to_processes_by_its_name(tensors: TensorDataset, cyclegan_folder: Path) -> None:
    dataset = translate.Augmented(tensors, cyclegan_folder)
    sent = pickle.dumps(dataset)
    assert cyclegan_folder.name.encode() in sent
    assert len(sent) < 100_000
    assert torch.equal(pickle.loads(sent)[0][0], dataset[0][0])


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (torch.full((3, 8, 8), 2.0), "from 2 to 2.*before Normalize"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64"),
        (torch.zeros(8, 8), r"shape \(8, 8\)"),
        ({"image": 1}, "cannot translate a dict"),
        ((), "item 0 of the data set is empty"),
    ],
)
def test_items_that_cannot_be_translated(cyclegan: Translator, item: object, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        translate.Augmented([item], cyclegan, p=1.0)[0]


def test_arguments_that_are_refused(cyclegan: Translator) -> None:
    with pytest.raises(UsageError, match=r"p 1.5: must be from 0 to 1"):
        translate.Augmented([], cyclegan, p=1.5)
    with pytest.raises(UsageError, match="c"):
        translate.Augmented([], cyclegan, to="c")
