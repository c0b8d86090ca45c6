"""Semi-supervised GAN: settings, losses by hand, the baseline, trainings on labelled folders, and its accuracy."""

import math

import pytest
import torch

import translate
from translate import api, config, keyed_random
from translate.errors import DataError, UsageError
from translate.methods.sgan import SGAN
from translate.trained import folder as model_folder

from ..helpers import numbered_keys, smooth_image
from .helpers import START

SMALL = {
    "networks": "dense", "crop_size": 32, "load_size": 32, "g_width": 4, "d_width": 8, "batch_size": 4, "classes": "x,y,z",
    "input_channels": 1,
}  # fmt: skip


def config_of(**flags):
    return SGAN.resolve_config(config.resolve(SGAN.Config, ("test", {**SMALL, **flags})))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"networks": "conv", "crop_size": 28}, "--crop-size 28: .* use --crop-size 32, or --networks dense"),
        ({"batch_size": 5}, "--batch-size 5: is divided into 2 equal parts"),
        ({"batch_size": 4, "accumulate": 4}, "use a multiple of 8"),
        ({"direction": "b2a"}, "--direction b2a"),
    ],
)
def test_settings_that_do_not_work_together_are_refused(flags, words):
    with pytest.raises(UsageError, match=words):
        config_of(**flags)


def test_it_needs_classes():
    cfg = config_of(classes=None)
    assert SGAN.with_labels(cfg, ("x", "y"), exclusive=True).classes == "x,y"
    with pytest.raises(DataError, match="sgan needs images of two classes or more; put the images of each class"):
        SGAN.with_labels(cfg, (), exclusive=True)
    with pytest.raises(UsageError, match="the data has attributes"):
        SGAN.with_labels(cfg, ("x", "y"), exclusive=False)


def test_the_logit_of_generated_images_is_fixed_at_0():
    """An image is real with the probability Z / (Z + 1): three logits 0 are Z = 3; and of one class among K by a softmax."""
    method, zeros = SGAN(config_of()), torch.zeros(2, 3, dtype=torch.float64)
    losses = method.classifier_losses(zeros, zeros, zeros, torch.tensor([0, 2]))
    assert losses["class"] == pytest.approx(math.log(3))
    assert losses["adv"] == pytest.approx(0.5 * math.log(4 / 3) + 0.5 * math.log(4))
    twice = SGAN(config_of(lambda_unsupervised=2.0)).classifier_losses(zeros, zeros, zeros, torch.tensor([0, 2]))
    assert twice["adv"] == pytest.approx(2 * losses["adv"].item())


def test_initial_lengths_are_taken_with_the_classifiers_noise():
    """Of equal images all that differs is the noise of 0.3: outputs of a weight of length 1 have that deviation.

    Of 500 images it is known to 1/√1000 of itself; the bound is five times that. Without the noise lengths had no bound.
    """
    method = SGAN(config_of())
    method.prepare([{"a": torch.full((500, 1, 32, 32), 0.2)}])
    torch.testing.assert_close(method.d.layers[0].length, torch.full((8,), 1 / 0.3), rtol=0.16, atol=0)


def batch_of(count=4, label=None):
    key = numbered_keys(count)
    a, labelled = (keyed_random.uniform(key, name, 1, 32, 32) * 2 - 1 for name in ("a", "labelled"))
    return {"a": a, "key": key, "labelled_a": labelled, "labelled_label": torch.arange(count) % 3, "label": label}


def test_labels_of_the_other_images_are_not_looked_at():
    method = SGAN(config_of())
    first, second = (dict(method.step(batch_of(label=label), START, {})) for label in (None, "others"))
    assert first["d"]["class"] == second["d"]["class"]
    assert first["d"]["adv"] == second["d"]["adv"]


def test_the_baseline_is_the_same_classifier_on_labelled_images_alone():
    both, alone = SGAN(config_of()), SGAN(config_of(supervised_only=True))
    for ours, theirs in zip(both.d.parameters(), alone.d.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert list(alone.updates) == ["d"]
    (update, losses), *others = list(alone.step(batch_of(), START, {}))
    assert (update, list(losses), others) == ("d", ["class"], [])
    assert losses["class"] == next(iter(both.step(batch_of(), START, {})))[1]["class"], "with the same noise"


@pytest.mark.parametrize("flags", [{}, {"g_width": None, "d_width": None, "crop_size": 8}])
def test_a_model_folder_classifies_and_samples_as_the_run_does(flags, tmp_path):
    method = SGAN(config_of(**flags)).eval()
    model_folder.write_trained_model(tmp_path, method, title="test", seen=0)
    loaded = model_folder.read_model_folder(tmp_path).method.eval()
    x, key = batch_of()["a"][:, :, : method.cfg.crop_size, : method.cfg.crop_size], numbered_keys(2)
    assert torch.equal(method.classify(x), loaded.classify(x))
    assert torch.equal(method.sample(key), loaded.sample(key))
    assert loaded.class_names == ("x", "y", "z")


@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """Dark, middle and light images, 8 of each in train and 4 in test."""
    root = tmp_path_factory.mktemp("shades")
    for split, count in (("train", 8), ("test", 4)):
        for number, name in enumerate(("dark", "middle", "light")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for n in range(count):
                image = smooth_image(n + 10 * len(split), channels=3).convert("L")
                image.point([30 + 90 * number + value // 10 for value in range(256)]).save(folder / f"{n}.png")
    return root


QUICK = {
    **{name: value for name, value in SMALL.items() if name != "classes"}, "labelled": 6, "d_width": 32, "batch_size": 8,
    "device": "cpu", "watch": False, "sample_every": 10_000, "log_every": 400, "say": None, "lr": 1e-3,
}  # fmt: skip

CONV = {"networks": "conv", "d_width": 8, "g_width": 8}


@pytest.mark.slow
def test_it_learns_classes_from_a_few_labels_and_its_accuracy_is_evaluated(shades, tmp_path):
    said = []
    run = translate.train("sgan", shades, run=tmp_path / "run", images=1600, **{**QUICK, **CONV, "say": said.append})
    assert "labels: those of 6 of 24 images are used, of 3 classes" in said
    results = api.evaluate(run.path, shades, metrics=["accuracy", "swd"], device="cpu", say=None)
    assert results["metrics"]["accuracy"]["value"] > 0.9
    assert results["protocol"]["settings"]["accuracy"]["images"] == 12
    with pytest.raises(DataError, match="accuracy: needs a folder for each class of the model, and no others"):
        api.evaluate(run.path, shades / "test" / "dark", metrics=["accuracy"], device="cpu", say=None)


@pytest.mark.slow
def test_a_run_resumes_exactly_in_the_middle(shades, tmp_path):
    for run, lengths in (("whole", (48,)), ("cut", (24, 48))):
        for images in lengths:
            translate.train("sgan", shades, run=tmp_path / run, images=images, save_every=24, **QUICK)
    whole, cut = ((tmp_path / run / "model" / "model.safetensors").read_bytes() for run in ("whole", "cut"))
    assert whole == cut


def test_fewer_labels_than_classes_are_one_clear_line(shades, tmp_path):
    with pytest.raises(
        UsageError, match=r"--labelled 2: the data has 3 classes, and each needs an image; give at least 3"
    ):
        translate.train("sgan", shades, run=tmp_path / "run", images=8, **{**QUICK, "labelled": 2})
    assert not (tmp_path / "run").exists()
