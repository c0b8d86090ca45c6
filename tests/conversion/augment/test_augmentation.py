"""Augmentation of a labelled set as a job: what is in the output, that nothing leaks or is lost, and what is refused."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Build, fingerprint
from tests.helpers import server_of_processes
from translate import images
from translate.conversion import committer
from translate.conversion.augment import augmentation
from translate.conversion.augment.augment_options import AugmentOptions, AugmentResult
from translate.errors import DataError, UsageError
from translate.trained import translator
from translate.trained.translator import Translator

from .helpers import coco, write_set

Augment = Callable[..., AugmentResult]


@pytest.fixture
def augment(tmp_path: Path, cyclegan: Translator) -> Augment:
    """Augments tmp_path/in into tmp_path/out by a small model; after each call the set must be what it was."""

    def run(model: Translator | None = None, out: str = "out", **options: object) -> AugmentResult:
        root = tmp_path / "in"
        before = fingerprint(root, tmp_path / out)
        try:
            return augmentation.augment(model or cyclegan, root, tmp_path / out, AugmentOptions(**options))  # type: ignore[arg-type]
        finally:
            assert fingerprint(root, tmp_path / out) == before, "the set was changed"

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in images.list_files(folder)}


def without_records(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(folder).items() if name not in ("manifest.jsonl", augmentation.RECORD)}


CLASSES = [f"{split}/{name}/{n}.png" for split in ("train", "test") for name in ("cat", "dog") for n in range(4)]


def test_originals_are_copied_and_training_images_translated(tmp_path: Path, augment: Augment) -> None:
    root = write_set(tmp_path / "in", *CLASSES, "notes.md=hello")
    result = augment(ratio=0.5)
    found = without_records(tmp_path / "out")
    made = {name: data for name, data in found.items() if "translated" in name}
    assert {name: data for name, data in found.items() if name not in made} == files(root)
    assert (result.originals, result.training, result.done, result.classes) == (16, 8, 4, {"cat": 2, "dog": 2})
    assert all(name.startswith("train/") for name in made)
    assert {name.split("/")[1] for name in made} == {"cat", "dog"}


def test_a_translation_is_that_of_the_model(tmp_path: Path, augment: Augment, cyclegan: Translator) -> None:
    root = write_set(tmp_path / "in", "cat/1.png")
    augment()
    expected = cyclegan(np.asarray(Image.open(root / "cat/1.png")))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/cat/1-translated.png")), expected)


def test_labels_of_all_kinds_are_kept(tmp_path: Path, augment: Augment) -> None:
    names = ["images/train/1.png", "images/train/2.png", "images/val/3.png"]
    masks = [name.replace("images", "masks") for name in names]
    yolo = [f"{Path(name.replace('images', 'labels')).with_suffix('.txt')}=0 0.5 0.5 0.2 0.2\n" for name in names]
    root = write_set(
        tmp_path / "in", *names, *masks, *yolo,
        f"annotations/train.json={coco('1.png', '2.png')}", f"annotations/val.json={coco('3.png')}",
    )  # fmt: skip
    result = augment(allow_moving=True)
    found, given = without_records(tmp_path / "out"), files(root)
    for number in "12":
        assert found[f"masks/train/{number}-translated.png"] == given[f"masks/train/{number}.png"]
        assert found[f"labels/train/{number}-translated.txt"] == given[f"labels/train/{number}.txt"]
    assert found["annotations/val.json"] == given["annotations/val.json"]
    listed = json.loads(found["annotations/train.json"])
    assert [image["file_name"] for image in listed["images"][2:]] == ["1-translated.png", "2-translated.png"]
    assert [image["image_id"] for image in listed["annotations"]] == [10, 11, 12, 13]
    assert not [name for name in found if "val" in name and "translated" in name]
    assert result.label_files == 6


def test_again_nothing_is_done_and_nothing_changes(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", "cat/1.png", "cat/2.png", "a.csv=file,label\n1.png,c\n")
    first = augment()
    before = {path: path.stat().st_mtime_ns for path in images.list_files(tmp_path / "out") if path.suffix != ".json"}
    again = augment()
    assert (first.done, first.copied, again.done, again.copied, again.skipped) == (2, 2, 0, 0, 2)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_result_does_not_depend_on_what_was_done_before(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", *CLASSES, "a.csv=file,xmin\ntrain/cat/1.png,c\n")
    augment(allow_moving=True)
    augment(out="other", allow_moving=True)
    damaged = tmp_path / "out"
    (damaged / "train/cat/1-translated.png").unlink()
    (damaged / "train/dog/1.png").write_bytes(b"")
    (damaged / "a.csv").unlink()
    augment(allow_moving=True)
    assert without_records(damaged) == without_records(tmp_path / "other")


def test_a_failed_image_is_listed_and_has_no_labels(tmp_path: Path, augment: Augment) -> None:
    root = write_set(tmp_path / "in", "cat/1.png", "cat/2.png", "a.csv=file,label\n1.png,c\n2.png,c\n")
    (root / "cat/2.png").write_bytes(b"no image")
    result = augment()
    assert list(result.failures) == ["cat/2.png"]
    assert (tmp_path / "out/cat/2.png").read_bytes() == b"no image"
    assert (tmp_path / "out/a.csv").read_text() == "file,label\n1.png,c\n2.png,c\n1-translated.png,c\n"


def test_a_deterministic_model_has_one_output_in_each_direction(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", "cat/1.png", "cat/2.png")
    with pytest.raises(UsageError, match=r"--ratio 1.5: cyclegan has one output .* at most 1 with --to b"):
        augment(ratio=1.5)
    assert not (tmp_path / "out").exists()
    result = augment(ratio=2.0, to="b,a", report=True)
    assert result.done == 4
    assert (tmp_path / "out/report-a.html").exists()
    assert len({(tmp_path / f"out/cat/1-translated{end}.png").read_bytes() for end in ("", "-1")}) == 2


def test_a_model_with_noise_gives_as_many_as_are_asked_for(
    tmp_path: Path, augment: Augment, pix2pix: Translator
) -> None:
    write_set(tmp_path / "in", "cat/1.png")
    assert augment(pix2pix, ratio=3).done == 3
    made = [Image.open(tmp_path / f"out/cat/1-translated{end}.png") for end in ("", "-1", "-2")]
    assert len({np.asarray(image).tobytes() for image in made}) == 3


def test_a_model_that_moves_shapes_is_refused_where_labels_have_places(
    tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "in", "images/1.png", "masks/1.png")
    monkeypatch.setattr(augmentation, "measure_edge_correlation", lambda *given: 0.3)
    with pytest.raises(UsageError, match=r"correlation of 0.30, less than 0.55.*--allow-moving"):
        augment()
    assert not files(tmp_path / "out")
    assert augment(allow_moving=True).edge_correlation == 0.3


def test_classes_alone_are_not_measured(tmp_path: Path, augment: Augment, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "in", "cat/1.png", "a.csv=file,label\n1.png,c\n")
    monkeypatch.setattr(augmentation, "measure_edge_correlation", lambda *given: 0.0)
    assert augment().edge_correlation is None


def test_an_enlarging_model_is_refused_where_labels_have_places(tmp_path: Path, augment: Augment, build: Build) -> None:
    model = translator.load(build("superres", generator="srresnet_1blocks"), device="cpu")
    write_set(tmp_path / "in", "images/1.png", "masks/1.png")
    with pytest.raises(UsageError, match="larger than its inputs"):
        augment(model)


def test_another_job_in_the_same_folder_is_refused(tmp_path: Path, augment: Augment) -> None:
    root = write_set(tmp_path / "in", "cat/1.png", "cat/2.png")
    augment(ratio=0.5)
    for options in ({"ratio": 1.0}, {"ratio": 0.5, "seed": 1}, {"ratio": 0.5, "to": "a"}):
        with pytest.raises(UsageError, match="use another folder"):
            augment(**options)
    (root / "cat/2.png").unlink()
    with pytest.raises(UsageError, match="no longer has"):
        augment(ratio=0.5)


def test_files_of_others_are_not_replaced(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", "cat/1.png")
    write_set(tmp_path / "out", "cat/1.png=mine")
    with pytest.raises(UsageError, match=r"cat/1.png: exists, and was not written by this job"):
        augment()
    assert (tmp_path / "out/cat/1.png").read_text() == "mine"


def test_labels_of_the_set_are_not_replaced(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", "images/1.png", "labels/1.txt=0 1 1 1 1", "labels/1-translated.txt=mine")
    with pytest.raises(DataError, match=r"labels/1-translated.txt: is the name of the labels of a translation"):
        augment(allow_moving=True)
    assert (tmp_path / "out/labels/1-translated.txt").read_text() == "mine"


def test_records_of_an_earlier_job_are_left_out(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", "cat/1.png", "augment.json={}", "manifest.jsonl=x")
    augment()
    assert json.loads((tmp_path / "out/augment.json").read_text())["ratio"] == 1
    assert "x\n" not in (tmp_path / "out/manifest.jsonl").read_text()


def test_sets_and_options_that_are_refused(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", "val/1.png")
    with pytest.raises(DataError, match="no training images"):
        augment()
    for options in ({"ratio": -1}, {"ratio": float("nan")}, {"to": "b,b"}, {"to": "c"}):
        with pytest.raises(UsageError, match=r"--ratio|--to|not to"):
            augment(**options)


def test_a_dry_run_writes_nothing(tmp_path: Path, augment: Augment) -> None:
    write_set(tmp_path / "in", "cat/1.png")
    assert [item.output for item in augment(dry_run=True).planned] == ["cat/1-translated.png"]
    assert not (tmp_path / "out").exists()


def _augment_until_killed(folder: Path, root: Path, output: Path, commits: int) -> None:
    """Augment, and be killed in the commit of this number, between its line and its rename."""
    count = 0
    rename = committer.Committer._rename

    def counted(self: committer.Committer, staged: object) -> object:
        nonlocal count
        count += 1
        if count == commits:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, staged)  # type: ignore[arg-type]

    committer.Committer._rename = counted  # type: ignore[method-assign, assignment]
    model = translator.load(folder, device="cpu", convolution="direct")
    augmentation.augment(model, root, output, AugmentOptions(allow_moving=True))


@pytest.mark.slow
def test_after_a_kill_at_any_commit_the_same_command_gives_the_same_files(
    tmp_path: Path, cyclegan_folder: Path
) -> None:
    root = write_set(
        tmp_path / "in", "images/1.png", "images/2.png", "masks/1.png", "masks/2.png", f"a.json={coco('1.png')}"
    )
    options = AugmentOptions(allow_moving=True)
    model = translator.load(cyclegan_folder, device="cpu", convolution="direct")
    augmentation.augment(model, root, tmp_path / "whole", options)
    context = server_of_processes()
    for commits in (2, 6, 8):  # of 4 copies, 2 translations, and 2 masks and 1 document
        output = tmp_path / f"out{commits}"
        process = context.Process(target=_augment_until_killed, args=(cyclegan_folder, root, output, commits))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        augmentation.augment(model, root, output, options)
        assert without_records(output) == without_records(tmp_path / "whole")
        assert not [path for path in output.rglob(".*") if path.name.startswith(".translate-")]


@pytest.mark.hours
def test_ten_thousand_files_keep_their_masks_and_boxes(tmp_path: Path, cyclegan: Translator) -> None:
    names = [f"images/train/{n:05}.png" for n in range(2500)]
    masks = [name.replace("images", "masks") for name in names]
    yolo = [f"labels/train/{n:05}.txt={n % 7} 0.5 0.5 0.{n + 1} 0.2\n" for n in range(2500)]
    xml = [f"Annotations/train/{n:05}.xml=<annotation><object>{n}</object></annotation>" for n in range(2500)]
    root = write_set(tmp_path / "in", *names, *masks, *yolo, *xml)
    result = augmentation.augment(cyclegan, root, tmp_path / "out", AugmentOptions(allow_moving=True))
    assert (result.done, result.copied, result.label_files) == (2500, 10_000, 7500)
    given, found = files(root), without_records(tmp_path / "out")
    assert len(found) == 20_000
    for name, data in given.items():
        assert found[name] == data
        if not name.startswith("images/"):
            stem, _, extension = name.rpartition(".")
            assert found[f"{stem}-translated.{extension}"] == data
