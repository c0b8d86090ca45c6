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
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


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
        if name == "train":
            known |= set(config.setting_names(METHODS[ast.literal_eval(call.args[0])].Config))
        assert {keyword.arg for keyword in call.keywords} <= known, ast.unparse(call)
        inspect.signature(function).bind(*call.args, **{keyword.arg: None for keyword in call.keywords})


def test_types_travel_with_the_package():
    """`py.typed` lies in the folder that the wheel is built from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["translate"]
    assert (ROOT / "translate" / "py.typed").is_file()
