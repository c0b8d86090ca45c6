"""`translate import-weights`: what it finds, writes and refuses in files of the reference."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import (
    Fails,
    Run,
    contents,
    row,
)
from .reference_files import discriminator, generator, save

NOTICE = "a U-Net's weights do not tell whether it has dropout"


def test_an_import_shows_what_was_found(run: Run, pth_folder: Path) -> None:
    out, err = run("import-weights", pth_folder, "new/model")
    assert err == []
    assert out[:-2] == run("status", "new/model")[0]
    assert out[-1] == "use it          translate convert new/model photos out"
    assert row(out, "method") == "cyclegan"
    assert row(out, "translates") == "a (3 channels) → b (3), b (3 channels) → a (3)"
    assert row(out, "generator").startswith("resnet_1blocks, width 4, instance norm")
    assert row(out, "discriminators").startswith("d_a, d_b: basic, width 4, instance norm")
    assert all(f"latest_net_{name}.pth" in row(out, "imported from") for name in ("G_A", "G_B", "D_A", "D_B"))
    assert {path.name for path in Path("new").iterdir()} == {"model"}


def test_an_assumption_is_one_line_on_stderr(run: Run) -> None:
    path = save("latest_net_G.pth", generator("unet_32", "batch"))
    out, err = run("import-weights", path, "model")
    assert len(err) == 1
    assert NOTICE in err[0]
    assert "--dropout on|off" in err[0]
    assert row(out, "dropout").startswith("on")
    for dropout in ("on", "off"):
        out, err = run("import-weights", path, "model", "--dropout", dropout, "--overwrite")
        assert err == []
        assert row(out, "dropout").startswith(dropout)
    out, err = run("import-weights", path, "model", "--norm-statistics", "running", "--overwrite")
    assert row(out, "norm_statistics").startswith("running")


def test_an_epoch_is_chosen(run: Run, fails: Fails) -> None:
    for epoch in ("5", "10", "iter_1000"):
        save(f"ref/{epoch}_net_G.pth", generator())
    assert row(run("import-weights", "ref", "model")[0], "imported from") == "10_net_G.pth"
    for epoch in ("5", "iter_1000"):
        out, _ = run("import-weights", "ref", "model", "--epoch", epoch, "--overwrite")
        assert row(out, "imported from") == f"{epoch}_net_G.pth"
    fails(["import-weights", "ref", "other", "--epoch", "7"], 4, "ref", "'7'", "iter_1000, 5, 10")
    fails(["import-weights", "ref/5_net_G.pth", "other", "--epoch", "5"], 2, "--epoch 5", "single file")


def test_a_model_is_replaced_only_when_asked(run: Run, fails: Fails, pth: Path) -> None:
    run("import-weights", pth, "model")
    before = contents()
    fails(["import-weights", pth, "model"], 2, "model: holds a model already", "--overwrite")
    other = save("other.pth", generator(key=1))
    run("import-weights", other, "model", "--overwrite")
    after = contents()
    assert {path for path in after if before.get(path) != after[path]} == {
        Path("../work/other.pth"), *(Path("../work/model") / name for name in ("README.md", "config.json",
                                                                            "model.safetensors"))}  # fmt: skip
    assert not [path for path in Path().iterdir() if path.name.startswith(".")], "nothing half-done is left"


def test_an_import_without_discriminators_replaces_one_with_them(run: Run, pth_folder: Path, pth: Path) -> None:
    run("import-weights", pth_folder, "model")
    out, _ = run("import-weights", pth, "model", "--overwrite")
    assert not [line for line in out if line.startswith("discriminators")]
    assert {path.name for path in Path("model").iterdir()} == {"README.md", "config.json", "model.safetensors"}


def test_an_empty_folder_is_filled(run: Run, pth: Path) -> None:
    Path("model").mkdir()
    run("import-weights", pth, "model")
    assert Path("model/config.json").is_file()


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_what_is_no_model_is_never_replaced(
    fails: Fails, run: Run, pth: Path, cyclegan_run: Path, flags: list[str]
) -> None:
    Path("file").write_text("mine")
    fails(["import-weights", pth, "file", *flags], 2, "file: is a file")
    Path("photos").mkdir()
    Path("photos/mine.jpg").write_text("mine")
    fails(["import-weights", pth, "photos", *flags], 2, "photos", "mine.jpg", "new folder")
    run("import-weights", pth, "model")
    Path("model/notes.txt").write_text("mine")
    fails(["import-weights", pth, "model", *flags], 2, "model", "notes.txt")
    Path("full/sub").mkdir(parents=True)
    fails(["import-weights", pth, "full", *flags], 2, "full", "sub")
    fails(["import-weights", pth, cyclegan_run, *flags], 2, "run")
    fails(["import-weights", pth, ".", *flags], 2, ": holds more than a model")


def test_an_import_into_its_own_source_is_refused(fails: Fails, pth_folder: Path) -> None:
    for flags in ([], ["--overwrite"]):
        fails(["import-weights", pth_folder, pth_folder, *flags], 2, "latest_net_D_A.pth")
        fails(
            ["import-weights", pth_folder / "latest_net_G_A.pth", pth_folder / "latest_net_G_A.pth", *flags],
            2,
            "is a file",
        )


def test_a_failed_import_leaves_the_old_model(fails: Fails, run: Run, pth: Path) -> None:
    run("import-weights", pth, "model")
    Path("bad.pth").write_bytes(b"no weights")
    fails(["import-weights", "bad.pth", "model", "--overwrite"], 4, "bad.pth")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.pth", "model"], 4, ["nowhere.pth", "no such file"]),
        (["nowhere/", "model"], 4, ["nowhere", "no such file"]),
        (["empty", "model"], 4, ["empty", "_net_", "G_A"]),
        (["latest_net_G_A.pth", "model", "--dropout", "maybe"], 2, ["--dropout maybe", "on or off"]),
        (["latest_net_G_A.pth", "model", "--dropout", "on"], 2, ["--dropout on", "latest_net_G_A.pth", "without"]),
        (
            ["latest_net_G_A.pth", "model", "--norm-statistics", "batch"],
            2,
            ["--norm-statistics batch", "sample, running"],
        ),
        (["latest_net_G_A.pth"], 2, ["FOLDER"]),
        (["latest_net_G_A.pth", "model", "--width", "4"], 2, ["--width"]),
    ],
)
def test_imports_that_are_refused(fails: Fails, pth: Path, arguments: list[str], code: int, words: list[str]) -> None:
    Path("empty").mkdir()
    fails(["import-weights", *arguments], code, *words)


class Code:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (Path("was run"),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_every_command_refuses_a_pickle_with_code(fails: Fails, photos: Path, zipped: bool) -> None:
    torch.save({**generator().state_dict(), "x": Code()}, "x.pth", _use_new_zipfile_serialization=zipped)
    for arguments in (
        ["import-weights", "x.pth", "model"],
        ["status", "x.pth"],
        ["export", "x.pth", "y.pth"],
        ["convert", "x.pth", photos, "out"],
    ):
        fails(arguments, 4, "x.pth: refused", "code")
    assert not Path("was run").exists()


def test_discriminators_alone_can_be_kept_but_translate_nothing(run: Run, fails: Fails, photos: Path) -> None:
    for side in "AB":
        save(f"ref/latest_net_D_{side}.pth", discriminator())
    out, err = run("import-weights", "ref", "model")
    assert err == []
    assert out == run("status", "model")[0]
    assert row(out, "discriminators").startswith("d_a, d_b: basic")
    assert json.loads(run("status", "model", "--json")[0][0])["directions"] == {}
    for model in ("model", "ref", "ref/latest_net_D_A.pth"):
        fails(["convert", model, photos, "out"], 4, "discriminators only")
        fails(["export", model, "x.pth"], 2, "discriminators only")


def test_bare_names_are_found(run: Run, pth_folder: Path) -> None:
    """The source in checkpoints/, where the reference has it, and the model here, where it was written to."""
    Path("checkpoints").mkdir()
    pth_folder.rename(Path("checkpoints", "horse2zebra"))
    out, _ = run("import-weights", "horse2zebra", "horses")
    assert out[-1] == "use it          translate convert horses photos out"
    assert row(run("status", "horses")[0], "model") == "horses"
