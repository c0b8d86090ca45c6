"""The command, stopped in the middle by a signal and run again, gives what an uninterrupted run gives."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from translate.conversion import job
from translate.conversion.job import ConversionResult
from translate.trained.translator import Translator

COUNT = 300
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.png") if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, draw: Callable[..., np.ndarray]) -> Path:
    """Small images of three sizes, with a clash of names at both ends of the listing."""
    folder = tmp_path_factory.mktemp("in")
    for n in range(COUNT - 4):
        Image.fromarray(draw(n, 30 + 10 * (n % 3), 40)).save(folder / f"{n:03}.png")
    for n, name in enumerate(("000.bmp", "000.jpg", "295.bmp", "295.jpg")):
        Image.fromarray(draw(n, 20, 20)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cyclegan: Translator, folder: Path) -> dict[str, bytes]:
    """What a run gives that nobody stops."""
    output = tmp_path_factory.mktemp("whole")
    assert job.convert(cyclegan, folder, output, job.ConversionOptions(format="png")).done == COUNT
    return tree(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(number, marks=pytest.mark.hours) for number in (signal.SIGINT, signal.SIGKILL)),
    ],
)
def test_stopped_and_run_again(
    cyclegan_folder: Path, convert: Callable[..., ConversionResult], folder: Path, whole: dict[str, bytes], tmp_path: Path,
    number: signal.Signals,
) -> None:  # fmt: skip
    output = tmp_path / "out"
    command = [sys.executable, "-m", "translate", "convert", str(cyclegan_folder), str(folder), str(output)]
    process = subprocess.Popen(
        [*command, "--format", "png", "--device", "cpu"], stderr=subprocess.PIPE, text=True, env=ONE_THREAD
    )
    try:
        while process.poll() is None and len(list(output.glob("*.png"))) < 30:
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=600)
    finally:
        process.kill()

    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), errors
    made = tree(output)
    assert 30 <= len(made) < COUNT
    assert made.items() <= whole.items()  # so all of them are whole
    if number != signal.SIGKILL:
        (line,) = errors.splitlines()
        assert line.startswith(f"error: stopped with {COUNT - len(made)} images left")
        assert {path.name for path in output.iterdir()} == {*made, "manifest.jsonl"}

    result = convert(folder, output, format="png")
    assert (result.skipped, result.done, result.failures) == (len(made), COUNT - len(made), {})
    assert tree(output) == whole
    assert {path.name for path in output.iterdir()} == {*whole, "manifest.jsonl"}
    lines = (output / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["input"] for line in lines} == {path.name for path in folder.iterdir()}
    assert convert(folder, output, format="png").skipped == COUNT
