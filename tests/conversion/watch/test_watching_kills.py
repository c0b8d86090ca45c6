"""A folder that fills while its watcher is killed (SIGKILL) again and again: at the end each file has been converted."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("watchfiles")

SCRIPT = '''
"""Fills a folder, while children that watch it are killed at random moments; the last one ends by SIGTERM."""
import json, os, random, signal, sys, time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

torch.set_num_threads(1)
from translate.conversion import job
from translate.conversion.watch import watching
from translate.errors import Interrupted
from translate.trained import translator

watching.SETTLE_SECONDS = 0.2
model, source, output, count, kills = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
loaded = translator.load(model, device="cpu")
rng = random.Random(0)


def watch():
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job.convert(loaded, source, output, job.ConversionOptions(watch=True))
        except Interrupted as stopped:
            code = stopped.exit_code
        finally:
            os._exit(code)
    return child


def done():
    return sum(name.endswith(".png") and not name.startswith(".") for _, _, names in os.walk(output) for name in names)


written = killed = 0
child = watch()
for part in range(kills + 1):
    until = count * (part + 1) // (kills + 1)
    for n in range(written, until):  # some are renamed into place, some are written in two goes
        path = source / f"{n % 7}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        place = path.with_name(f".{path.name}") if n % 3 == 0 else path
        pixels = np.random.default_rng(n).integers(0, 256, (8 + n % 5, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place, "PNG")
        place.rename(path)
    written = until
    if part < kills:
        time.sleep(rng.uniform(0.1, 1.0))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
        child = watch()
deadline = time.monotonic() + 3600
while done() < count and time.monotonic() < deadline:
    time.sleep(0.1)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
print(json.dumps({"killed": killed, "code": os.waitstatus_to_exitcode(status)}))
'''


@pytest.mark.slow
@pytest.mark.parametrize(("count", "kills"), [(150, 5), pytest.param(10_000, 50, marks=pytest.mark.hours)])
def test_killed_again_and_again(cyclegan_folder: Path, tmp_path: Path, count: int, kills: int) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(cyclegan_folder), str(source), str(output), str(count), str(kills)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=7200)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {"killed": kills, "code": 143}
    inputs = {path.relative_to(source).as_posix() for path in source.rglob("*.png")}
    outputs = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert len(inputs) == count
    assert outputs == {*inputs, "manifest.jsonl"}
    whole = (line for line in (output / "manifest.jsonl").read_bytes().split(b"\n") if line.endswith(b"}"))
    lines = [json.loads(line) for line in whole if line.startswith(b"{")]  # a kill may leave half a line
    assert {line["status"] for line in lines} == {"done"}
    twice = sum(number - 1 for number in Counter(line["input"] for line in lines).values())
    print(f"{count} files, {kills} kills: {twice} made twice")  # noqa: T201
    assert twice <= 8 * kills  # no more than were being named when the kill came
