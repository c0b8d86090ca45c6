"""The tool that compares methods of images from noise: trainings end by CPU time, and the table says what was measured."""

import compare_noise as tool
import pytest
from PIL import Image

from translate.trained import find


@pytest.fixture
def root(tmp_path):
    """Data folder of two classes of grey images, eight a split and class."""
    for split, kind in (("train", "x"), ("train", "y"), ("test", "x"), ("test", "y")):
        (tmp_path / "data" / split / kind).mkdir(parents=True)
        for i in range(8):
            Image.new("L", (32, 32), 25 * i).save(tmp_path / "data" / split / kind / f"{i}.png")
    return tmp_path / "data"


@pytest.mark.slow
def test_a_training_ends_with_its_cpu_time_and_leaves_a_model(root, tmp_path, monkeypatch):
    small = {"batch_size": 4, "g_width": 2, "d_width": 2}
    monkeypatch.setitem(tool.METHODS, "dcgan", ("paper", small))
    spent = tool.train("dcgan", root, tmp_path / "run", 0, 0.5)
    assert spent["cpu_seconds"] >= 0.5
    assert 0 < spent["images"] < tool.SHARED["images"]
    assert find.read_model(tmp_path / "run").info.trained_on["images"] == spent["images"]


def test_images_of_a_split_are_copied_evenly_spaced_and_once(root, tmp_path):
    folder = tool.copy_images(root, "train", 4, tmp_path / "out")
    assert [Image.open(path).getpixel((0, 0)) for path in sorted(folder.iterdir())] == [0, 100, 0, 100]
    (folder / "00003.png").unlink()
    assert len(list(tool.copy_images(root, "train", 4, folder).iterdir())) == 3


def test_the_table_has_the_reference_and_a_row_for_each_training():
    kids = {"KID-EL0": {"value": 0.01234, "error": 0.002}, "KID-R50": {"value": 0.5, "error": 0.1}}
    lines = [{"method": "real", **kids}, {"method": "pggan", "seed": 1, "images": 12345, "cpu_seconds": 1200.4, **kids}]
    assert tool.table(lines).splitlines()[2:] == [
        "| real images of `train` | | | | 0.0123 ± 0.0020 | 0.5000 ± 0.1000 |",
        "| `pggan` | 1 | 12,345 | 1200 | 0.0123 ± 0.0020 | 0.5000 ± 0.1000 |",
    ]
