"""`translate export MODEL TARGET`: files and folders that it writes, replaces and refuses."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from .conftest import (
    Fails,
    Run,
    pixels_of,
)
from .reference_files import generator


def test_an_export_says_where_it_is(run: Run, pth: Path, cyclegan_run: Path) -> None:
    out, err = run("export", pth, "deep/er/copy.pth")
    assert out == []
    assert err[-1] == "wrote deep/er/copy.pth"
    assert "resnet_1blocks" in err[0]
    written, given = (torch.load(path, weights_only=True) for path in ("deep/er/copy.pth", pth))
    assert list(written) == list(given)
    assert all(torch.equal(written[key], given[key]) for key in given)
    for to in ("a", "b"):
        run("export", cyclegan_run, f"{to}.pth", "--to", to)
    assert Path("a.pth").read_bytes() != Path("b.pth").read_bytes()
    assert [path.name for path in Path("deep/er").iterdir()] == ["copy.pth"]


def test_an_exported_file_is_a_model_again(run: Run, cyclegan_run: Path, photos: Path) -> None:
    run("export", cyclegan_run, "b.pth")
    run("export", cyclegan_run, "a.pth", "--to", "a")
    for name, model, to in (
        ("1", cyclegan_run, "b"),
        ("2", "b.pth", "b"),
        ("3", cyclegan_run, "a"),
        ("4", "a.pth", "b"),
    ):
        run("convert", model, photos, name, "--to", to, "--device", "cpu")
    for first, second in (("1", "2"), ("3", "4")):
        assert pixels_of(Path(first, "a.png")) == pixels_of(Path(second, "a.png"))
    assert pixels_of(Path("1", "a.png")) != pixels_of(Path("3", "a.png"))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("x.zip", ["x.zip", ".pth", ".onnx", ".pt2"]),
        ("there.pth", ["there.pth: exists", "--overwrite"]),
    ],
)
def test_targets_that_are_refused(fails: Fails, pth: Path, target: str, words: list[str]) -> None:
    Path("there.pth").write_text("mine")
    fails(["export", pth, target], 2, *words)


def test_a_file_is_replaced_when_asked(run: Run, pth: Path) -> None:
    Path("there.pth").write_text("mine")
    run("export", pth, "there.pth", "--overwrite")
    assert torch.load("there.pth", weights_only=True).keys() == generator().state_dict().keys()


@pytest.mark.parametrize(("dtype", "bits"), [("fp16", torch.float16), ("bf16", torch.bfloat16), (None, torch.float32)])
def test_a_folder_holds_the_rounded_weights_and_nothing_else(
    run: Run, cyclegan_run: Path, photos: Path, dtype: str | None, bits: torch.dtype
) -> None:
    flags = ["--dtype", dtype] if dtype else []
    assert run("export", cyclegan_run, "deep/small", *flags)[1] == ["wrote deep/small"]
    given, made = (load_file(folder / "model.safetensors") for folder in (cyclegan_run / "model", Path("deep/small")))
    assert made.keys() == given.keys()
    assert all(torch.equal(made[key], given[key].to(bits)) for key in given)
    assert json.loads(Path("deep/small/config.json").read_text()) == json.loads(
        (cyclegan_run / "model/config.json").read_text()
    )
    assert sorted(path.name for path in Path("deep/small").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    for to in ("a", "b"):
        run("convert", "deep/small", photos, f"made {to}", "--to", to, "--device", "cpu")
        assert list(Path(f"made {to}").glob("*.png"))


def test_half_precision_halves_the_file(run: Run, cyclegan_run: Path) -> None:
    run("export", cyclegan_run, "half", "--dtype", "fp16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (Path("half"), cyclegan_run / "model")]
    assert 0.5 < sizes[0] / sizes[1] < 0.6  # names are not halved


def test_a_model_folder_is_replaced_when_asked_and_nothing_else_ever(
    fails: Fails, run: Run, cyclegan_run: Path
) -> None:
    run("export", cyclegan_run, "there")
    fails(["export", cyclegan_run, "there"], 2, "there: holds a model already", "--overwrite")
    run("export", cyclegan_run, "there", "--overwrite", "--dtype", "fp16")
    Path("mine").mkdir()
    Path("mine/note.txt").write_text("mine")
    fails(["export", cyclegan_run, "mine", "--overwrite"], 2, "mine: holds more than a model (note.txt)")


def test_flags_of_the_other_format(fails: Fails, cyclegan_run: Path) -> None:
    fails(["export", cyclegan_run, "x.pth", "--dtype", "fp16"], 2, "--dtype fp16", "model folders")
    fails(["export", cyclegan_run, "x", "--dtype", "int8"], 2, "--dtype int8", "fp32, fp16, bf16")


def test_one_direction_alone_is_a_model_of_half_the_size(
    run: Run, fails: Fails, cyclegan_run: Path, photos: Path
) -> None:
    run("export", cyclegan_run, "both")
    run("export", cyclegan_run, "one", "--to", "a")
    sizes = [(Path(folder) / "model.safetensors").stat().st_size for folder in ("one", "both")]
    assert 0.4 < sizes[0] / sizes[1] < 0.6
    for model in ("both", "one"):
        run("convert", model, photos, f"made by {model}", "--to", "a", "--device", "cpu")
    for path in Path("made by both").glob("*.png"):
        assert Image.open(path).tobytes() == Image.open(Path("made by one") / path.name).tobytes()
    fails(["convert", "one", photos, "out", "--to", "b"], 2, "to a only", "'b'")
    fails(["export", cyclegan_run, "two", "--to", "c"], 2, "--to c", "b and a")


def test_directions_that_a_model_does_not_have(
    fails: Fails, run: Run, pth: Path, pth_folder: Path, photos: Path
) -> None:
    run("import-weights", pth, "one")
    for model in (pth, "one", pth_folder / "latest_net_G_B.pth"):
        fails(["export", model, "x.pth", "--to", "a"], 2, "--to a", str(model), "to b")
        fails(["convert", model, photos, "out", "--to", "a"], 2, "to b only", "'a'")
    fails(["export", pth_folder, "x.pth", "--to", "c"], 2, "--to c", "b and a")
    fails(["export", "nowhere", "x.pth"], 4, "nowhere")


def test_a_missing_extra_is_told_with_its_remedy(
    fails: Fails, cyclegan_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    fails(["export", cyclegan_run, "x.onnx"], 2, "x.onnx: ", " is not installed; run: uv sync --extra export")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for arguments in (["push", cyclegan_run, "anna/x"], ["convert", "hf://anna/x", cyclegan_run, "out"]):
        fails(arguments, 2, "huggingface_hub is not installed; run: uv sync --extra hub")


@pytest.mark.parametrize("name", ["there.onnx", "there.pt2"])
def test_programs_for_other_software_replace_nothing(fails: Fails, cyclegan_run: Path, name: str) -> None:
    Path(name).write_text("mine")
    fails(["export", cyclegan_run, name], 2, f"{name}: exists", "--overwrite")
    fails(["convert", "there.pt2" if name == "there.pt2" else "no.onnx", cyclegan_run, "out"], 4, name[-4:])
