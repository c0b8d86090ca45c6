"""What `translate data check` finds: sets with known defects, each counted and named."""

import io
import json
import os
import socket

import imagehash
import numpy as np
import pytest
from PIL import Image

from translate import api, cli
from translate.data import layouts
from translate.dataset_check import check, near_duplicates
from translate.errors import UsageError


def noise(seed, height=40, width=40, channels=3):
    """A coarse pattern, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, channels), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def put(root, *names, **how):
    """Images of different contents; the name decides what each shows."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(list(name.encode("utf-8", "surrogateescape")), **how).save(path)
    return root


def unpaired(root, a=3, b=3):
    return put(root, *(f"trainA/a{i}.png" for i in range(a)), *(f"trainB/b{i}.png" for i in range(b)))


def report_of(root, **settings):
    return api.check_data(root, **{"crop_size": 32, **settings}, say=lambda line: None)


def run(capfd, *arguments):
    """Exit code, stdout and stderr of the command."""
    code = cli.run(["data", "check", *map(str, arguments)])
    return code, *capfd.readouterr()


# Counts and layouts.


def test_a_sound_set_has_nothing_to_report(tmp_path, capfd):
    code, out, err = run(capfd, unpaired(tmp_path), "--crop-size", "32")
    assert (code, err) == (0, "")
    assert out.endswith("nothing is wrong\n")


@pytest.mark.parametrize(
    ("names", "found", "side_by_side"),
    [
        (["trainA/1.png", "trainB/2.png"], ["unpaired"], False),
        (["trainA/1.png", "trainB/1.jpg"], ["paired", "unpaired"], False),
        (["trainA/1.png", "trainA/2.png", "trainA/3.png", "trainB/1.png"], ["unpaired"], False),
        (["train/1.png", "test/2.png"], ["paired", "unpaired"], True),
        (["1.png", "sub/2.jpg"], ["images"], False),
        (["notes.txt"], [], False),
    ],
)
def test_layouts_are_those_that_training_takes(tmp_path, names, found, side_by_side):
    put(tmp_path, *(name for name in names if not name.endswith("txt")))
    report = report_of(tmp_path)
    assert (report["layouts"], report["side_by_side"]) == (found, side_by_side)
    for layout in found:
        assert len(layouts.find_split(tmp_path, layout)) > 0


def test_counts_by_split_and_domain(tmp_path):
    unpaired(tmp_path, 5, 2)
    put(tmp_path, "testA/x.png", "valB/y.png", "valB/z.png", "valA/w.png")
    splits = report_of(tmp_path)["splits"]
    counts = {split: {domain: facts["files"] for domain, facts in row.items()} for split, row in splits.items()}
    assert counts == {"train": {"a": 5, "b": 2}, "val": {"a": 1, "b": 2}, "test": {"a": 1, "b": 0}}


def test_limit_decodes_so_many_of_each_folder(tmp_path):
    facts = report_of(unpaired(tmp_path, 7, 3), limit=4)["splits"]["train"]
    assert [(facts[name]["files"], facts[name]["checked"]) for name in "ab"] == [(7, 4), (3, 3)]


# Bad files.


def test_bad_files_are_named_with_the_reason(tmp_path):
    unpaired(tmp_path)
    folder = tmp_path / "trainA"
    buffer = io.BytesIO()
    noise(1, 200, 200).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (folder / "empty.png").touch()
    (folder / "text.webp").write_text("no picture")
    (folder / "print.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    (folder / "drawing.psd").write_bytes(b"8BPS")
    (folder / "notes.txt").write_text("not counted")
    facts = report_of(tmp_path)["splits"]["train"]["a"]
    assert (facts["files"], facts["readable"]) == (7, 3)
    reasons = {row["path"]: row["error"] for row in facts["unreadable"]}
    assert reasons.pop("trainA/cut.jpg").startswith("damaged image: ")
    assert reasons == {
        "trainA/empty.png": "empty file",
        "trainA/text.webp": "not an image",
        "trainA/print.jpg": "format not allowed",
    }
    assert facts["passed_over"] == [{"path": "trainA/drawing.psd", "reason": "format not allowed"}]


@pytest.mark.skipif(os.name != "posix", reason="pipes and such names are those of POSIX")
def test_what_is_no_file_is_passed_over_and_any_name_can_be_shown(tmp_path, capfd):
    unpaired(tmp_path)
    folder = tmp_path / "trainA"
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "folder.jpg").mkdir()
    put(tmp_path, "trainA/folder.jpg/inside.png")
    (folder / "linked").symlink_to(tmp_path / "trainB")
    line, bytes_ = folder / "two\nlines.jpg", os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.jpg")
    line.touch()
    open(bytes_, "w").close()
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(folder)  # the name of a socket must be short
        s.bind("socket.png")
    code, out, err = run(capfd, tmp_path, "--json")
    facts = json.loads(out)["splits"]["train"]["a"]
    assert (code, facts["files"], facts["readable"]) == (0, 6, 4)
    assert {row["path"].removeprefix("trainA/"): row["reason"] for row in facts["passed_over"]} == {
        "pipe.png": "not a regular file",
        "socket.png": "not a regular file",
        "device.png": "not a regular file",
        "gone.png": "broken link",
        "loop.png": "link loop",
        "folder.jpg": "folder named like an image",
        "linked": "linked folder, not entered",
    }
    assert {row["path"] for row in facts["unreadable"]} == {"trainA/two\nlines.jpg", "trainA/\udcff\udcfe.jpg"}
    code, out, err = run(capfd, tmp_path)
    assert r"trainA/two\nlines.jpg" in out
    assert r"trainA/\udcff\udcfe.jpg" in out
    assert (code, err) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="such names are those of POSIX")
