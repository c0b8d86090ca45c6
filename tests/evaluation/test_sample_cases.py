"""Evaluation of models from noise: how many images they generate, of which classes, and what cannot be measured of them."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from translate import api, images
from translate.data import layouts
from translate.errors import DataError, UsageError
from translate.evaluation import label_scorers, sample_cases
from translate.evaluation.cases import EvaluationOptions, HeldOutData
from translate.evaluation.image_sets import ReadOptions, list_images, read_image_set
from translate.methods.dcgan import DCGAN
from translate.trained import find
from translate.trained.sampler import ImageSampler

from ..helpers import smooth_image

CPU = torch.device("cpu")
TINY = {"crop_size": 32, "load_size": 32, "noise_size": 8}
COUNTS = {"cat": 3, "dog": 1}
"""Test images of each class."""


@pytest.fixture(scope="module")
def plain(build):
    return build("dcgan", **TINY)


@pytest.fixture(scope="module")
def classy(build):
    return build("dcgan", classes="dog,cat", **TINY)


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Dark cats and light dogs: 4 of each in train, 3 and 1 in test."""
    root = tmp_path_factory.mktemp("pets")
    for split in ("train", "test"):
        for name, level in (("cat", 60), ("dog", 190)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for n in range(4 if split == "train" else COUNTS[name]):
                noise = np.asarray(smooth_image(len(split) * 10 + n, 40)).astype(int) // 8
                Image.fromarray((level + noise).astype(np.uint8)).save(folder / f"{n}.png")
    return root


def case(folder, root, said=None, **options):
    model = find.read_model(folder)
    chosen = EvaluationOptions(**options)
    say = [].append if said is None else said.append
    return sample_cases.case_from_sampler(ImageSampler(model, CPU), model, root, chosen, lambda *counts: None, say)


def test_as_many_images_are_generated_as_there_are_real_ones_or_as_are_asked_for(plain, images_root):
    made = case(plain, images_root)
    assert (len(made.subject.outputs), len(made.subject.real), made.data["split"]) == (2, 2, "test")
    more = case(plain, images_root, samples=5, batch_size=2, seed=3)
    assert (len(more.subject.outputs), more.data["samples"], more.data["truncation"]) == (5, 5, None)
    expected = images.quantize(ImageSampler(find.read_model(plain), CPU)(range(5), seed=3))
    for n in range(5):
        levels = more.subject.outputs.stored[n].int() - expected[n].int()
        assert levels.abs().max() <= 1, "float32 in batches of other sizes"
    assert more.subject.real.stored[0].shape == (3, 32, 32), "read at the size of the generated images"


def test_classes_have_the_shares_of_the_real_images(classy, pets, monkeypatch):
    """3 cats and a dog among the real images: 6 and 2 of 8 generated ones, whatever the order of the model's classes."""
    seen = []
    sample = DCGAN.sample
    monkeypatch.setattr(
        DCGAN, "sample", lambda self, key, label: seen.extend(label.tolist()) or sample(self, key, label)
    )
    made = case(classy, pets, samples=8)
    assert sorted(seen[-8:]) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert made.data["classes"] == "as in the real images"


def test_classes_take_turns_where_the_data_has_others(build, pets, images_root):
    folder = build("dcgan", classes="cat,owl", **TINY)
    for root in (pets, images_root):
        said = []
        assert case(folder, root, said, samples=3).data["classes"] == "in turn"
        assert "take turns" in said[-1]


def test_training_images_are_used_with_a_notice(plain, images_root, tmp_path):
    said = []
    assert case(plain, images_root, said, split="train").data["split"] == "train"
    assert "training images" in said[0]
    smooth_image(0).save(tmp_path / "1.png")
    said.clear()
    case(plain, tmp_path, said)
    assert "all of its images are used" in said[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "a"}, "--to a: dcgan generates images from noise"),
        ({"direction": "b2a"}, "--direction b2a"),
        ({"labels": "maps"}, "--labels maps"),
        ({"truth": "names"}, "--truth names"),
        ({"skip_unmatched": True}, "--skip-unmatched"),
        ({"size": 48}, "--size 48: this dcgan generates images of 32 pixels"),
    ],
)
def test_options_of_translations_are_refused(options, words, plain, images_root):
    with pytest.raises(UsageError, match=words):
        case(plain, images_root, **options)


