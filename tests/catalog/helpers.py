"""Helpers of the catalog tests: packages, tiny rasters and cards of data sets."""

import io
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.catalog.builders import BUILDERS
from translate.catalog.cards import DatasetCard, read_card

# Packages.


def write_wheel(path: Path, members: dict[str, bytes]) -> Path:
    """Write a wheel, a ZIP archive, of these files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def write_tgz(path: Path, members: dict[str, bytes]) -> Path:
    """Write a gzipped tar archive of these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_deb(path: Path, members: dict[str, bytes]) -> Path:
    """Write a Debian package of these files, or skip the test where there is no dpkg-deb."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    tree = path.with_suffix("")
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    )
    for name, data in members.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    subprocess.run(["dpkg-deb", "--build", tree, path], check=True, capture_output=True)
    return path


RESVG = b"""
import io
from PIL import Image
def svg_to_bytes(svg_string, width, height):
    assert svg_string.startswith('<svg ') and 'viewBox="0 0 32 16"' in svg_string
    image = Image.new("RGBA", (width, height), svg_string.split('fill="')[1].split('"')[0])
    image.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    out = io.BytesIO(); image.save(out, "PNG"); return list(out.getvalue())
"""
"""Stand-in for the package that renders SVG: the right half in the drawing's colour, the left one transparent."""


def build_dataset(name: str, fetched: dict[str, Path], folder: Path) -> Path:
    """Build a data set from fetched packages into a new folder."""
    folder.mkdir()
    BUILDERS[name](fetched, folder, lambda *news: None)
    return folder


# Images.


def draw_globe(width: int = 720, noise: int = 0) -> Image.Image:
    """Draw a map whose red rises from west to east and green from south to north; land everywhere."""
    east = np.linspace(0, 255, width)[None, :].repeat(width // 2, 0)
    north = np.linspace(255, 0, width // 2)[:, None].repeat(width, 1)
    pixels = np.stack([east, north, np.zeros_like(east)], -1)
    pixels += np.random.default_rng(0).integers(0, noise + 1, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encode_jpeg(image: Image.Image) -> bytes:
    """Return the image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


# Cards.

CARD_LINES = {
    "title": '"T"', "licence": '"L"', "homepage": '"https://example.org"', "layout": '"unpaired"', "description": '"D"',
    "command": '"translate train cyclegan datasets/x"', "files": '[{ url = "https://example.org/x.zip" }]',
}  # fmt: skip
"""Values, in TOML, of the keys that a card must have."""


def write_card(path: Path, **changes: str | None) -> Path:
    """Write a card with other values, in TOML, or without those keys that are None."""
    lines = {**CARD_LINES, **changes}
    path.write_text(
        "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None), encoding="utf-8"
    )
    return path


def read_card_with_counts(tmp_path: Path, **counts: int) -> DatasetCard:
    """Return a card with these numbers of images, by folder."""
    numbers = ", ".join(f"{name} = {count}" for name, count in counts.items())
    return read_card(write_card(tmp_path / "x.toml", counts=f"{{ {numbers} }}"))
