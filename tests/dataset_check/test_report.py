"""Sections of the report of `translate data check`: kinds, sizes, pairs, memory."""

import json

import numpy as np
import pytest
from PIL import Image

from ..helpers import smooth_image
from .helpers import report_of, run_data_check, write_images, write_unpaired

# What images are like.


def test_kinds_of_images_are_counted(tmp_path):
    write_unpaired(tmp_path, 8, 1)
    a = tmp_path / "trainA"
    plain = smooth_image(99)
    plain.convert("CMYK").save(a / "cmyk.jpg")
    plain.convert("P").save(a / "palette.png")
    plain.convert("L").save(a / "grey.jpg")
    plain.convert("RGBA").save(a / "alpha.png")
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40)).save(a / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth_image(98, 40, 60).save(a / "turned.jpg", exif=exif)
    smooth_image(97).save(a / "moving.gif", save_all=True, append_images=[smooth_image(96)])
    np.save(a / "five.npy", np.zeros((40, 40, 5), np.float32))
    report = report_of(tmp_path)
    facts = report["splits"]["train"]["a"]
    assert facts["unreadable"] == []
    assert facts["kinds"] == {
        "16-bit": 1,
        "5 channels": 1,
        "alpha": 1,
        "animated": 1,
        "cmyk": 1,
        "exif-rotated": 1,
        "float": 1,
        "grey": 2,
        "palette": 2,
    }
    assert facts["size"]["max"] == [40, 60]  # as seen
    assert any("2 of 16 images are grey" in line for line in report["warnings"])


def test_sizes_against_the_crop(tmp_path):
    write_images(tmp_path, "trainA/1.png", height=32, width=32)
    write_images(tmp_path, "trainA/2.png", height=31, width=70)
    write_images(tmp_path, "trainA/3.png", height=100, width=60)
    write_images(tmp_path, "trainB/4.png", height=100, width=100)
    facts = report_of(tmp_path, crop_size=32, load_size=50)["splits"]["train"]["a"]
    assert facts["size"] == {"min": [32, 31], "median": [60, 32], "max": [70, 100]}
    assert (facts["smaller_than_crop"], facts["smaller_than_load"]) == (1, 2)
    assert facts["aspect"] == {"min": 0.6, "max": 2.258}
    assert facts["extreme_aspect"] == 1


def test_imbalance_of_domains(tmp_path):
    report = report_of(write_unpaired(tmp_path, 10, 3))
    assert report["imbalance"] == {"train": 3.33}
    assert [line for line in report["warnings"] if "3.33 times" in line]
    (tmp_path / "trainA/a0.png").unlink()
    assert report_of(tmp_path)["warnings"] == []  # 3 : 1


# Pairs.


def test_images_without_a_partner_are_named(tmp_path):
    write_images(tmp_path, *(f"train{d}/{i}.png" for d in "AB" for i in range(4)), "trainA/x.png", "trainB/sub/0.png")
    write_images(tmp_path, "trainB/1.jpg")
    report = report_of(tmp_path)
    assert report["layouts"] == ["paired", "unpaired"]
    assert report["pairs"]["train"] == {
        "matched": 3,
        "rule": None,
        "unmatched": ["trainA/1.png", "trainA/x.png", "trainB/sub/0.png"],
        "ambiguous": ["trainB/1.jpg", "trainB/1.png"],
        "sizes_differ": [],
    }
    assert report["errors"] == []  # unpaired methods take it


def test_pairs_of_other_names_and_how_they_match(tmp_path, capfd):
    write_images(tmp_path, *(f"train{side}/{i}_{side}.png" for side in "AB" for i in range(3)))
    pairs = report_of(tmp_path, layout="paired")["pairs"]["train"]
    assert (pairs["matched"], pairs["unmatched"], pairs["rule"]) == (3, [], "without the endings '_A' and '_B'")
    assert "3, matched without the endings '_A' and '_B', 0 images" in " ".join(
        run_data_check(capfd, tmp_path)[1].split()
    )


@pytest.mark.parametrize("partner", ["sub/1.png", "2.png"])
def test_forced_pairs_that_training_refuses(tmp_path, capfd, partner):
    write_images(tmp_path, "trainA/1.png", f"trainB/{partner}")
    assert run_data_check(capfd, tmp_path)[0] == 0
    code, out, err = run_data_check(capfd, tmp_path, "--layout", "paired", "--json")
    assert code == 3
    assert len(json.loads(out)["errors"]) == len(err.splitlines()) == 1


def test_pairs_whose_sides_differ(tmp_path):
    write_images(tmp_path / "twins", "trainA/1.png", "trainA/2.png", "trainB/1.png")
    write_images(tmp_path / "twins", "trainB/2.png", height=41)
    assert report_of(tmp_path / "twins")["pairs"]["train"]["sizes_differ"] == ["2"]
    write_images(tmp_path / "joined", "train/1.png", width=80)
    write_images(tmp_path / "joined", "train/2.png", width=81)
    report = report_of(tmp_path / "joined")
    assert report["pairs"]["train"]["sizes_differ"] == ["train/2.png"]
    assert report["splits"]["train"]["ab"]["size"]["max"] == [40, 40]


# Memory.


def test_memory_is_that_of_the_images_at_load_size(tmp_path):
    report = report_of(write_unpaired(tmp_path, 3, 2), load_size=50)
    assert report["memory"]["resident"]["bytes"] == report["memory"]["ram"]["bytes"] == 5 * 3 * 50 * 50
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / "trainA/deep.png")
    assert report_of(tmp_path, load_size=50)["memory"]["ram"]["bytes"] == 7 * 3 * 50 * 50
    write_images(tmp_path / "joined", "train/1.png", width=80)
    assert report_of(tmp_path / "joined", load_size=50)["memory"]["ram"]["bytes"] == 2 * 3 * 50 * 50
    assert report["decoding"]["timed"] == 5
    assert report["decoding"]["images_per_epoch"] == 3


@pytest.mark.parametrize(("free", "chosen"), [(30_000, "resident"), (29_998, "stream")])
def test_the_tier_is_the_one_that_training_chooses(tmp_path, monkeypatch, free, chosen):
    monkeypatch.setattr("translate.runtime.memory.free_memory", lambda device: free)
    memory = report_of(write_unpaired(tmp_path, 1, 1), load_size=50, crop_size=50)["memory"]
    assert (memory["ram"]["bytes"], memory["ram"]["fits"]) == (15_000, chosen == "resident")
    assert memory["automatic"] == chosen
