"""Models of many domains in conversion: each target by its name, and all of them side by side."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import translate
from translate import cli
from translate.errors import UsageError
from translate.methods import METHODS
from translate.trained import translator
from translate.trained.translator import Translator


@pytest.fixture(scope="module")
def folder(build) -> Path:
    return build("stargan", domains="cat,dog,owl", crop_size=32, load_size=32)


@pytest.fixture(scope="module")
def ready(folder) -> Translator:
    return translator.load(folder, device="cpu")


@pytest.fixture(scope="module")
def faces(build) -> Translator:
    made = build("stargan", domains="dark,young", attributes=True, crop_size=32, load_size=32)
    return translator.load(made, device="cpu")


def image(height: int = 20, width: int = 27) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height)) * 2 - 1


def test_each_target_is_its_own_and_keeps_the_size(ready):
    made = [ready(image(), to) for to in ("cat", "dog", "owl")]
    assert {x.shape for x in made} == {(1, 3, 20, 27)}
    assert not any(torch.allclose(made[i], made[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_all_is_the_picture_and_every_target_in_a_row(ready):
    whole = ready(image(), "all")
    assert whole.shape == (1, 3, 20, 4 * 27)
    columns = [image(), *(ready(image(), to) for to in ("cat", "dog", "owl"))]
    torch.testing.assert_close(whole, torch.cat(columns, 3), rtol=0, atol=0)


def test_attributes_are_named_together_in_any_order(faces):
    both = faces(image(), "dark,young")
    torch.testing.assert_close(faces(image(), "young, dark"), both, rtol=0, atol=0)
    others = [faces(image(), to) for to in ("dark", "young", "none")]
    assert not any(torch.allclose(both, other) for other in others)
    assert faces(image(), "all").shape == (1, 3, 20, 3 * 27)


def test_targets_that_it_does_not_have(ready, faces):
    with pytest.raises(UsageError, match=r"cat, dog, owl or all, not to 'b'"):
        ready(image(), "b")
    with pytest.raises(UsageError, match="'cat,dog'"):
        ready(image(), "cat,dog")
    with pytest.raises(UsageError, match="not to 'old'"):
        faces(image(), "dark,old")


def test_a_folder_to_all_domains_keeps_transparency(folder, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (18, 22, 4), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels, "RGBA").save(tmp_path / "photos/x.png")
    words = ["convert", str(folder), str(tmp_path / "photos"), str(tmp_path / "out"), "--to", "all", "--device", "cpu"]
    assert cli.run([*words, "--report"]) == 0
    with Image.open(tmp_path / "out/x.png") as made:
        assert (made.mode, made.size) == ("RGBA", (4 * 22, 18))
        alpha = np.asarray(made)[:, :, 3]
    assert (alpha == np.tile(pixels[:, :, 3], (1, 4))).all()
    line = json.loads((tmp_path / "out/manifest.jsonl").read_text().splitlines()[-1])
    assert (line["status"], line["settings"]["to"]) == ("done", "all")
    assert (tmp_path / "out/report.html").is_file()
    capsys.readouterr()


def test_status_names_the_domains(folder, capsys):
    assert cli.run(["status", str(folder)]) == 0
    assert "to cat, dog, owl (3 channels)" in capsys.readouterr().out


def test_tiles_are_refused(folder, tmp_path, capsys):
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    words = ["convert", str(folder), str(tmp_path / "x.png"), str(tmp_path / "y.png"), "--to", "cat", "--tile", "32"]
    assert cli.run(words) == 2
    assert "--tile 32: a stargan" in capsys.readouterr().err


@pytest.fixture(scope="module")
def hair(build) -> Path:
    return build("stargan", domains="black,blond,brown", crop_size=32, load_size=36)


def test_figures_are_of_the_other_domains_images_against_those_of_the_target(hair, domains_root):
    found = translate.evaluate(hair, domains_root, to="blond", metrics=["swd", "edge_correlation"], device="cpu")
    assert found["metrics"].keys() >= {"swd", "edge_correlation"}
    known = found["protocol"]
    assert (known["output_images"], known["real_images"], known["to"]) == (
        4,
        2,
        "blond",
    )  # 2 of each domain are held out


def test_references_of_a_domain_are_made_of_the_images_of_the_others(hair, domains_root, monkeypatch):
    """Copying is a model that leaves images as they are; real images of blond are those of training."""
    monkeypatch.setattr(METHODS["stargan"], "translate", lambda self, x, to, key=None: x)
    found = translate.evaluate(hair, domains_root, to="blond", metrics=["swd"], device="cpu")
    for key, row in found["metrics"].items():
        assert found["copying"][key] == {"value": row["value"], "error": row["error"]}
    assert found["colour_map"].keys() == found["metrics"].keys()
    folders = {"real": domains_root / "test" / "blond", "fake": domains_root / "train" / "blond"}
    known = translate.evaluate(**folders, metrics=["swd"], size=36, device="cpu")["metrics"]
    assert {key: row["value"] for key, row in found["real"].items()} == {
        key: row["value"] for key, row in known.items()
    }


def test_figures_need_one_target(hair, domains_root):
    with pytest.raises(UsageError, match="--to all"):
        translate.evaluate(hair, domains_root, to="all", device="cpu")
    with pytest.raises(UsageError, match="not to 'b'"):
        translate.evaluate(hair, domains_root, device="cpu")
