"""Plug-ins: the package and the file of docs/extending.md, what is refused, and that no record loads one."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import translate
from translate import methods, plugins
from translate.errors import ModelError, UsageError
from translate.nn import networks

from .helpers import forget_plugins

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
SMALL = {"crop_size": 32, "g_width": 4, "images": 2, "device": "cpu", "say": None}


def block(language):
    """The first block of code of the page in a language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch):
    """Each test begins, and leaves the others, without plug-ins."""
    forget_plugins(monkeypatch)


@pytest.fixture
def file(tmp_path):
    """The plug-in file of the page."""
    path = tmp_path / "my_translate.py"
    path.write_text(block("python"))
    return path


def install(folder, project, monkeypatch):
    """Install a package as its pyproject.toml says: what a wheel would leave in a folder of sys.path."""
    values = tomllib.loads(project)["project"]
    info = folder / f"{values['name'].replace('-', '_')}-{values['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {values['name']}\nVersion: {values['version']}\n")
    lines = []
    for group, entries in values["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(folder)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of the page, installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "my_translate.py").write_text(block("python"))
    install(folder, block("toml"), monkeypatch)
    yield folder
    sys.modules.pop("my_translate", None)


def test_the_package_of_the_page_has_about_thirty_lines():
    assert len([line for line in block("python").splitlines() if line.strip()]) <= 30


def test_an_installed_package_trains_and_its_model_is_loaded(package, paired_root, tmp_path):
    """It is imported when one of its names is used, not before, and nothing else is asked of the user."""
    assert "regression" in methods.names()
    assert methods.find("pix2pix") is methods.METHODS["pix2pix"]
    assert "my_translate" not in sys.modules
    run = translate.train("regression", paired_root, run=tmp_path / "run", generator="shallow", **SMALL)
    model = translate.load(run.path, device="cpu", say=None)
    assert (model.info.method, model.info.networks["generator"]) == ("regression", "shallow")
    assert type(model.method).__module__ == type(model.method.g).__module__ == "my_translate"
    assert translate.resume(run.path, images=3, say=None).images == 3


def test_a_file_trains_and_its_name_is_all_that_a_record_has(file, paired_root, tmp_path, monkeypatch):
    """Without the file, the run and the model say what is missing; with it, they are used as any other."""
    run = translate.train(
        "pix2pix", paired_root, run=tmp_path / "run", plugin=file, generator="shallow", d_width=4, **SMALL
    )
    for path in run.path.rglob("*"):
        if path.suffix in (".toml", ".json", ".jsonl", ".md", ".html"):
            assert "my_translate" not in path.read_text(), path
    assert translate.load(run.path, device="cpu", say=None).info.networks["generator"] == "shallow"
    forget_plugins(monkeypatch)
    for use in (
        lambda: translate.load(run.path, say=None),
        lambda: translate.load(f"{run.path}@2", say=None),
        lambda: translate.resume(run.path, images=3, say=None),
        lambda: translate.status(run.path / "model"),
    ):
        with pytest.raises(ModelError, match=r"generator, shallow, is not known here; .*--plugin FILE\.py"):
            use()
    assert translate.resume(run.path, images=3, plugin=[file], say=None).images == 3


def test_the_method_of_a_file_that_is_not_given_is_missing(file, paired_root, tmp_path, monkeypatch):
    run = translate.train(
        "regression", paired_root, run=tmp_path / "run", plugin=str(file), generator="shallow", **SMALL
    )
    forget_plugins(monkeypatch)
    for use in (translate.load, translate.resume):
        with pytest.raises(ModelError, match=r"method, regression, is not known here; .*--plugin FILE\.py"):
            use(run.path, say=None)
    shutil.rmtree(run.path / "model")
    with pytest.raises(ModelError, match=r"config\.toml: its method, regression, is not known here"):
        translate.load(f"{run.path}@2", say=None)  # from its checkpoint
    with pytest.raises(UsageError, match="unknown method 'regression'"):
        translate.train("regression", paired_root)


def test_a_discriminator_of_a_file_judges_and_is_missing_without_it(tmp_path, paired_root, monkeypatch):
    file = tmp_path / "judge.py"
    file.write_text(
        "from translate.nn.networks.patchgan import PixelDiscriminator\n"
        "def judge(in_channels, width, norm, layers, crop_size): return PixelDiscriminator(in_channels, 3, norm)\n"
        "DISCRIMINATORS = {'judge': judge}\n"
    )
    run = translate.train("pix2pix", paired_root, run=tmp_path / "run", plugin=file, discriminator="judge", **SMALL)
    assert run.images == 2
    assert type(networks.find_discriminator("judge")(6, 1, "instance", 3, 32)).__name__ == "PixelDiscriminator"
    forget_plugins(monkeypatch)
    with pytest.raises(ModelError, match="discriminator, judge, is not known here"):
        translate.resume(run.path, images=3, say=None)


@pytest.mark.slow
def test_the_contract_tests_run_with_the_file_of_the_page(file):
    """Those of its method and of its generator, some dozens; a method that broke the contract would fail there."""

    def contract_tests(*places):
        words = ["-n", "0", "-p", "no:cacheprovider", "--plugin", str(file), "-k", "regression or shallow", *places]
        command = [sys.executable, "-m", "pytest", *words]
        return subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)

    good = contract_tests("tests/contract", "tests/nn/test_networks.py")
    assert good.returncode == 0, good.stdout
    assert good.stdout.count(".") > 20
    file.write_text(file.read_text().replace("self.coupled = coupling_reason(self)", "pass"))
    bad = contract_tests("tests/contract/test_resume.py")
    assert "couples_a_batch_is_said[regression]" in bad.stdout


