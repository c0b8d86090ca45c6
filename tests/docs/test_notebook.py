"""The notebook docs/first_steps.ipynb: its form, and its cells run from top to bottom."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "first_steps.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_has_no_outputs_and_little_code() -> None:
    assert NOTEBOOK["nbformat"] == 4
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)
    assert len(CODE) <= 10


def test_the_pages_that_it_names_exist() -> None:
    text = "".join(line for cell in NOTEBOOK["cells"] for line in cell["source"])
    pages = re.findall(r"docs/[\w./]+\w", text)
    assert pages
    assert all((ROOT / page).is_file() for page in pages)


def run_cell(source: str, names: dict[str, object]) -> None:
    """Run the lines of a cell, and show the value of its last one, as Jupyter does."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        getattr(value, "_repr_png_", value.__repr__)()


@pytest.mark.slow
def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FIRST_STEPS_FOLDER", str(tmp_path))
    monkeypatch.setenv("FIRST_STEPS_IMAGES", "8")
    names: dict[str, object] = {}
    for cell in CODE:
        run_cell("".join(cell["source"]), names)
    assert re.search(r"^8 \{'loss/", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(list((tmp_path / "shaded").glob("*.png"))) == 8
    assert (tmp_path / "shaded" / "report.html").is_file()
    assert {"l1", "ssim"} <= names["scores"]["metrics"].keys()  # type: ignore[index]
