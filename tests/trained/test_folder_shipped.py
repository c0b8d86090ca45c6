"""The models that ship: small, found from anywhere, and better than doing nothing."""

from pathlib import Path

import pytest
import torch

from translate import api, demo
from translate.data import layouts
from translate.evaluation import image_sets, paired
from translate.trained import find, translator

SHIPPED = {"satellite-to-map": "earth_map", "summer-to-winter": "earth_season"}
LIMIT = 6_000_000
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
        f"--images {known['trained_on']['images']}",
        "translate train",
        "L1",
        "NASA",
    ):
        assert word in card, word


def test_its_translations_are_nearer_to_the_truth_than_the_photos(name):
    root = demo.data_folder() / SHIPPED[name]
    held_out = layouts.find_split(root, "paired", "test").subsample(12)
    photos, truth = (
        image_sets.read_image_set(side, root, image_sets.ReadOptions(128)).stack("shipped")
        for side in (held_out.a, held_out.b)
    )
    model = translator.load(name, device="cpu")
    x = photos.float() / 127.5 - 1
    made = ((model(x) + 1) * 127.5).round().to(torch.uint8)
    assert paired.l1(made, truth).mean() < 0.95 * paired.l1(photos, truth).mean()


def test_a_model_of_ones_own_goes_before(name):
    assert find.find_named_model(name).is_absolute()
    mine = Path("checkpoints", name)
    mine.mkdir(parents=True)
    assert find.find_named_model(name) == mine
    assert find.find_named_model("nothing of this name") is None
