"""`translate convert` with files of the reference as the model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import translate
from translate import cli

from .conftest import (
    Fails,
    Run,
    pixels_of,
)
from .reference_files import generator, save

NOTICE = "a U-Net's weights do not tell whether it has dropout"


def test_a_file_of_the_reference_converts_without_a_flag(run: Run, photos: Path, pth: Path) -> None:
    out, err = run("convert", pth, photos, "out")
    assert out == []
    assert err[-1].startswith("2 converted")
    model = translate.load(pth, device="cpu")
    for name in ("a.png", "b.png"):
        with Image.open(photos / name) as source, Image.open(Path("out") / name) as made:
            assert np.array_equal(np.asarray(made), np.asarray(model(source)))
    assert "0 converted, 2 done before" in run("convert", pth, photos, "out")[1][-1]
    run("convert", pth, photos / "a.png", "one.png")
    assert Path("one.png").read_bytes() == Path("out/a.png").read_bytes()


def test_the_whole_folder_converts_both_ways(run: Run, photos: Path, pth_folder: Path) -> None:
    for to in ("a", "b"):
        run("convert", pth_folder, photos, to, "--to", to)
    assert pixels_of(Path("a/a.png")) != pixels_of(Path("b/a.png"))
    run("convert", pth_folder / "latest_net_G_B.pth", photos, "single")
    assert pixels_of(Path("single/a.png")) == pixels_of(Path("a/a.png"))


def test_what_is_assumed_is_said_when_converting(run: Run, photos: Path) -> None:
    path = save("latest_net_G.pth", generator("unet_64", "batch", dropout=True))
    err = run("convert", path, photos, "on")[1]
    assert [NOTICE in line for line in err] == [True, False]
    out, err = run("convert", path, photos, "json", "--json")
    assert NOTICE in err[0]
    assert json.loads(out[0])["done"] == 2
    err = run("convert", path, photos, "off", "--dropout", "off")[1]
    assert not any(NOTICE in line for line in err)
    run("import-weights", path, "model", "--dropout", "off")
    err = run("convert", "model", photos, "model_off")[1]
    assert len(err) == 1
    made = {name: pixels_of(Path(name, "a.png")) for name in ("on", "json", "off", "model_off")}
    assert made["on"] == made["json"]
    assert made["off"] == made["model_off"] != made["on"]


def test_flags_that_change_the_output_convert_again(run: Run, photos: Path) -> None:
    path = save("latest_net_G.pth", generator("unet_64", "batch", dropout=True))
    for flags in (
        [], ["--dropout", "off"], ["--dropout", "off", "--norm-statistics", "running"], ["--pixels", "reference"],
        ["--precision", "fp64"],
    ):  # fmt: skip
        assert run("convert", path, photos, "out", *flags)[1][-1].startswith("2 converted"), flags
        assert run("convert", path, photos, "out", *flags)[1][-1].startswith("0 converted, 2 done before"), flags


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dropout", "on"], ["--dropout on", "latest_net_G_A.pth", "without dropout"]),
        (["--dropout", "yes"], ["--dropout yes", "on or off"]),
        (["--norm-statistics", "batch"], ["--norm-statistics batch", "sample, running"]),
        (["--pixels", "floor"], ["--pixels", "floor", "rounded"]),
    ],
)
def test_wrong_flags_of_a_conversion(fails: Fails, pth: Path, photos: Path, flags: list[str], words: list[str]) -> None:
    fails(["convert", pth, photos, "out", *flags], 2, *words)


def test_channels_that_pictures_do_not_have(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Arrays have them, and are translated; photos fail one by one."""
    path = save("x.pth", generator(channels=(4, 2)))
    np.save(photos / "four.npy", np.zeros((9, 11, 4), np.uint8))
    assert cli.run([str(x) for x in ("convert", path, photos, "out", "--device", "cpu")]) == 1
    assert "has 3 channels, but 4 are wanted" in capfd.readouterr().err
    assert np.load("out/four.npy").shape == (9, 11, 2)
