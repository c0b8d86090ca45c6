"""The project as a whole: what README says is so, and what is installed is complete."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import translate
from translate import cli
from translate.cli.app import app
from translate.data.layouts import LAYOUTS, find_split
from translate.images import READABLE_EXTENSIONS, WRITERS
from translate.methods import METHODS
from translate.nn.features import FEATURE_NETWORKS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CARDS = sorted((ROOT / "datasets").glob("*.toml"))
SHIPPED = [card for card in CARDS if tomllib.loads(card.read_text()).get("ships")]


def commands(text):
    """The lines of code blocks that call `translate`, without comments; `uv run` in front is left out."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced if language in ("", "sh", "bash")]
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line.removeprefix("uv run ") for line in lines if re.match(r"(uv run )?translate ", line)]


def test_the_two_commands_stand_in_the_readme():
    for command in ("pip install uv && uv run translate demo", "pip install uv && uv run pytest"):
        assert command in README


def test_the_readme_has_a_row_for_each_method():
    for name in METHODS:
        assert re.search(rf"^\| `{name}` \|", README, flags=re.MULTILINE), name


def test_the_page_of_methods_has_a_row_for_each_that_leads_to_its_section():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    cells = " ".join(re.findall(r"^\| (\[\w+\]\(methods/\w+\.md#[\w-]+\)[^|]*) \|", text, flags=re.MULTILINE))
    assert set(METHODS) <= set(re.findall(r"\w+", re.sub(r"\([^)]*\)", "", cells)))


@pytest.mark.parametrize("command", commands(README))
def test_every_command_of_the_readme_is_one(command, monkeypatch, capsys):
    """Parsed as it stands: its names, flags and values are those of the program."""
    words = command.split()[1:]
    assert words[0] in cli.COMMANDS, command
    parsed = app.parse_args(words, exit_on_error=False, print_error=False)
    assert parsed[0] is not None


PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "datasets/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def anchors(page):
    """Anchors of the headings of a page, as code hosts make them: lower case, without punctuation, hyphens for spaces."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    text = page.read_text(encoding="utf-8")
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_python_and_torch_floors():
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert "torch>=2.11" in PROJECT["project"]["dependencies"]
    assert PROJECT["project"]["version"] == translate.__version__


def imported():
    """The top-level modules that some file of the package imports."""
    for path in (ROOT / "translate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_extra":
                yield from (word.value.split(".")[0] for word in node.args if isinstance(word, ast.Constant))


MODULES = {"c2pa_python": "c2pa"}
"""Packages of extras whose modules have another name."""


def test_every_package_of_an_extra_is_imported_somewhere():
    extras = PROJECT["project"]["optional-dependencies"]
    packages = {re.match(r"[\w-]+", item)[0].replace("-", "_") for items in extras.values() for item in items}
    packages = {MODULES.get(package, package) for package in packages}
    with_weights = {spec.package for spec in FEATURE_NETWORKS.values()}  # of which only a file is read
    assert packages <= {*imported(), *with_weights}


def test_notice_names_the_packages_whose_weights_are_installed():
    """Their licence, Apache-2.0, wants its notices passed on."""
    notice = (ROOT / "NOTICE").read_text()
    packages = {spec.package.replace("_", "-") for spec in FEATURE_NETWORKS.values()}
    for requirement in PROJECT["project"]["dependencies"]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert name not in packages or name in notice


def test_a_release_without_wheels_for_linux_does_not_break_the_installation():
    (environment,) = PROJECT["tool"]["uv"]["required-environments"]
    assert environment.startswith("sys_platform == 'linux' and platform_machine == 'x86_64'")


def test_the_lock_file_is_not_in_the_repository():
    """It records the addresses of registries."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    assert "uv.lock" not in listed


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.stem)
def test_a_card_tells_the_truth_about_its_images(card):
    values = tomllib.loads(card.read_text())
    folder = ROOT / "datasets" / values["folder"]
    files = sorted(folder.rglob("*.*"), key=lambda path: "./" + path.relative_to(folder).as_posix())
    assert values["layout"] in LAYOUTS
    for name, count in values["counts"].items():
        assert len(list((folder / name).iterdir())) == count
    assert sum(path.stat().st_size for path in files) == values["bytes"]
    lines = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(folder).as_posix()}\n" for path in files
    )
    assert hashlib.sha256(lines.encode()).hexdigest() == values["sha256"]
    assert values["licence"]
    assert values["homepage"].startswith("https://")
    assert len(find_split(folder, values["layout"])) > 0


