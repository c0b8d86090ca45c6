"""Tests of labels read from class folders and label maps."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from translate.data.split import ImageRef
from translate.errors import DataError, UsageError
from translate.evaluation import label_scorers
from translate.evaluation.image_sets import ReadOptions
from translate.evaluation.label_data import LabelTask, train_label_scorer

from .photos import random_image

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    for name in ("train_classifier", "train_segmenter"):
        monkeypatch.setattr(label_scorers, name, partial(getattr(label_scorers, name), steps=1))


def write(root, *names):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_image(seed)).save(root / name)
    return [ImageRef(root / name) for name in names]


def test_classes_are_the_names_of_folders(tmp_path):
    train = write(tmp_path, "trainB/horse/1.png", "trainB/zebra/2.png", "trainB/zebra/3.png")
    inputs = write(tmp_path, "testA/zebra/7.png", "testA/horse/8.png")
    task = LabelTask("classification", tmp_path, train, inputs, ReadOptions())
    scorer, labels = train_label_scorer(task, seed=0, device=CPU)
    assert scorer.classes == 2
    assert labels.tolist() == [1, 0]


def test_missing_classes_are_refused(tmp_path):
    train, inputs = write(tmp_path, "trainB/horse/1.png"), write(tmp_path, "testA/zebra/7.png")
    with pytest.raises(DataError, match=r"7\.png: class 'zebra'"):
        train_label_scorer(LabelTask("classification", tmp_path, train, inputs, ReadOptions()), seed=0, device=CPU)
    flat = write(tmp_path, "trainB/1.png")
    with pytest.raises(DataError, match=r"classification needs trainB/CLASS/1\.png"):
        train_label_scorer(LabelTask("classification", tmp_path, flat, flat, ReadOptions()), seed=0, device=CPU)


def test_label_maps_are_read_at_the_size_of_the_images(tmp_path):
    train, inputs = write(tmp_path, "trainB/1.png"), write(tmp_path, "testA/7.png")
    maps = tmp_path / "maps"
    for name, value in (("trainB/1.png", 2), ("testA/7.png", 255)):
        (maps / name).parent.mkdir(parents=True)
        Image.fromarray(np.full((6, 6), value, np.uint8)).save(maps / name)
    task = LabelTask("segmentation", tmp_path, train, inputs, ReadOptions(), maps)
    scorer, labels = train_label_scorer(task, seed=0, device=CPU)
    assert scorer.classes == 3
    assert labels.shape == (1, 12, 12)
    assert labels.unique().tolist() == [label_scorers.IGNORE_INDEX]


def test_segmentation_needs_a_map_of_each_image(tmp_path):
    refs = write(tmp_path, "trainB/1.png")
    with pytest.raises(UsageError, match="--labels DIR"):
        train_label_scorer(LabelTask("segmentation", tmp_path, refs, refs, ReadOptions()), seed=0, device=CPU)
    maps = tmp_path / "maps"
    write(maps, "trainB/2.png")
    with pytest.raises(DataError, match=r"no label map of .*1\.png"):
        train_label_scorer(LabelTask("segmentation", tmp_path, refs, refs, ReadOptions(), maps), seed=0, device=CPU)
