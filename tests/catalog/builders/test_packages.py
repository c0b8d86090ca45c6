"""Registry packages: fetched by their own client, read without being unpacked."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from translate.catalog.builders import packages
from translate.catalog.cards import Package
from translate.errors import DataError

from ..helpers import write_deb, write_tgz, write_wheel


@pytest.mark.parametrize(("package", "program", "words"), [
    (Package("pip", "some-thing", "1.2"), "pip", ["download", "--no-deps", "--only-binary=:all:", "some-thing==1.2"]),
    (Package("npm", "@a/b", "3.4"), "npm", ["pack", "--ignore-scripts", "@a/b@3.4"]),
    (Package("apt", "data-set"), "apt-get", ["download", "data-set"]),
    (Package("apt", "data-set", "5.6-1"), "apt-get", ["download", "data-set=5.6-1"]),
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
    fails(Package("pip", "x", "1"), tmp_path / "4", "no output")
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


@pytest.mark.parametrize(("make", "name"), [(write_wheel, "x.whl"), (write_tgz, "x.tgz"), (write_deb, "x.deb")])
def test_packages_are_read_without_being_unpacked(tmp_path, make, name):
    members = {"a/one.txt": b"1", "a/two.txt": b"22", "../b/three.txt": b"333"}
    if make is write_deb:
        members.pop("../b/three.txt")
    file = make(tmp_path / name, members)
    before = set(tmp_path.rglob("*"))
    assert packages.read_members(file, lambda name: name != "a/one.txt") == {
        k: v for k, v in members.items() if k != "a/one.txt"
    }
    assert set(tmp_path.rglob("*")) == before
    with pytest.raises(DataError, match="none of the files"):
        packages.read_members(file, lambda name: False)
    file.write_bytes(file.read_bytes()[:-200] if make is not write_deb else b"no package")
    with pytest.raises(DataError, match=name):
        packages.read_members(file, lambda name: True)


def test_what_is_read_of_a_package_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "LARGEST", 100)
    with pytest.raises(DataError, match="exceed 100 bytes"):
        packages.read_members(write_tgz(tmp_path / "x.tgz", {"a": bytes(60), "b": bytes(60)}), lambda name: True)