def test_quarantine_lists_the_bad_files_and_touches_none(tmp_path, capfd):
    root = unpaired(tmp_path / "data")
    folder = root / "trainB"
    bad = ["plain.png", "two\nlines.png", "\udcff.png", '"quoted.png']
    for name in bad:
        (folder / name).write_bytes(b"bad")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "drawing.psd").touch()
    before = sorted(root.rglob("*"))
    target = tmp_path / "list"
    code, out, err = run(capfd, root, "--quarantine", target, "--json")
    assert (code, err) == (0, f"{target}: 5 bad files\n")
    json.loads(out)
    lines = target.read_bytes().splitlines()
    paths = [json.loads(line) if line.startswith(b'"') else os.fsdecode(line) for line in lines]
    assert sorted(paths) == sorted(str(folder / name) for name in [*bad, "gone.png"])
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["trainA", "trainA/a0.png"])
def test_quarantine_takes_the_place_of_no_image_and_no_folder(tmp_path, capfd, name):
    root = unpaired(tmp_path)
    before = (root / "trainA/a0.png").read_bytes()
    code, out, err = run(capfd, root, "--quarantine", root / name)
    assert (code, out) == (2, "")
    assert name in err
    assert (root / "trainA/a0.png").read_bytes() == before


# What images are like.


def test_kinds_of_images_are_counted(tmp_path):
    unpaired(tmp_path, 8, 1)
    a = tmp_path / "trainA"
    plain = noise(99)
    plain.convert("CMYK").save(a / "cmyk.jpg")
    plain.convert("P").save(a / "palette.png")
    plain.convert("L").save(a / "grey.jpg")
    plain.convert("RGBA").save(a / "alpha.png")
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40)).save(a / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(98, 40, 60).save(a / "turned.jpg", exif=exif)
    noise(97).save(a / "moving.gif", save_all=True, append_images=[noise(96)])
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
    put(tmp_path, "trainA/1.png", height=32, width=32)
    put(tmp_path, "trainA/2.png", height=31, width=70)
    put(tmp_path, "trainA/3.png", height=100, width=60)
    put(tmp_path, "trainB/4.png", height=100, width=100)
    facts = report_of(tmp_path, crop_size=32, load_size=50)["splits"]["train"]["a"]
    assert facts["size"] == {"min": [32, 31], "median": [60, 32], "max": [70, 100]}
    assert (facts["smaller_than_crop"], facts["smaller_than_load"]) == (1, 2)
    assert facts["aspect"] == {"min": 0.6, "max": 2.258}
    assert facts["extreme_aspect"] == 1


def test_imbalance_of_domains(tmp_path):
    report = report_of(unpaired(tmp_path, 10, 3))
    assert report["imbalance"] == {"train": 3.33}
    assert [line for line in report["warnings"] if "3.33 times" in line]
    (tmp_path / "trainA/a0.png").unlink()
    assert report_of(tmp_path)["warnings"] == []  # 3 : 1


# Pairs.


def test_images_without_a_partner_are_named(tmp_path):
    put(tmp_path, *(f"train{d}/{i}.png" for d in "AB" for i in range(4)), "trainA/x.png", "trainB/sub/0.png")
    put(tmp_path, "trainB/1.jpg")
    report = report_of(tmp_path)
    assert report["layouts"] == ["paired", "unpaired"]
    assert report["pairs"]["train"] == {
        "matched": 4,
        "unmatched": ["trainA/x.png", "trainB/sub/0.png"],
        "ambiguous": ["trainB/1.jpg", "trainB/1.png"],
        "sizes_differ": [],
    }
    assert report["errors"] == []  # unpaired methods take it


@pytest.mark.parametrize("partner", ["sub/1.png", "2.png"])
def test_forced_pairs_that_training_refuses(tmp_path, capfd, partner):
    put(tmp_path, "trainA/1.png", f"trainB/{partner}")
    assert run(capfd, tmp_path)[0] == 0
    code, out, err = run(capfd, tmp_path, "--layout", "paired", "--json")
    assert code == 3
    assert len(json.loads(out)["errors"]) == len(err.splitlines()) == 1


def test_pairs_whose_sides_differ(tmp_path):
    put(tmp_path / "twins", "trainA/1.png", "trainA/2.png", "trainB/1.png")
    put(tmp_path / "twins", "trainB/2.png", height=41)
    assert report_of(tmp_path / "twins")["pairs"]["train"]["sizes_differ"] == ["2"]
    put(tmp_path / "joined", "train/1.png", width=80)
    put(tmp_path / "joined", "train/2.png", width=81)
    report = report_of(tmp_path / "joined")
    assert report["pairs"]["train"]["sizes_differ"] == ["train/2.png"]
    assert report["splits"]["train"]["ab"]["size"]["max"] == [40, 40]


# Near-duplicates.


def test_near_duplicates_within_and_across_splits(tmp_path):
    unpaired(tmp_path, 6, 6)
    put(tmp_path, "testA/new.png", "testB/other.png")
    image = Image.open(tmp_path / "trainA/a1.png")
    image.save(tmp_path / "trainA/copy.jpg", quality=70)
    image.resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / "testA/larger.png")
    Image.open(tmp_path / "trainA/a2.png").save(tmp_path / "testB/of_the_other_domain.png")
    report = report_of(tmp_path)
    assert report["near_duplicates"] == {
        "a": {
            "within": {"train": 2},
            "in_train": {"test": 1},
            "groups": [["trainA/a1.png", "trainA/copy.jpg", "testA/larger.png"]],
        },
        "b": {"within": {}, "in_train": {}, "groups": []},
    }
    assert [line for line in report["warnings"] if line.startswith("test a: 1 images look like")]


