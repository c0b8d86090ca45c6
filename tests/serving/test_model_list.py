"""The models that can be chosen: own ones and those that ship, with what their cards say."""

import shutil
from pathlib import Path

import pytest

from translate.errors import ModelError
from translate.serving.model_list import list_models
from translate.trained import find


def test_the_models_that_ship_are_listed_with_the_first_sentence_of_their_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = {model.name: model for model in list_models()}
    assert {"blond-hair", "flat-to-3d", "satellite-to-map"} <= listed.keys()
    assert listed["flat-to-3d"].summary == "Translates flat drawings to shaded ones."
    assert listed["flat-to-3d"].intended_input == "flat drawings on white, about 128 px"
    assert listed["flat-to-3d"].card.startswith("# flat-to-3d")
    assert "emoji_flat2three" in listed["flat-to-3d"].trained_on


def test_own_models_come_first_and_what_cannot_be_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cyclegan_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "checkpoints"
    shutil.copytree(cyclegan_folder, own / "mine")
    shutil.copytree(cyclegan_folder, own / "damaged")
    (own / "damaged" / "config.json").write_text("{")
    (own / "empty").mkdir()
    names = [model.name for model in list_models()]
    assert names[0] == "mine"
    assert not {"damaged", "empty"} & set(names)


def test_named_models_alone_are_listed(tmp_path: Path, cyclegan_folder: Path) -> None:
    (model,) = list_models([str(cyclegan_folder)])
    assert model.name == str(cyclegan_folder)
    assert list(model.info.directions) == ["b", "a"]
    with pytest.raises(ModelError, match="no run or model folder"):
        list_models([str(tmp_path / "absent")])


def test_no_model_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "model_homes", lambda: (tmp_path,))
    monkeypatch.setattr("translate.serving.model_list.model_homes", lambda: (tmp_path,))
    with pytest.raises(ModelError, match="no model that translates images"):
        list_models()
