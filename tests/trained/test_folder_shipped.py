"""The models that ship: small, found from anywhere, and better than doing nothing."""

from pathlib import Path

import pytest
import torch

from translate import api, demo
from translate.data import layouts
from translate.evaluation import image_sets, paired
from translate.trained import find, translator

SHIPPED = {"satellite-to-map": "earth_map", "flat-to-3d": "emoji_flat2three", "blond-hair": "avatar_hair"}
LIMIT = 8_000_000
"""Bytes of a model folder."""


@pytest.fixture(params=SHIPPED)
def name(request, monkeypatch, tmp_path) -> str:
    monkeypatch.chdir(tmp_path)  # where there is no checkpoints/
    return request.param


def test_a_shipped_model_is_small_and_has_a_card(name):
    folder = find.find_named_model(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT
    known = api.status(name)
    assert known["dtype"] == "float16"
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in (
        f"datasets/{SHIPPED[name]}",
        f"{known['trained_on']['images']:,}",
        "translate train",
        "KID-R50",
        "NOTICE",
    ):
        assert word in card, word


def test_its_translations_are_nearer_to_the_truth_than_the_photos(name):
    root, size = demo.data_folder() / SHIPPED[name], api.status(name)["trained_on"]["load_size"]
    held_out = layouts.find_split(root, "paired", "test").subsample(12)
    photos, truth = (
        image_sets.read_image_set(side, root, image_sets.ReadOptions(size)).stack("shipped")
        for side in (held_out.a, held_out.b)
    )
    model = translator.load(name, device="cpu")
    x = photos.float() / 127.5 - 1
    made = ((model(x) + 1) * 127.5).round().to(torch.uint8)
    assert paired.l1(made, truth).mean() < 0.95 * paired.l1(photos, truth).mean()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "blond-hair" else pytest.mark.hours) for name in SHIPPED],
    indirect=True,
)
def test_it_looks_more_like_the_other_domain_than_the_input_does(name):
    """The rule for what ships: of what KID of the copied input has above that of real images, at most 60 % is left."""
    report = api.evaluate(name, demo.data_folder() / SHIPPED[name], metrics=("kid",), say=None)
    kid = {who: report[who]["kid"]["value"] for who in ("metrics", "copying", "real")}
    assert kid["metrics"] - kid["real"] <= 0.6 * (kid["copying"] - kid["real"])


def test_a_model_of_ones_own_goes_before(name):
    assert find.find_named_model(name).is_absolute()
    mine = Path("checkpoints", name)
    mine.mkdir(parents=True)
    assert find.find_named_model(name) == mine
    assert find.find_named_model("nothing of this name") is None


@pytest.mark.parametrize("name", [*SHIPPED, "colour-landscapes", "sharp-landscapes"], indirect=True)
def test_the_licence_of_its_weights_is_stated(name):
    assert api.status(name)["license"] == "Apache-2.0"
    card = (find.find_named_model(name) / "README.md").read_text(encoding="utf-8")
    assert "\nlicense: apache-2.0\n" in card.split("---")[1]
