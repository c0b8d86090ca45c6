"""Presets: which a method has, and what of them gives way to settings that are given."""

import pytest
import torch

import translate
from translate.api import presets
from translate.api.presets import (
    PRESETS,
    find_preset,
    forecast_preset,
    preset_settings,
    shorten_preset,
    sized_settings,
    without_replaced_length,
)
from translate.api.run_record import Preset, RunRecord
from translate.config import resolve, to_dict
from translate.errors import ModelError, UsageError
from translate.methods import METHODS

from ..helpers import unopened_split

CYCLEGAN = METHODS["cyclegan"]
QUICK = Preset("quick", {"images": 1000, "decay_images": 400, "load_size": 128, "crop_size": 96, "lr": 1e-3})
EVERY = [(method, name) for method, cls in METHODS.items() for name in cls.presets]


@pytest.mark.parametrize(("method", "name"), EVERY)
def test_every_preset_is_described_and_makes_a_valid_config(method, name):
    cls = METHODS[method]
    cfg = cls.resolve_config(resolve(cls.Config, (name, cls.presets[name])))
    assert name in PRESETS
    assert all(getattr(cfg, setting) == value for setting, value in cls.presets[name].items())


@pytest.mark.parametrize("method", [method for method, name in EVERY if name == "quick"])
def test_quick_networks_are_smaller_and_its_images_are_not_those_of_the_papers_size(method):
    cls = METHODS[method]
    paper = cls.resolve_config(cls.Config())
    quick = cls.resolve_config(resolve(cls.Config, ("quick", cls.presets["quick"])))

    def weights(cfg):
        return sum(p.numel() for p in cls.on_meta(cfg).parameters())

    assert 32 <= quick.crop_size <= 128
    assert 5 * weights(quick) < weights(paper)


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"lr": 1.0}, {}),
        ({"crop_size": 64}, {"load_size": None}),  # then 64 · 286 / 256, as everywhere
        ({"crop_size": 64, "load_size": 70}, {}),
        ({"epochs": 5}, {"images": None, "decay_images": None}),
        ({"decay_epochs": 5}, {"images": None, "decay_images": None}),
        ({"epochs": 5, "images": 100}, {}),
        ({"epochs": None, "crop_size": None}, {}),
    ],
)
def test_what_is_given_replaces_what_depends_on_it(given, changed):
    expected = {name: value for name, value in (QUICK.settings | changed).items() if value is not None}
    assert preset_settings(QUICK, given) == expected


@pytest.mark.parametrize(
    ("images", "planned", "decay"),
    [(100, 100, 40), (1000, 1000, 400), (5000, 1000, 400), (None, 1000, 400), (-1, 1000, 400)],
)
def test_fewer_images_keep_the_share_of_the_decay(images, planned, decay):
    shorter = shorten_preset(QUICK, {"images": images})
    assert shorter.settings == QUICK.settings | {"images": planned, "decay_images": decay}
    longer = shorten_preset(shorter, {"images": 20 * planned})  # so that a larger number continues the run
    assert longer == shorter


def test_epochs_replace_a_number_of_images_in_what_they_override():
    assert without_replaced_length({"images": 9, "decay_images": 3, "lr": 1.0}, {"epochs": 2}) == {"lr": 1.0}
    assert without_replaced_length({"images": 9}, {"epochs": 2, "images": 4}) == {"images": 9}
    assert without_replaced_length({"images": 9}, {"lr": 1.0}) == {"images": 9}


def start(folder, preset):
    """Write a run that has begun."""
    cfg = CYCLEGAN.resolve_config(CYCLEGAN.Config())
    RunRecord("cyclegan", folder / "data", 1, to_dict(cfg), preset=preset).write(folder)
    (folder / "state-8.ckpt").write_bytes(b"")


def test_a_run_keeps_the_preset_that_it_was_started_with(tmp_path):
    start(tmp_path, QUICK)
    assert RunRecord.read(tmp_path).preset == QUICK
    assert find_preset(CYCLEGAN, "quick", tmp_path) == QUICK
    assert find_preset(CYCLEGAN, "paper", tmp_path).settings == {}
    assert find_preset(METHODS["cut"], "quick", tmp_path).settings == METHODS["cut"].presets["quick"]
    (tmp_path / "state-8.ckpt").unlink()  # it has not begun
    assert find_preset(CYCLEGAN, "quick", tmp_path).settings == CYCLEGAN.presets["quick"]


def test_a_preset_without_settings_is_not_recorded(tmp_path):
    start(tmp_path, Preset("paper", {}))
    assert "[preset" not in (tmp_path / "config.toml").read_text()
    assert RunRecord.read(tmp_path).preset is None


def test_a_damaged_preset_in_a_record_is_refused(tmp_path):
    start(tmp_path, None)
    with (tmp_path / "config.toml").open("a") as file:
        file.write("preset = 3\n")
    with pytest.raises(ModelError, match="preset"):
        RunRecord.read(tmp_path)


@pytest.mark.parametrize(
    ("method", "name", "words"),
    [
        ("dualgan", "quick", ["dualgan has none", "pix2pix, pix2pixhd, bicyclegan, cyclegan, cut, fastcut", "paper"]),
        ("cyclegan", "quik", ["did you mean quick?", PRESETS["paper"]]),
    ],
)
def test_a_missing_preset_names_those_that_there_are(tmp_path, method, name, words):
    with pytest.raises(UsageError, match=f"--preset {name}") as caught:
        find_preset(METHODS[method], name, tmp_path)
    assert all(word in str(caught.value) for word in words)