def test_what_ships_is_at_most_32_megabytes():
    assert sum(tomllib.loads(card.read_text())["bytes"] for card in SHIPPED) < 32_000_000


def test_the_sets_beside_earth_are_at_most_12_megabytes():
    assert sum(tomllib.loads(c.read_text())["bytes"] for c in SHIPPED if not c.stem.startswith("earth_")) <= 12_000_000


def test_nothing_that_must_be_shared_alike_ships():
    """Neither images nor weights under a share-alike licence are in the repository."""
    for card in CARDS:
        values = tomllib.loads(card.read_text())
        assert not (values.get("ships") and re.search(r"\bSA\b", values["licence"])), card.stem


def test_the_notice_names_each_set_that_ships():
    notice = (ROOT / "datasets" / "NOTICE.md").read_text(encoding="utf-8")
    rows = [line for line in notice.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {card.stem for card in SHIPPED}
    for card in SHIPPED:
        if "CC BY 4.0" in tomllib.loads(card.read_text())["licence"]:
            (row,) = [row for row in rows if f"`{card.stem}`" in row.split("|")[1]]
            assert "https://creativecommons.org/licenses/by/4.0/" in row


def test_cards_and_images_that_ship_travel_with_the_package():
    """By rows of pyproject.toml, and past .gitignore, one by one: a checkout may hold other sets too."""
    rows = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    wanted = [f"datasets/{card.name}" for card in CARDS] + [f"datasets/{card.stem}" for card in SHIPPED]
    wanted += ["datasets/README.md", "datasets/NOTICE.md"]
    assert {row for row in rows if row.startswith("datasets/")} == set(wanted)
    assert all(rows[row] == f"translate/_{row}" for row in wanted)
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert all(f"!/datasets/{card.stem}/" in ignored for card in SHIPPED)


def test_layouts_and_formats_stand_in_the_data_readme():
    text = (ROOT / "datasets" / "README.md").read_text()
    assert all(ext in text for ext in READABLE_EXTENSIONS)
    assert all(name in text for name in LAYOUTS)
    assert "webp" in WRITERS


@pytest.mark.slow
def test_the_wheel_is_complete(tmp_path):
    """Built, installed into an empty folder and run from there, outside the checkout: package, cards and demo images."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", "demo", ".*_cache"))
    subprocess.run(["uv", "build", "-q", "--wheel", "--out-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "installed"
    subprocess.run(["uv", "pip", "install", "-q", "--no-deps", "--target", target, wheel], check=True)
    code = (
        "import translate, translate.demo as demo; folder = demo.data_folder(); "
        "pictures = [path for path in folder.rglob('*.*') if path.suffix in ('.jpg', '.webp')]; "
        "print(translate.__file__, folder, len(list(folder.glob('*.toml'))), len(pictures), sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    module, folder, cards, pictures = result.stdout.splitlines()
    assert module.startswith(str(target))
    assert folder.startswith(str(target))
    assert int(cards) == len(CARDS)
    assert int(pictures) == sum(sum(tomllib.loads(card.read_text())["counts"].values()) for card in SHIPPED)
    for words in (
        ["data", "list"],
        ["data", "check", "datasets/earth_season", "--limit", "2"],
        ["data", "get", "earth-map"],
    ):
        result = subprocess.run(
            [sys.executable, "-m", "translate", *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "ships with the package" in result.stdout + result.stderr
    assert "train pix2pix datasets/earth_map" in result.stdout
    assert not (tmp_path / "datasets").exists()
