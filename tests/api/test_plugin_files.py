"""Plug-in files from Python: one or several."""

import pytest

from translate.api.plugin_files import load_plugins
from translate.nn import networks

from ..helpers import forget_plugins


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch):
    forget_plugins(monkeypatch)


@pytest.mark.parametrize("several", [False, True])
def test_one_file_or_several_are_loaded(tmp_path, several):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(f"GENERATORS = {{'{name}': int}}")
    load_plugins([tmp_path / "one.py", str(tmp_path / "two.py")] if several else tmp_path / "one.py")
    assert networks.find("one") is int
    assert networks.find("two") is (int if several else None)