def test_an_unfinished_run_continues_when_its_preset_has_changed(unpaired_root, tmp_path, monkeypatch):
    tiny = {"crop_size": 32, "g_width": 4, "d_width": 4, "generator": "resnet_1blocks", "watch": False}
    lines = []

    def train(images, preset="tiny"):
        return translate.train(
            "cyclegan",
            unpaired_root,
            run=tmp_path / "run",
            preset=preset,
            device="cpu",
            say=lines.append,
            images=images,
        )

    length = {"images": 40, "decay_images": 20}
    monkeypatch.setattr(CYCLEGAN, "presets", {"paper": {}, "tiny": tiny | length | {"lr": 1e-3}})
    train(2)
    monkeypatch.setattr(CYCLEGAN, "presets", {"paper": {}, "tiny": tiny | length | {"lr": 5e-4}})
    assert train(3).images == 3
    assert train(3).images == 3
    assert RunRecord.read(tmp_path / "run").settings["decay_images"] == 1
    assert RunRecord.read(tmp_path / "run").settings["lr"] == 1e-3
    with pytest.raises(UsageError, match=r"--lr: 0\.001 in the run"):
        train(4, "paper")


def test_a_long_training_is_told_of_a_faster_preset_and_keeps_its_bits(unpaired_root, tmp_path, monkeypatch):
    """Two steps of the preset are run between two of the training."""
    tiny = {"crop_size": 32, "g_width": 4, "d_width": 4, "generator": "resnet_1blocks", "watch": False, "device": "cpu"}
    quick = {"crop_size": 32, "g_width": 2, "d_width": 2, "generator": "resnet_1blocks", "images": 4, "batch_size": 2}
    monkeypatch.setattr(CYCLEGAN, "presets", {"paper": {}, "quick": quick})

    def forecast_soon(*arguments):
        assert forecast_preset(*arguments) > 0
        return 0.0

    monkeypatch.setattr(presets, "forecast_preset", forecast_soon)

    def train(name, long_seconds):
        lines = []
        monkeypatch.setattr(presets, "LONG_SECONDS", long_seconds)
        run = translate.train("cyclegan", unpaired_root, run=tmp_path / name, say=lines.append, images=4, **tiny)
        return lines, (run.path / "model" / "model.safetensors").read_bytes()

    lines, weights = train("long", 0)
    (advice,) = [line for line in lines if line.startswith("--preset quick ≈ ")]
    assert f"translate train cyclegan {unpaired_root} --preset quick --run {tmp_path / 'long'}-quick" in advice
    lines, others = train("short", 1e9)
    assert not any("--preset" in line for line in lines)
    assert weights == others


def test_a_forecast_of_a_preset_needs_one_that_goes_with_the_images(monkeypatch):
    monkeypatch.setattr(CYCLEGAN, "presets", {"paper": {}, "quick": {"crop_size": 32, "lambda_identity": 0.5}})
    cpu = torch.device("cpu")
    grey = CYCLEGAN.Config(input_channels=1, lambda_identity=0.0)
    assert forecast_preset(CYCLEGAN, grey, unopened_split(3, 3), "quick", cpu) is None
    assert forecast_preset(METHODS["dualgan"], grey, unopened_split(3, 3), "quick", cpu) is None


MODERN = [method for method, name in EVERY if name == "modern"]


@pytest.mark.parametrize("method", MODERN)
def test_modern_has_networks_for_the_crop_size_and_quick_is_its_small_form(method):
    cls = METHODS[method]
    small, large = (sized_settings(cls, "modern", {"crop_size": crop}) for crop in (128, 129))
    assert small == cls.presets["modern"]
    assert sized_settings(cls, "modern", {}) == large == small | cls.large_presets["modern"]
    quick = dict(sized_settings(cls, "quick", {}))
    assert {name: quick.pop(name) for name in ("images", "decay_images", "load_size", "crop_size")}["crop_size"] == 64
    assert quick == small
    for settings in (small, large):
        crop = 64 if settings is small else 256
        cls.resolve_config(resolve(cls.Config, ("modern", {**settings, "crop_size": crop})))


@pytest.mark.slow
def test_modern_weights_and_what_it_costs():
    """The generators of docs/methods/networks.md: 0.2 and 1.0 million weights for small crops, 9.7 million for large ones."""
    for method, crop, residual, count in (
        ("cyclegan", 64, "on", 206_273), ("cut", 64, "on", 206_273), ("pix2pix", 64, "off", 1_014_533),
        ("pix2pix", 256, "off", 9_687_049),
    ):  # fmt: skip
        cls = METHODS[method]
        settings = {**sized_settings(cls, "modern", {"crop_size": crop}), "crop_size": crop}
        assert settings["residual"] == "auto"  # the images decide; the colour map of a residual output has 12 weights
        settings["residual"] = residual
        net = cls.on_meta(cls.resolve_config(resolve(cls.Config, ("modern", settings)))).generator_for("b")
        assert sum(p.numel() for p in net.parameters()) == count


def test_a_method_without_modern_names_those_that_have_it(tmp_path):
    with pytest.raises(
        UsageError, match="--preset modern: stargan has none; pix2pix, cyclegan, cut, fastcut, colorize have"
    ):
        find_preset(METHODS["stargan"], "modern", tmp_path)
