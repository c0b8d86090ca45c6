"""Check of data folders with domains or a table of attributes, and of folders of images."""

import pytest

from translate import cli
from translate.data import layouts
from translate.dataset_check import quick

from .helpers import report_of, run_data_check, write_images


def counts(report):
    return {split: {name: facts["files"] for name, facts in row.items()} for split, row in report["splits"].items()}


def domains(root, **sizes):
    return write_images(root, *(f"train/{name}/{i}.png" for name, count in sizes.items() for i in range(count)))


def test_two_domains_are_told_what_methods_of_two_domains_need(tmp_path, capfd):
    domains(tmp_path, A=2, B=2)
    shown = " ".join(run_data_check(capfd, tmp_path)[1].split())
    assert "A, B are read as such by stargan; cyclegan, pix2pix and kin need them as trainA/ and trainB/" in shown
    domains(tmp_path, C=2)
    assert "trainA" not in run_data_check(capfd, tmp_path)[1]


@pytest.mark.parametrize("names", [("x", "y", "z"), ("a", "b"), ("ab", "x")])
def test_domains_are_told_by_their_folders(tmp_path, names):
    """Their names may be those that two domains have elsewhere."""
    domains(tmp_path, **dict.fromkeys(names, 2))
    write_images(tmp_path, f"test/{names[1]}/9.png")
    report = report_of(tmp_path, load_size=50)
    assert report["layouts"] == ["domains", "images"]
    assert report["side_by_side"] is False
    assert counts(report) == {"train": dict.fromkeys(names, 2), "test": {names[1]: 1}}
    assert report["errors"] == report["warnings"] == []
    assert report["pairs"] == {}
    assert report["memory"]["ram"]["bytes"] == 2 * len(names) * 3 * 50 * 50
    assert report["decoding"]["images_per_epoch"] == 2 * len(names)


def test_a_table_of_attributes_is_checked(tmp_path):
    write_images(tmp_path, "train/1.png", "train/2.png")
    (tmp_path / "attributes.csv").write_text("file,x\n1.png,1\n2.png,0\n")
    report = report_of(tmp_path)
    assert (report["layouts"], counts(report), report["errors"]) == (["domains", "images"], {"train": {"a": 2}}, [])
    (tmp_path / "attributes.csv").write_text("file,x\n1.png,1\n2.png,yes\n")
    (error,) = report_of(tmp_path)["errors"]
    assert "row 3: x is 'yes'" in error


def test_what_training_refuses_is_an_error_of_every_split(tmp_path, capfd):
    domains(tmp_path, x=1, y=1)
    write_images(tmp_path, "test/w/1.png")
    (error,) = report_of(tmp_path)["errors"]
    assert "test/w: " in error
    assert cli.run(["data", "check", str(tmp_path), "--crop-size", "32"]) == 3
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_domain_without_a_good_image(tmp_path):
    domains(tmp_path, x=1, y=1)
    (tmp_path / "train/y/0.png").write_text("no image")
    assert [error.partition(":")[0] for error in report_of(tmp_path)["errors"]] == [str(tmp_path / "train/y")]


@pytest.mark.parametrize("layout", ["domains", "images"])
def test_a_layout_that_the_folder_has_not(tmp_path, layout):
    write_images(tmp_path, "trainA/1.png", "trainB/1.png")
    (error,) = report_of(tmp_path, layout=layout)["errors"]
    assert ("ROOT/train: no such" if layout == "domains" else "two domains; give one") in error.replace(
        str(tmp_path), "ROOT"
    )


def test_a_folder_of_images_is_checked_as_it_is_trained_on(tmp_path):
    write_images(tmp_path, "train/1.png", "train/2.png", "test/3.png")
    assert counts(report_of(tmp_path, layout="images")) == {"train": {"a": 2}, "test": {"a": 1}}
    assert counts(report_of(write_images(tmp_path / "plain", "1.png"), layout="images")) == {"train": {"a": 1}}


def test_domains_that_are_rare(tmp_path):
    domains(tmp_path, x=2, y=7, z=3)
    report = report_of(tmp_path)
    assert report["imbalance"] == {"train": 3.5}
    assert [line for line in report["warnings"] if "3.5 times as many images as another" in line]
    (line,) = quick.quick_check(tmp_path, layouts.find_split(tmp_path, "domains"), 32)
    assert "y has 7 images, x 2" in line
    (tmp_path / "train/y/0.png").unlink()
    assert quick.quick_check(tmp_path, layouts.find_split(tmp_path, "domains"), 32) == []
    (small,) = quick.quick_check(tmp_path, layouts.find_split(tmp_path, "domains"), 41)
    assert small.startswith("data: all of the images are smaller than the crop of 41 px")


def test_tables_of_many_domains_fit_80_columns(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    domains(tmp_path, **{f"domain_{i:02d}": 1 for i in range(12)})
    assert cli.run(["data", "check", str(tmp_path), "--crop-size", "32"]) == 0
    lines = capfd.readouterr().out.replace(str(tmp_path), "ROOT").splitlines()
    assert max(map(len, lines)) <= 80
    heads = [name for line in lines for name in line.split() if name.startswith("train/")]
    assert heads == [f"train/domain_{i:02d}" for i in range(12)]
    assert [line.split()[1:] for line in lines if line.startswith("files")] == [["1"] * 3] * 4