def test_plain_images_of_different_colours_are_no_duplicates(tmp_path):
    """Their hashes are equal."""
    for i, colour in enumerate(["red", "blue", "lime", "#ff0400"]):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{i}.png")
    assert report_of(tmp_path)["near_duplicates"]["a"]["groups"] == [["0.png", "3.png"]]


def test_the_hash_is_the_one_of_the_library():
    for seed in range(5):
        image = noise(seed, 64, 48)
        value, _ = near_duplicates.hash_and_thumbnail(np.asarray(image))
        expected = int.from_bytes(np.packbits(imagehash.phash(image).hash.flatten()).tobytes(), "big")
        assert value == expected


@pytest.mark.parametrize("distance", [0, 1, 4, 9])
def test_groups_are_those_of_comparing_each_with_each(distance):
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**64, 60, dtype=np.uint64).repeat(5)
    for _ in range(6):  # up to six bits of each are turned
        turned = np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
        hashes ^= np.where(rng.random(len(hashes)) < 0.5, turned, np.uint64(0))
    colours = rng.choice(np.array([0, 200], np.uint8), (len(hashes), 1), p=[0.8, 0.2]).repeat(192, axis=1)
    apart = np.array([[(int(x) ^ int(y)).bit_count() for y in hashes] for x in hashes])
    linked = (apart <= distance) & (colours[:, :1] == colours[:, 0])
    for _ in range(9):
        linked = (linked.astype(int) @ linked) > 0  # what a third links
    expected = {tuple(np.flatnonzero(row)) for row in linked if row.sum() > 1}
    assert expected or distance == 0
    assert {tuple(group) for group in near_duplicates.group_near_duplicates(hashes, colours, distance)} == expected


def test_ten_thousand_equal_images_are_one_group():
    """As many pairs as would take minutes one by one."""
    count = 10_000
    (group,) = near_duplicates.group_near_duplicates(np.zeros(count, np.uint64), np.zeros((count, 192), np.uint8), 4)
    assert len(group) == count


# Memory.


def test_memory_is_that_of_the_images_at_load_size(tmp_path):
    report = report_of(unpaired(tmp_path, 3, 2), load_size=50)
    assert report["memory"]["resident"]["bytes"] == report["memory"]["ram"]["bytes"] == 5 * 3 * 50 * 50
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / "trainA/deep.png")
    assert report_of(tmp_path, load_size=50)["memory"]["ram"]["bytes"] == 7 * 3 * 50 * 50
    put(tmp_path / "joined", "train/1.png", width=80)
    assert report_of(tmp_path / "joined", load_size=50)["memory"]["ram"]["bytes"] == 2 * 3 * 50 * 50
    assert report["decoding"]["timed"] == 5
    assert report["decoding"]["images_per_epoch"] == 3