def test_a_file_is_run_once(file):
    file.write_text(
        file.read_text() + "\nimport builtins\nbuiltins.times_run = getattr(builtins, 'times_run', 0) + 1\n"
    )
    import builtins

    translate.load_plugin(file)
    translate.load_plugin(str(file))
    assert builtins.times_run == 1
    del builtins.times_run


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("GENERATORS = {'unet_256': int}", "generator unet_256 has the name of one that is built in"),
        ("GENERATORS = {'resnet_5blocks': int}", "resnet_5blocks has the name of one that is built in"),
        ("DISCRIMINATORS = {'basic': int}", "discriminator basic has the name"),
        ("METHODS = {'cyclegan': int}", "method cyclegan has the name"),
        ("METHODS = {'mine': int}", "method mine is no subclass"),
        ("from translate.methods.pix2pix import Pix2Pix as P\nMETHODS = {'mine': P}", "calls itself 'pix2pix'"),
        ("GENERATORS = {'mine': 3}", "generator mine is no class"),
        ("GENERATORS = {3: int}", "3 cannot be the name"),
        ("GENERATORS = ['mine']", "GENERATORS is no dictionary"),
        ("x = 1", "has none of GENERATORS, DISCRIMINATORS, METHODS"),
        ("from translate.methods import METHODS", "has none of"),
        ("x = \n", r"cannot be run: SyntaxError: .* line 1"),
        ("1 / 0", "cannot be run: ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_file_must_not_hold_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(UsageError, match=words) as refused:
        translate.load_plugin(tmp_path / "bad.py")
    assert "\n" not in str(refused.value)
    assert "bad.py" in str(refused.value)
    assert not any(group.loaded for group in plugins.GROUPS)


@pytest.mark.parametrize("name", ["nowhere.py", "notes.txt"])
def test_what_is_no_python_file_is_refused(tmp_path, name):
    (tmp_path / "notes.txt").write_text("GENERATORS = {}")
    with pytest.raises(UsageError, match=name):
        translate.load_plugin(tmp_path / name)


def test_two_plugins_of_one_name_are_refused(file, package, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(file.read_text())
    translate.load_plugin(file)
    with pytest.raises(UsageError, match="also one of another --plugin"):
        translate.load_plugin(other)
    with pytest.raises(UsageError, match="also one of package my-translate"):
        methods.find("regression")


def entry(name, value="os:getcwd"):
    return EntryPoint(name, value, "image_translate.methods")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry("pix2pix")], "method pix2pix has the name of one that is built in"),
        ([entry("mine"), entry("mine", "os:getpid")], "both have a method mine"),
        ([entry("mine", "no_such_package:Mine")], "cannot be imported: ModuleNotFoundError"),
        ([entry("mine")], "method mine is no subclass"),
    ],
)
def test_a_package_that_cannot_be_used_is_refused(monkeypatch, entries, words):
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries if group.endswith("methods") else [])
    with pytest.raises(UsageError, match=words):
        methods.find("mine")


def test_what_is_no_network_is_refused_when_it_is_built(file, paired_root, tmp_path):
    file.write_text("from torch import nn\nGENERATORS = {'mine': lambda *a: nn.Conv2d(3, 3, 3)}\n")
    with pytest.raises(
        UsageError, match=r"--generator mine: the plug-in builds a Conv2d, no subclass of .*\.Generator"
    ):
        translate.train("pix2pix", paired_root, run=tmp_path / "run", plugin=file, generator="mine", **SMALL)
    assert not (tmp_path / "run").exists()
