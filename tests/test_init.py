"""Public names of the package: `__all__`, the table of lazy names, their types for checkers, and the examples of the pages."""

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import translate
from translate import api, config
from translate.methods import METHODS

from .helpers import run_python

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def names_for_checkers(path: Path) -> set[str]:
    """Names that a module imports for type checkers only, under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}


def examples() -> dict[str, str]:
    """Python examples by place: the code blocks of the pages, and the prompts in the docstring of the package."""
    found = {
        f"{page.name}-{number}": block
        for page in PAGES
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL))
    }
    prompts = re.findall(r"^>>> (.*)$", translate.__doc__ or "", flags=re.MULTILINE)
    return found | {"translate.__doc__": "\n".join(prompts)}


def test_importing_the_package_loads_no_torch():
    code = "import sys, translate; print('torch' in sys.modules, translate.__version__)"
    found = run_python(code).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found.split() == ["False", project["version"]]


@pytest.mark.parametrize("module", [translate, api], ids=lambda module: module.__name__)
def test_the_lists_of_public_names_agree(module):
    lazy = (
        module._LAZY if isinstance(module._LAZY, tuple) else [name for names in module._LAZY.values() for name in names]
    )
    assert module.__all__ == sorted(module.__all__)
    assert set(module.__all__) - {"__version__"} == set(lazy) == names_for_checkers(Path(module.__file__))
    assert len(lazy) == len(set(lazy))


@pytest.mark.parametrize("module", [translate, api], ids=lambda module: module.__name__)
def test_every_public_name_is_there_and_says_what_it_does(module):
    for name in set(module.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(module, name)), name
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = module.nothing_like_this


def test_the_package_offers_what_its_api_offers():
    for name in set(translate.__all__) - {"__version__"}:
        assert getattr(translate, name) is getattr(api, name)


@pytest.mark.parametrize("code", examples().values(), ids=examples().keys())
def test_python_examples_use_public_names_and_existing_arguments(code):
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "translate":
            assert node.attr in translate.__all__
    for call in calls:
        name = ast.unparse(call.func).removeprefix("translate.")
        if name not in translate.__all__:
            continue
        function = getattr(translate, name)
        known = set(inspect.signature(function).parameters)
        if name == "train":  # of a plug-in, no setting of its own is shown
            method = METHODS.get(ast.literal_eval(call.args[0]))
            known |= set(config.setting_names(method.Config if method else config.TrainConfig))
        assert {keyword.arg for keyword in call.keywords} <= known, ast.unparse(call)
        inspect.signature(function).bind(*call.args, **{keyword.arg: None for keyword in call.keywords})


def test_progress_and_say_are_the_same_in_all_functions():
    """All say their lines on stderr, and nothing with `say=None`; progress is off unless it is asked for."""
    names = [name for name in translate.__all__ if inspect.isfunction(getattr(translate, name))]
    parameters = {name: inspect.signature(getattr(translate, name)).parameters for name in names}
    say = {name: found["say"] for name, found in parameters.items() if "say" in found}
    progress = {name: found["progress"] for name, found in parameters.items() if "progress" in found}
    assert set(parameters) - set(say) == {"identify", "load_plugin", "runs", "status"}, "these have nothing to say"
    assert {parameter.default for parameter in say.values()} == {api.say_to_stderr}
    assert set(progress) == {
        "train", "resume", "augment", "cloak", "convert", "evaluate", "project", "sample", "check_data", "get_data",
    }  # fmt: skip
    assert {parameter.default for parameter in progress.values()} == {None}
    assert len({str(parameter.annotation) for parameter in progress.values()}) == 1


def test_nothing_is_printed_without_say(paired_root, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)  # where a data set that ships is found by its name, which a line says
    small = {"crop_size": 32, "g_width": 4, "d_width": 4, "images": 2, "device": "cpu"}
    run = translate.train("pix2pix", paired_root, run=tmp_path / "run", say=None, **small)
    translate.resume(run.path, images=3, say=None)
    translate.convert(run.path, paired_root / "test", tmp_path / "out", device="cpu", say=None)
    translate.convert(run.path, "earth_season/testA", tmp_path / "ships", device="cpu", say=None, dry_run=True)
    translate.evaluate(run.path, paired_root, metrics=["l1"], device="cpu", say=None)
    translate.export(translate.load(run.path, say=None).source, tmp_path / "copy", say=None)
    assert capfd.readouterr() == ("", "")


def test_types_travel_with_the_package():
    """`py.typed` lies in the folder that the wheel is built from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["translate"]
    assert (ROOT / "translate" / "py.typed").is_file()
