"""The description of a model: what is read is what is written, and what is damaged is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from translate.trained.folder import read_model_folder
from translate.trained.model_info import ModelInfo

KEPT = Path(__file__).parents[1] / "fixtures" / "v0_1"

EXAMPLE: dict[str, Any] = {
    "format": 1, "method": "cyclegan", "version": "0.1.0", "networks": {"generator": "resnet_1blocks"},
    "directions": {"b": "g_ab"}, "size": {"multiple_of": 4, "minimum": 8}, "domains": {"a": {"channels": 3, "range": [-1, 1]}},
    "norm_statistics": "sample", "dropout": "off",
    "trained_on": {"data": "horses", "images": 5, "crop_size": 32, "load_size": 35},
}  # fmt: skip


@pytest.mark.parametrize(
    "path", sorted(KEPT.rglob("config.json")), ids=lambda path: path.relative_to(KEPT).parent.as_posix()
)
def test_descriptions_of_version_0_1_are_written_back_byte_for_byte(path: Path) -> None:
    info = ModelInfo.read(path)
    assert (info.direction, info.preprocess) == (None, None)
    assert info.to_json() == path.read_text(encoding="utf-8")


def test_keys_of_later_versions_are_kept(tmp_path: Path) -> None:
    values = {**EXAMPLE, "direction": "b2a", "preprocess": "none", "licence": "CC0", "tags": ["map"]}
    info = ModelInfo.from_dict(values)
    assert (info.direction, info.preprocess, info.other) == ("b2a", "none", {"licence": "CC0", "tags": ["map"]})
    assert json.loads(replace(info, dropout="on").to_json()) == {**values, "dropout": "on"}


@pytest.mark.parametrize("key", ["method", "networks", "directions", "size", "domains", "norm_statistics", "dropout"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        ModelInfo.from_dict({name: value for name, value in EXAMPLE.items() if name != key})


@pytest.mark.parametrize("key", [*EXAMPLE, "imported_from", "direction", "preprocess"])
def test_a_value_of_a_wrong_type_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        ModelInfo.from_dict({**EXAMPLE, key: None})


@pytest.mark.parametrize("values", [None, 3, [], "text"])
def test_anything_but_an_object_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="object"):
        ModelInfo.from_dict(values)


def test_titles_name_the_data_or_the_imported_files() -> None:
    info = ModelInfo.from_dict(EXAMPLE)
    assert info.title == "cyclegan on horses"
    assert replace(info, trained_on=None, imported_from={"a.pth": "1", "b.pth": "2"}).title == "a.pth, b.pth"
    assert replace(info, trained_on=None).title == "cyclegan"


def test_a_model_of_version_0_1_in_a_run_knows_how_its_data_was_read(tmp_path: Path) -> None:
    for name in ("model", "model-best", "model-6", "elsewhere"):
        (tmp_path / name).mkdir()
        for path in (KEPT / "runs/cyclegan/model").iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.toml").write_text('direction = "b2a"\npreprocess = "scale_width"\n', encoding="utf-8")
    for name in ("model", "model-best", "model-6"):
        info = read_model_folder(tmp_path / name).info
        assert (info.direction, info.preprocess) == ("b2a", "scale_width")
    info = read_model_folder(tmp_path / "elsewhere").info
    assert (info.direction, info.preprocess) == (None, None)
    (tmp_path / "config.toml").write_text("damaged", encoding="utf-8")
    assert read_model_folder(tmp_path / "model").info == info


def test_reading_a_description_loads_no_torch() -> None:
    code = "import sys, translate.trained.model_info; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
