"""The house: imports go downwards only, siblings do not know each other, files stay small."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "translate"

FLOORS = [
    {"errors", "noise", "files", "images", "runtime", "nn"},
    {"config"},
    {"methods", "data"},
    {"training"},
    {"conversion", "evaluation"},
    {"api", "demo"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
NEIGHBOURS = {  # within a floor, who may know whom
    "noise": set(),
    "errors": set(),
    "files": {"errors"},
    "images": {"files"},
    "runtime": {"noise", "errors"},
    "nn": {"noise"},
    "demo": {"api"},
}


def room(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported(path):
    """Rooms of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "translate":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("translate."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("translate.")}
    return found & FLOOR.keys()


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_datasets" not in path.parts)
ROOMS = [path for path in FILES if room(path) not in ("__init__", "__main__")]


def test_every_room_has_a_floor():
    assert {room(path) for path in ROOMS} == set(FLOOR)


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards_only(path):
    own = room(path)
    for other in imported(path) - {own}:
        lower = FLOOR[other] < FLOOR[own]
        assert lower or other in NEIGHBOURS.get(own, ()), f"{own} must not import {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 450


@pytest.mark.parametrize("word", ["cycle", "paired", "unet", "u-net", "pix2pix", "cyclegan", "generator_for"])
def test_the_engine_knows_no_method_and_no_task(word):
    for name in ("engine.py", "checkpoint.py", "schedule.py", "loop.py", "log.py"):
        assert word not in (PACKAGE / "training" / name).read_text().lower(), name


def test_evaluation_takes_any_callable_and_data_knows_no_network():
    for path in ROOMS:
        if room(path) == "evaluation":
            assert not imported(path) & {"conversion", "training", "methods"}
        if room(path) == "data":
            assert "nn" not in imported(path)


@pytest.mark.parametrize("folder", ["datasets", "tools", "checkpoints"])
def test_folders_beside_the_package_are_no_packages(folder):
    """An importable `datasets` would hide the Hugging Face package from whatever runs in the checkout."""
    assert not list((PACKAGE.parent / folder).rglob("__init__.py"))
