"""Folders of the worst images: Pillow's and PNG's own test files, pipes, devices, links that loop, names that break lines."""

import io
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from translate import images
from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.data.split import ImageRef, Split

CPU = torch.device("cpu")


def photo(seed=0, size=24):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size))


def start(root, tier, batches=4, within=1.0, **options):
    """Return a loader that has yielded some batches, and its messages."""
    said = []
    loader = Loader(
        layouts.find_split(root, "unpaired"), Preprocessing(20, 16, True, (3, 3)),
        LoaderOptions(batch_size=2, seed=0, tier=tier, workers=0, **options), device=CPU, say=said.append,
    )  # fmt: skip
    for batch in islice(loader.batches(0), batches):
        for x in batch.values():
            assert x.shape == (2, 3, 16, 16)
            assert bool((x.abs() <= within).all())
    return loader, said


@pytest.fixture
def root(tmp_path):
    """One good image of each domain."""
    for folder in ("trainA", "trainB"):
        (tmp_path / folder).mkdir()
        photo().save(tmp_path / folder / "good.png")
    return tmp_path


def fifo(folder):
    os.mkfifo(folder / "fifo.png")


def device(folder):
    (folder / "zero.jpg").symlink_to("/dev/zero")


def broken_link(folder):
    (folder / "broken.png").symlink_to(folder / "nothing.png")


def link_loop(folder):
    (folder / "one.png").symlink_to(folder / "two.png")
    (folder / "two.png").symlink_to(folder / "one.png")


def loop_of_folders(folder):
    (folder / "again").symlink_to(folder)


def folder_like_an_image(folder):
    (folder / "x.jpg").mkdir()


def no_permission(folder):
    photo().save(folder / "closed.png")
    (folder / "closed.png").chmod(0)


def fifo_behind_a_link(folder):
    os.mkfifo(folder / "pipe")
    (folder / "link.npy").symlink_to(folder / "pipe")


@pytest.mark.parametrize(
    "attack", [fifo, device, broken_link, link_loop, loop_of_folders, folder_like_an_image, fifo_behind_a_link]
)
@pytest.mark.parametrize("tier", ["resident", "stream"])
def test_what_is_no_file_is_passed_over(attack, tier, root):
    attack(root / "trainA")
    loader, _ = start(root, tier)  # what waited for a writer, or read without end, would not come back
    assert [ref.path.name for ref in loader.context.split.a] == ["good.png"]


@pytest.mark.parametrize("attack", [fifo, device, broken_link, link_loop, folder_like_an_image])
def test_a_file_that_becomes_something_else_is_skipped_by_name(attack, root):
    """After the folder was listed."""
    attack(root / "trainA")
    (odd,) = [path for path in (root / "trainA").iterdir() if path.name != "good.png"][:1]
    split = layouts.find_split(root, "unpaired")
    split = Split((ImageRef(odd), *split.a), split.b, False)
    said = []
    loader = Loader(
        split, Preprocessing(20, 16, True, (3, 3)), LoaderOptions(batch_size=2, seed=0, tier="stream", workers=0),
        device=CPU, say=said.append,
    )  # fmt: skip
    assert len(list(islice(loader.batches(0), 8))) == 8
    assert loader.skipped == 1
    assert [line for line in said if line.startswith(f"skipped {str(odd)!r}")]


NAMES = [
    "new\nline.png",
    "tab\tand\rreturn.png",
    os.fsdecode(b"caf\xe9\xff.png"),
    "x" * 250 + ".png",
    "-rf.png",
    "\u202e.png",
]


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("tier", ["resident", "stream"])
def test_odd_names_are_read_and_said_in_one_line(tier, bad, root):
    for seed, name in enumerate(NAMES):
        path = root / "trainA" / name
        photo(seed).save(path)
        if bad:
            path.write_bytes(b"no image")
    loader, said = start(root, tier, batches=12)
    assert len(loader.context.split.a) == 7
    assert loader.skipped == (6 if bad else 0)
    for line in said:
        assert line.isprintable()
        line.encode()  # nothing that a terminal cannot be given


def test_a_closed_file_is_skipped_with_its_reason(root):
    no_permission(root / "trainA")
    if os.access(root / "trainA" / "closed.png", os.R_OK):
        pytest.skip("root may read everything")
    loader, said = start(root, "resident")
    assert loader.skipped == 1
    assert any("no permission" in line for line in said)


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["resident", "stream"])
def test_a_bomb_is_skipped(tier, root):
    """20,000² pixels in some kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    (root / "trainA" / "bomb.png").write_bytes(buffer.getvalue())
    loader, said = start(root, tier)
    assert loader.skipped == 1
    assert any("--max-pixels" in line or "pixels" in line for line in said if "bomb.png" in line)


# The files that Pillow and PNG's authors test with.


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """trainA with Pillow's test images and PngSuite, from the packages' sources."""
    pip = shutil.which("pip")
    if pip is None:
        pytest.skip("needs pip, to download the sources of Pillow and pypng")
    root = tmp_path_factory.mktemp("collection")
    for folder in ("trainA", "trainB"):
        (root / folder).mkdir()
        photo().save(root / folder / "good.png")
    for package in ("pillow", "pypng"):
        command = [pip, "download", "-q", "--no-deps", "--no-binary", package, "-d", str(root), package]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        found = list(root.glob(f"{package}*.tar.gz"))
        if not found:
            pytest.skip(f"the source of {package} cannot be downloaded: {(done.stderr.splitlines() or ['?'])[-1]}")
        target = root / "trainA" / package
        target.mkdir()
        with tarfile.open(found[0]) as archive:
            for member in archive:
                if "/Tests/images/" in member.name and member.isfile():
                    path = target / member.name.split("/Tests/images/")[1]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.extractfile(member).read())
                elif member.name.endswith("/code/pngsuite.py"):  # name: _dehex("""…""")
                    text = archive.extractfile(member).read().decode()
                    for name, digits in re.findall(r"'(\w+)': _dehex\(b\"{3}([0-9a-f\s]+)\"{3}", text):
                        (target / f"{name}.png").write_bytes(bytes.fromhex(digits))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["resident", pytest.param("stream", marks=pytest.mark.hours)])
def test_training_starts_on_the_files_of_pillow_and_pngsuite(collection, tier, monkeypatch, record_property):
    """Opens nothing but the formats that are allowed, whatever a file is called."""
    opened = Counter()
    plain = Image.open

    def watched(*args, formats=None, **kwargs):
        assert formats is not None
        assert set(formats) <= set(images.PILLOW_FORMATS)
        image = plain(*args, formats=formats, **kwargs)
        opened[image.format] += 1
        return image

    monkeypatch.setattr(Image, "open", watched)
    began = time.monotonic()
    files = len(images.list_images(collection / "trainA"))
    loader, said = start(collection, tier, batches=files // 2 + 2, within=1.5)  # floats overshoot
    took = time.monotonic() - began
    skipped = [line for line in said if line.startswith("skipped")]
    assert files > 500
    assert set(opened) <= set(images.PILLOW_FORMATS)
    assert loader.skipped == len(skipped) == len(set(skipped))
    assert 10 < len(skipped) < files / 2
    assert all(line.isprintable() for line in said)
    assert len(list((collection / "trainA" / "pypng").iterdir())) > 20
    reasons = Counter(reason.split(":")[0] for reason in loader.context.skipped.values())
    for name, value in (("files", files), ("skipped", len(skipped)), ("seconds", round(took)), ("reasons", reasons)):
        record_property(name, str(value))
