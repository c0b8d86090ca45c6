"""Plug-in files from Python: one or several."""

from importlib.metadata import EntryPoint

import pytest

import translate
from translate import plugins
from translate.api.plugin_files import load_plugins
from translate.errors import UsageError
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


@pytest.mark.parametrize(
    ("kind", "name"), [("generators", "unet_256"), ("discriminators", "basic"), ("methods", "pix2pix")]
)
def test_a_package_with_a_built_in_name_stops_every_training(monkeypatch, tmp_path, kind, name):
    """It could not be used, and must not seem to be."""
    entry = EntryPoint(name, "os:getcwd", f"image_translate.{kind}")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == entry.group else [])
    with pytest.raises(UsageError, match=f"{name} has the name of one that is built in"):
        translate.train("cyclegan", tmp_path / "nowhere", run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
