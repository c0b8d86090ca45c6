"""The structure of the package: imports go downwards only, names are unique, files stay small, and tests mirror the tree."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "translate"
TESTS = ROOT / "tests"

FLOORS = [
    {
        "errors",
        "version",
        "text",
        "records",
        "atomic",
        "locks",
        "keyed_random",
        "callbacks",
        "plugins",
        "user_cache",
        "invocation",
        "caption_tokens",
    },
    {"nn", "images", "videos", "runtime", "run_folder", "html"},
    {"config", "convolution_choice", "convolution_timing", "robust"},
    {"methods", "data", "dataset_check", "catalog"},
    {"training", "trained"},
    {"conversion", "evaluation", "serving"},
    {"api", "demo", "demo_page"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
NEIGHBOURS = {  # within a floor, who may import whom
    "atomic": {"errors"},
    "user_cache": {"atomic", "errors"},
    "locks": {"atomic", "errors"},
    "records": {"text"},
    "caption_tokens": {"text"},
    "plugins": {"errors", "text"},
    "convolution_choice": {"convolution_timing"},
    "dataset_check": {"data"},
    "trained": {"training"},  # reads the model in a checkpoint
    "serving": {"conversion"},
    "demo": {"api", "demo_page"},
}
REPEATED_FILES = {"__init__.py", "base.py", "memory.py"}
"""File names that stand in more than one room; every other name stands once, but where a room keeps the command of its name."""


def room(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported(path):
    """The rooms of the package that a file imports, and "" where it imports from the package's top."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "translate":
            found |= {alias.name if alias.name in FLOOR else "" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("translate."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {parts[1] if len(parts) > 1 else "" for parts in names if parts[0] == "translate"}
    return found


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_datasets" not in path.parts)
ROOMS = [path for path in FILES if room(path) not in ("__init__", "__main__")]
LINES = {path: len(path.read_text().splitlines()) for path in FILES}


def test_every_room_has_a_floor():
    assert {room(path) for path in ROOMS} == set(FLOOR)


@pytest.mark.parametrize("path", ROOMS, ids=relative)
def test_imports_go_downwards_only(path):
    own = room(path)
    for other in imported(path) - {own}:
        lower = other in FLOOR and FLOOR[other] < FLOOR[own]
        assert lower or other in NEIGHBOURS.get(own, ()), f"{own} must not import {other or 'the top of the package'}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_stay_small(path):
    assert LINES[path] <= 450


def test_no_room_is_more_than_an_eighth_of_the_whole():
    """A room is what one folder holds itself: a folder inside it is a room of its own."""
    lines = Counter()
    for path, count in LINES.items():
        lines[path.parent] += count
    largest, count = lines.most_common(1)[0]
    assert count <= sum(LINES.values()) / 8, largest


def test_no_class_name_exists_twice():
    names = Counter(
        node.name for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, count in names.items() if count > 1 and not name.startswith("_")]


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("path", ROOMS, ids=relative)
def test_functions_fit_on_a_screen(path):
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(path) if f.end_lineno - f.lineno + 1 > 60}
    assert not long


def test_a_training_is_put_together_by_functions_of_few_arguments():
    for function in functions(PACKAGE / "api" / "session.py"):
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        assert len([argument for argument in arguments if argument.arg not in ("self", "cls")]) <= 6, function.name


HEADLESS = re.compile(r"(What|Of|Whether|How|Where|Which|Who|Why)\b")


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_docstrings_begin_with_a_verb_or_a_noun(path):
    """Their mood is ruff's rule D401; here, that they are no headless clauses, those under a field or constant included."""
    headless = [
        node.value.value.splitlines()[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if HEADLESS.match(node.value.value)
    ]
    assert not headless


@pytest.mark.parametrize("word", ["cycle", "paired", "unet", "u-net", "pix2pix", "cyclegan", "generator_for"])
def test_the_engine_knows_no_method_and_no_task(word):
    for name in ("engine.py", "checkpoint.py", "schedule.py", "loop.py", "log.py"):
        assert word not in (PACKAGE / "training" / name).read_text().lower(), name


def test_the_engine_knows_of_methods_only_their_contract():
    tree = ast.parse((PACKAGE / "training" / "engine.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module for module in modules if module.startswith("translate.methods")} == {"translate.methods.base"}


def test_networks_do_not_know_how_convolutions_are_computed():
    for path in (PACKAGE / "nn").rglob("*.py"):
        if path.name not in ("fast_conv.py", "tuned_conv.py"):
            assert not {"fast_conv", "tuned_conv"} & set(path.read_text().replace(".", " ").split()), path.name


def test_data_knows_no_network():
    for path in ROOMS:
        if room(path) in ("data", "dataset_check", "catalog"):
            assert not imported(path) & {"nn", "methods"}, relative(path)


def test_metrics_take_any_callable():
    """Of trained models only the cases of an evaluation know, which put them beside the images."""
    for path in ROOMS:
        if room(path) == "evaluation" and path.name not in ("cases.py", "sample_cases.py", "label_data.py"):
            assert not imported(path) & {"trained", "training", "methods"}, relative(path)


def test_cuda_is_asked_in_two_files():
    """So that tests can stand in for a GPU."""
    asking = {relative(path) for path in ROOMS if "torch.cuda" in path.read_text()}
    assert asking == {relative(PACKAGE / "runtime" / name) for name in ("devices.py", "memory.py")}


OWN_PLAN = {"contract", "parity", "architecture", "attacks", "docs", "fake_cuda", "tools"}
"""Folders of tests that do not mirror the package."""


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.relative_to(TESTS).as_posix())
def test_tests_mirror_the_package(path):
    """`tests/x/test_y.py` tests `translate/x/y.py`, or a topic of it: `test_y_topic.py`; or a folder `translate/x/y/`."""
    folder = path.relative_to(TESTS).parent
    if folder.parts and folder.parts[0] in OWN_PLAN:
        return
    modules = {
        entry.stem.strip("_") for entry in (PACKAGE / folder).iterdir() if entry.suffix == ".py" or entry.is_dir()
    }
    name = path.stem.removeprefix("test_")
    assert any(name == module or name.startswith(f"{module}_") for module in modules)


@pytest.mark.parametrize("folder", ["datasets", "tools", "checkpoints"])
def test_folders_beside_the_package_are_no_packages(folder):
    """An importable `datasets` would hide the Hugging Face package from whatever runs in the checkout."""
    assert not list((PACKAGE.parent / folder).rglob("__init__.py"))