def evaluate(model, root, *metrics, **options):
    return api.evaluate(model, root, metrics=list(metrics) or None, device="cpu", say=lambda line: None, **options)


def test_metrics_of_inputs_and_pairs_say_that_there_are_none(plain, images_root):
    for metric in ("edge_correlation", "cycle_psnr", "diversity", "fgsm", "segmentation"):
        with pytest.raises(UsageError, match=f"{metric}: images from noise have no inputs; leave it out"):
            evaluate(plain, images_root, metric)
    with pytest.raises(DataError, match="l1: needs the true image of each output; images from noise have none"):
        evaluate(plain, images_root, "l1")
    with pytest.raises(UsageError, match="classification: this dcgan was trained without classes"):
        evaluate(plain, images_root, "classification")


def test_a_truncation_is_that_of_a_model_from_noise_which_takes_it(plain, images_root, build, paired_root, monkeypatch):
    for model, root, words in (
        (plain, images_root, "dcgan has no truncation"),
        (build("pix2pix", generator="resnet_3blocks"), paired_root, "is for models that generate images from noise"),
    ):
        with pytest.raises(UsageError, match=f"--truncation 0.5: {words}"):
            evaluate(model, root, "swd", truncation=0.5)
    monkeypatch.setattr(DCGAN, "truncation_range", (0.0, 1.0))
    sample = DCGAN.sample
    monkeypatch.setattr(DCGAN, "sample", lambda self, key, label, truncation: truncation * sample(self, key, label))
    results = evaluate(plain, images_root, "swd", truncation=0.5)
    assert results["protocol"]["truncation"] == 0.5


def test_a_model_that_generates_the_real_images_is_at_distance_zero(plain, images_root, monkeypatch):
    """And its results say how they were measured, with training images for comparison."""
    refs = list_images(images_root / "test")
    real = read_image_set(refs, images_root, ReadOptions(32))
    known = torch.cat([real.normalized(n) for n in range(2)])
    monkeypatch.setattr(DCGAN, "sample", lambda self, key, label: known[: len(key)])
    results = evaluate(plain, images_root, "swd", seed=4)
    assert results["metrics"]["swd"]["value"] == 0
    assert results["real"]["swd"]["value"] > 0
    assert not results.keys() & {"copying", "colour_map"}
    protocol = results["protocol"]
    assert (protocol["samples"], protocol["seed"], protocol["truncation"], protocol["size"]) == (2, 4, None, 32)
    assert (protocol["output_images"], protocol["real_images"], protocol["paired"]) == (2, 2, False)


def test_a_classifier_reads_the_classes_back(classy, pets, monkeypatch):
    """Of a model that generates each class as it looks, and of one that confuses them."""
    quick = partial(label_scorers.train_classifier, steps=30)
    monkeypatch.setattr(sample_cases.label_scorers, "train_classifier", quick)
    levels = torch.tensor([190.0, 60.0]) / 127.5 - 0.9  # dog, cat: the order of the model's classes
    for sign, share in ((1, 1.0), (-1, 0.0)):
        shades = levels if sign > 0 else levels.flip(0)
        monkeypatch.setattr(
            DCGAN, "sample", lambda self, key, label, s=shades: s[label][:, None, None, None].expand(-1, 3, 32, 32)
        )
        assert evaluate(classy, pets, "classification")["metrics"]["top1_accuracy"]["value"] == share


def test_a_classifier_needs_training_images_of_each_class(build, pets):
    with pytest.raises(DataError, match="training images of each class of the model: cat,owl".replace(",", ", ")):
        evaluate(build("dcgan", classes="cat,owl", **TINY), pets, "classification")


def test_a_sampler_in_memory_needs_no_folder(plain, pets):
    """As the validation of a training has it."""
    model = find.read_model(plain)
    made = case(plain, pets)
    data = HeldOutData(pets, "test", layouts.find_split(pets, "images", "test"), "a2b")
    again = sample_cases.case_from_real_images(
        ImageSampler(model, CPU), None, data, EvaluationOptions(), lambda *counts: None, lambda line: None
    )
    assert again.provenance["model"] is None
    assert made.subject.outputs.sha256() == again.subject.outputs.sha256()