@pytest.mark.parametrize(("free", "chosen"), [(30_000, "resident"), (29_998, "stream")])
def test_the_tier_is_the_one_that_training_chooses(tmp_path, monkeypatch, free, chosen):
    monkeypatch.setattr("translate.runtime.memory.free_memory", lambda device: free)
    memory = report_of(unpaired(tmp_path, 1, 1), load_size=50, crop_size=50)["memory"]
    assert (memory["ram"]["bytes"], memory["ram"]["fits"]) == (15_000, chosen == "resident")
    assert memory["automatic"] == chosen


# Exit codes.


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
@pytest.mark.parametrize("defect", ["missing", "empty", "unreadable", "no train"])
def test_what_makes_training_impossible(tmp_path, capfd, defect, json_flag):
    root = put(tmp_path, "testA/1.png", "testB/1.png")
    if defect != "no train":
        put(root, "trainA/1.png")
    if defect in ("empty", "unreadable"):
        (root / "trainB").mkdir()
    if defect == "unreadable":
        (root / "trainB/1.png").write_text("no picture")
    code, out, err = run(capfd, root, *json_flag)
    assert code == 3
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert defect == "no train" or f"{root}/trainB: no" in err
    if json_flag:
        assert len(json.loads(out)["errors"]) == 1


@pytest.mark.parametrize("layout", [None, "unpaired", "paired", "images"])
def test_an_empty_folder(tmp_path, capfd, layout):
    code, out, err = run(capfd, tmp_path, "--json", *(["--layout", layout] if layout else []))
    assert (code, len(err.splitlines()), len(json.loads(out)["errors"])) == (3, 1, 1)


def test_a_missing_folder(tmp_path, capfd):
    code, out, err = run(capfd, tmp_path / "no", "--json")
    assert (code, out, len(err.splitlines())) == (3, "", 1)


@pytest.mark.parametrize(
    "flags", [{"layout": "nested"}, {"crop_size": 0}, {"load_size": 31}, {"distance": -1}, {"limit": 0}]
)
def test_settings_that_cannot_be(tmp_path, flags):
    with pytest.raises(UsageError, match=next(iter(flags)).replace("load_size", "crop-size").replace("_", "-")):
        report_of(unpaired(tmp_path), **flags)


# The table.


def test_the_table_fits_80_columns(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for split in ("train", "val", "test"):
        for d in "AB":
            put(tmp_path, *(f"{split}{d}/{i}{d}.png" for i in range(3)), height=30, width=2048)
            (tmp_path / f"{split}{d}" / "bad.png").touch()
    code, out, _ = run(capfd, tmp_path, "--crop-size", "32")
    assert code == 0
    paragraphs = out.replace(str(tmp_path), "ROOT").splitlines()
    assert max(map(len, paragraphs)) <= 80
    rows = {line[:15].rstrip(): line[15:].split() for line in paragraphs}
    assert rows["files"] == ["4"] * 6
    assert rows["unreadable"] == ["1"] * 6


# At the start of training.


def lines_of(root, crop=32, layout="unpaired"):
    return check.quick_check(root, layouts.find_split(root, layout), crop)


def test_training_says_what_a_person_should_know(tmp_path):
    assert lines_of(unpaired(tmp_path, 3, 9)) == []
    put(tmp_path, "trainB/one_more.png")
    (tmp_path / "trainA/drawing.psd").touch()
    (tmp_path / "trainA/sub").mkdir()
    (tmp_path / "trainA/sub/photo.HEIC").touch()
    imbalance, formats = lines_of(tmp_path)
    assert "10 images, the other 3" in imbalance
    assert "1 heic, 1 psd" in formats
    assert ["crop of 41 px" in line for line in lines_of(tmp_path, 41)] == [True, True, False, False]
    assert lines_of(tmp_path, None) == [imbalance, formats]


def test_halves_are_what_is_compared_with_the_crop(tmp_path):
    put(tmp_path, "train/1.png", width=80)
    assert lines_of(tmp_path, 40, "paired") == []
    assert len(lines_of(tmp_path, 41, "paired")) == 2


def test_the_quick_check_reads_a_bounded_number_of_headers(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(check, "read_header", lambda path, frames: opened.append(path))
    root = tmp_path
    for name in ("trainA", "trainB"):
        (root / name).mkdir()
        for i in range(200):
            (root / name / f"{i}.png").touch()
    assert lines_of(root) == []
    assert len(opened) == 2 * check.PROBED
