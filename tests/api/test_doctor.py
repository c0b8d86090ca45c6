"""api/doctor.py: what is told of a machine, the known troubles, and the self-test."""

import os
import socket
from pathlib import Path

import pytest

from translate import images
from translate.api import doctor as examination
from translate.images.writing import WRITERS

GOOD_VERSIONS = {**dict.fromkeys(examination.PACKAGES, "1.0"), "torch": "2.11.0+cu132"}
GOOD_MACHINE = {
    "shared_memory": 1 << 30, "free_memory": 8 << 30, "free_disk": 10**11, "file_locks": True,
    "cuda": {"built_with": "13.2", "has_driver": True, "devices": ["GPU"]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No other distribution is installed."""
    monkeypatch.setattr(examination, "_version", lambda name: None)


def test_a_good_machine_has_no_problem():
    assert examination.find_problems(GOOD_VERSIONS, GOOD_MACHINE) == []


@pytest.mark.parametrize(
    ("versions", "machine", "words"),
    [
        ({"torch": "2.10.1"}, {}, ["torch 2.10.1", "pip install -U torch"]),
        ({"torch": None}, {}, ["torch None"]),
        ({}, {"shared_memory": 64 << 20}, ["64 MiB", "--shm-size", "--workers 0"]),
        ({}, {"free_memory": 1 << 30}, ["1.0 GiB", "--accumulate"]),
        ({}, {"free_disk": 10**9}, ["1.0 GB", "--run"]),
        ({}, {"file_locks": False}, ["locked", "local disk"]),
        ({}, {"cuda": {"built_with": None, "has_driver": True, "devices": []}}, ["built for CPUs", "with CUDA"]),
        ({}, {"cuda": {"built_with": "13.2", "has_driver": True, "devices": []}}, ["CUDA 13.2", "update the driver"]),
    ],
)
def test_each_trouble_is_one_line_with_its_remedy(versions, machine, words):
    (line,) = examination.find_problems(GOOD_VERSIONS | versions, GOOD_MACHINE | machine)
    assert all(word in line for word in words)
    assert "\n" not in line


def test_a_machine_without_a_driver_needs_no_gpu():
    cuda = {"built_with": "13.2", "has_driver": False, "devices": []}
    assert examination.find_problems(GOOD_VERSIONS, {**GOOD_MACHINE, "cuda": cuda}) == []
    assert examination.find_problems(GOOD_VERSIONS, {**GOOD_MACHINE, "shared_memory": None}) == []


@pytest.mark.parametrize("name", ["opencv-python", "albumentationsx", "translate"])
def test_distributions_that_hide_others_are_named(monkeypatch, name):
    monkeypatch.setattr(examination, "_version", lambda other: "1.0" if other == name else None)
    (line,) = examination.find_problems(GOOD_VERSIONS, GOOD_MACHINE)
    assert line.startswith(name)


def test_a_torchvision_for_another_torch_is_named(monkeypatch):
    def fail(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(examination.importlib, "import_module", fail)
    (line,) = examination.find_problems(GOOD_VERSIONS, GOOD_MACHINE)
    assert "torchvision::nms does not exist" in line
    assert "same index" in line


def test_packages_of_extras_that_are_missing_are_named(monkeypatch):
    requirements = [
        "torch>=2.11", 'torchcodec<1,>=0.11; extra == "gpu"', 'onnx[x]<2; extra == "metrics"', "lpips ; extra == 'metrics'",
    ]  # fmt: skip
    monkeypatch.setattr(examination.metadata, "requires", lambda name: requirements)
    monkeypatch.setattr(examination, "_provided_extras", lambda: ["gpu", "metrics", "cluster"])
    monkeypatch.setattr(examination, "_version", lambda name: "1.0" if name == "onnx" else None)
    assert examination.find_extras() == {"gpu": ["torchcodec"], "metrics": ["lpips"], "cluster": []}


@pytest.mark.parametrize("name", WRITERS)
def test_each_output_format_works_here(name):
    assert examination.try_format(name) is None


def test_a_format_that_fails_says_why(monkeypatch):
    def fail(picture, name):
        raise OSError("no encoder")

    monkeypatch.setattr(images, "encode", fail)
    assert examination.try_format("png") == "no encoder"


def test_a_format_that_changes_values_says_by_how_much(monkeypatch):
    encode = images.encode
    monkeypatch.setattr(images, "encode", lambda picture, name: encode(images.Picture(255 - picture.pixels), name))
    assert examination.try_format("png") == "read back with values that differ by 255 of 255"


def test_the_self_test_trains_and_converts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = examination.run_self_test()
    assert (result["ok"], result["error"]) == (True, None)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_self_test_says_why_without_a_folder(monkeypatch):
    def fail(method, root, **settings):
        raise RuntimeError(f"{root}: broken")

    monkeypatch.setattr(examination, "train", fail)
    result = examination.run_self_test()
    assert result["ok"] is False
    assert result["error"] == "RuntimeError: …/data: broken"


def test_nothing_names_a_user_a_host_or_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told = repr([examination.find_versions(), examination.examine_machine()])
    assert str(tmp_path) not in told
    assert str(Path.home()) not in told
    assert socket.gethostname() not in told or len(socket.gethostname()) < 3
    assert os.sep + "tmp" not in told
