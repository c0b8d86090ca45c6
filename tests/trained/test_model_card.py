"""The model card: metadata of the hub, and the facts of the run that a model is from."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from translate import api
from translate.trained.folder import read_model_folder
from translate.trained.model_card import NO_FACTS, CardFacts, collect_facts, make_card
from translate.trained.model_info import ModelInfo, TrainingInfo

RESULTS = {
    "metrics": {"l1": {"value": 12.3456, "error": 0.25}, "ki|d": {"value": 0.00261, "error": None}, "bad": {"value": "x"}},
    "protocol": {"data": "emoji_flat2three", "split": "test", "real_images": 155, "size": 128, "code": "image-translate 0.1.0"},
    "subject": {"trained_on": {"images": 24}},
}  # fmt: skip


@pytest.fixture
def info(cyclegan_folder: Path) -> ModelInfo:
    trained = TrainingInfo(data="emoji_flat2three", images=24, crop_size=64, load_size=128)
    return replace(ModelInfo.read(cyclegan_folder / "config.json"), trained_on=trained)


def front_matter(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize(
    ("licence", "wanted"),
    [
        (None, {}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ('my "own": terms\nhere', {"license": "other", "license_name": 'my "own": terms here'}),
    ],
)
def test_the_licence_is_what_the_hub_reads(info: ModelInfo, licence: str | None, wanted: dict[str, str]) -> None:
    found = front_matter(make_card(replace(info, license=licence)))
    assert {key: value for key, value in found.items() if key.startswith("license")} == wanted
    assert found["pipeline_tag"] == "image-to-image"
    assert found["library_name"] == "image-translate"


def test_the_sections(info: ModelInfo) -> None:
    card = make_card(info, CardFacts(b"png", RESULTS, "MIT"))
    assert re.findall("^#+ (.*)$", card, flags=re.MULTILINE)[1:] == ["Metrics", "Intended use", "Limits"]
    for line in (
        "![samples](samples.png)", "| licence of the data | MIT |", "| licence of the weights | not stated |",
        "| training images seen | 24 |", "| l1 | 12.35 ± 0.25 |", r"| ki\|d | 0.00261 |",
        "Protocol: data emoji_flat2three, split test, real_images 155, size 128, code image-translate 0.1.0.",
    ):  # fmt: skip
        assert line in card, line
    assert "bad" not in card
    plain = make_card(info, NO_FACTS)
    assert "samples.png" not in plain
    assert "## Metrics" not in plain


def test_the_facts_are_those_of_this_very_model(kept_run: Path, tmp_path: Path) -> None:
    newest, best = (read_model_folder(kept_run / name) for name in ("model", "model-best"))
    seen = best.info.trained_on["images"]
    facts = collect_facts(best.source, best.info)
    assert facts.results["subject"]["trained_on"]["images"] == seen
    assert facts.data_licence is None  # a set without a card
    other = replace(best.info, trained_on={**best.info.trained_on, "images": seen + 1})
    assert collect_facts(best.source, other).results == {}
    assert collect_facts(newest.source, newest.info).samples is not None


def test_an_exported_folder_keeps_samples_and_metrics(kept_run: Path, tmp_path: Path) -> None:
    api.export(kept_run / "model-best", tmp_path / "m", license="MIT", say=None)
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names >= {"README.md", "config.json", "model.safetensors", "metrics.json", "samples.png"}
    assert json.loads((tmp_path / "m" / "config.json").read_text())["license"] == "MIT"
    assert "## Metrics" in (tmp_path / "m" / "README.md").read_text()
    api.export(tmp_path / "m", tmp_path / "again", say=None)
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "m" / name).read_bytes(), name
    api.export(tmp_path / "m", tmp_path / "again", overwrite=True, say=None)


def test_a_set_with_a_card_gives_its_licence(info: ModelInfo, tmp_path: Path) -> None:
    assert str(collect_facts(tmp_path, info).data_licence).startswith("MIT")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"metrics": 3, "protocol": {}}', "[" * 100_000])
def test_a_damaged_record_is_left_out(info: ModelInfo, tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    assert collect_facts(tmp_path, info).results == {}
