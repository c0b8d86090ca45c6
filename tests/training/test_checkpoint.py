"""Checkpoints: whole or refused, whatever happens to the file or in the middle of the save."""

import hashlib
import os
from pathlib import Path

import pytest
import torch

from translate import atomic, run_folder
from translate.errors import ModelError, StorageError
from translate.training import checkpoint

from .helpers import PowerCut


def state(images=10):
    return {"images": images, "weights": torch.arange(50.0), "nested": {"name": "x", "list": [1, 2.5, None]}}


def test_what_is_loaded_is_what_was_saved(tmp_path):
    path = checkpoint.save(tmp_path, state())
    loaded = checkpoint.load(path)
    assert path.name == "state-10.ckpt"
    assert torch.equal(loaded.pop("weights"), state()["weights"])
    assert loaded == {k: v for k, v in state().items() if k != "weights"}


def test_every_truncation_and_bit_flip_is_found(tmp_path):
    path = checkpoint.save(tmp_path, state())
    whole = path.read_bytes()
    for length in range(0, len(whole), 29):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged"):
            checkpoint.load(path)
    for position in range(0, len(whole), 31):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        with pytest.raises(ModelError, match="damaged"):
            checkpoint.load(path)
    path.write_bytes(whole)
    checkpoint.load(path)


class Evil:
    def __reduce__(self):
        return os.system, ("touch canary",)


def test_a_pickle_with_code_is_refused_even_with_a_right_hash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = checkpoint.save(tmp_path, {**state(), "evil": Evil()})
    with pytest.raises(ModelError, match="not a training state") as caught:
        checkpoint.load(path)
    assert caught.value.exit_code == 4
    assert not (tmp_path / "canary").exists()


def test_the_two_newest_by_images_are_kept(tmp_path):
    for images in (9, 10, 100, 30):
        checkpoint.save(tmp_path, state(images))
    assert [path.name for path in run_folder.list_checkpoints(tmp_path)] == ["state-100.ckpt", "state-30.ckpt"]


def test_the_first_at_or_after_each_multiple_is_kept_too(tmp_path):
    for images in (90, 110, 130, 210, 290, 300, 330, 360):
        checkpoint.save(tmp_path, state(images), keep_every=100)
    assert [run_folder.checkpoint_images(path) for path in run_folder.list_checkpoints(tmp_path)] == [
        360,
        330,
        300,
        210,
        110,
    ]


@pytest.mark.parametrize(
    ("there", "keep_every", "kept"),
    [
        ([360, 330, 300, 210, 110, 90], 100, [110, 210, 300]),  # 90 is of no multiple, 330 not the first of its own
        ([360, 330], 100, [330]),
        ([7, 6], None, []),
        ([3, 2, 1], 1, [1, 2, 3]),
    ],
)
def test_those_kept_for_good(there, keep_every, kept):
    paths = [Path(f"state-{images}.ckpt") for images in there]
    found = checkpoint.kept_for_good(paths, keep_every)
    assert sorted(map(run_folder.checkpoint_images, found)) == kept


def test_a_file_that_cannot_be_removed_does_not_end_a_run(tmp_path, monkeypatch):
    def refuse(self, missing_ok=False):
        if not missing_ok:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    for images in (1, 2, 3, 4):
        checkpoint.save(tmp_path, state(images))
    assert len(run_folder.list_checkpoints(tmp_path)) == 4


def test_the_newest_is_found_by_images_and_not_by_the_clock(tmp_path):
    new, old = checkpoint.save(tmp_path, state(200)), checkpoint.save(tmp_path, state(100))
    os.utime(new, (1, 1))
    os.utime(old, (2**31, 2**31))
    assert checkpoint.load_newest(tmp_path, pytest.fail)["images"] == 200


def test_a_damaged_newest_is_named_and_the_one_before_it_used(tmp_path):
    checkpoint.save(tmp_path, state(100))
    checkpoint.save(tmp_path, state(200)).write_bytes(b"half")
    said = []
    assert checkpoint.load_newest(tmp_path, said.append)["images"] == 100
    assert "state-200.ckpt" in said[0]
    assert "damaged" in said[0]


def test_none_is_none_and_all_damaged_is_an_error(tmp_path):
    assert checkpoint.load_newest(tmp_path, pytest.fail) is None
    checkpoint.save(tmp_path, state()).write_bytes(b"")
    with pytest.raises(ModelError, match="none of its 1 checkpoints"):
        checkpoint.load_newest(tmp_path, lambda line: None)


@pytest.mark.parametrize("call", range(12))
def test_a_cut_at_any_system_call_of_the_save_leaves_a_whole_checkpoint(call, tmp_path, monkeypatch):
    """Every fsync, rename and removal in turn is the last thing that happens."""
    checkpoint.save(tmp_path, state(10))
    atomic.replace_folder(tmp_path / "model", lambda folder: (folder / "x").write_text("old"))
    count = iter(range(100))

    def cutting(function):
        def wrapped(*args, **kwargs):
            if next(count) == call:
                raise PowerCut
            return function(*args, **kwargs)

        return wrapped

    for name in ("fsync", "replace", "rename"):
        monkeypatch.setattr(os, name, cutting(getattr(os, name)))
    cut = False
    try:
        checkpoint.save(tmp_path, state(20))
        atomic.replace_folder(tmp_path / "model", lambda folder: (folder / "x").write_text("new"))
    except PowerCut:
        cut = True
    assert cut == (call < 8)  # the number of system calls there are
    monkeypatch.undo()
    assert checkpoint.load_newest(tmp_path, pytest.fail)["images"] in (10, 20)
    if call % 2:  # the next run begins with this, or with nothing
        atomic.recover_folder(tmp_path / "model")
        assert (tmp_path / "model" / "x").read_text() in ("old", "new")
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]
    places = [tmp_path / "model" / "x", atomic.previous_folder(tmp_path / "model") / "x"]
    assert next(place for place in places if place.exists()).read_text() in ("old", "new")
    atomic.replace_folder(tmp_path / "model", lambda folder: (folder / "x").write_text("next"))
    assert places[0].read_text() == "next"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, state(10))

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        checkpoint.save(tmp_path, state(20))
    assert caught.value.exit_code == 6
    assert [path.name for path in tmp_path.iterdir()] == ["state-10.ckpt"]


def test_the_hash_is_of_the_content(tmp_path):
    data = checkpoint.save(tmp_path, state()).read_bytes()
    header, content = data.split(b"\n", 1)
    assert header.decode().split()[-1] == hashlib.sha256(content).hexdigest()


def test_no_temporary_is_left(tmp_path):
    checkpoint.save(tmp_path, state())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(atomic.TEMPORARY_PREFIX)]
