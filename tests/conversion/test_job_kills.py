"""A job that is killed (SIGKILL) at random moments, and started again each time, ends as if nobody had touched it."""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = '''
"""Forks children that run the job; kills each but the last at a random moment; reads all outputs as they appear."""
import io, json, os, random, signal, sys, threading, time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

torch.set_num_threads(1)
from translate.conversion import job
from translate.trained import translator

model, source, output, kills, seed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
samples = int(sys.argv[6]) or None
loaded = translator.load(model, device="cpu")
rng = random.Random(seed)


def run(place):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job.convert(loaded, source, place, job.ConversionOptions(format="png", samples=samples))
            code = 0
        finally:
            os._exit(code)
    return child


broken, seen, over = [], {}, threading.Event()


def read_all():
    """As somebody who opens each file as soon as it is there."""
    while True:
        last = over.is_set()
        for folder, _, names in os.walk(output):
            for name in names:
                path = Path(folder, name)
                if path.suffix != ".png" or name.startswith("."):
                    continue
                try:
                    stat = path.stat()
                    if seen.get(path) == stat.st_ino:
                        continue
                    with Image.open(io.BytesIO(path.read_bytes())) as image:
                        image.load()
                    seen[path] = stat.st_ino
                except Exception as e:
                    broken.append(f"{path}: {e!r}")
        if last:
            return
        time.sleep(0.01)


started = time.monotonic()
_, status = os.waitpid(run(output.with_name("whole")), 0)
assert status == 0
whole = time.monotonic() - started
reader = threading.Thread(target=read_all)
reader.start()
killed = 0
for n in range(kills):
    child = run(output)
    time.sleep(rng.uniform(0, 2.5 * whole / kills))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed += status == signal.SIGKILL
_, status = os.waitpid(run(output), 0)
over.set()
reader.join()
print(json.dumps({"killed": killed, "status": status, "broken": broken, "seen": len(seen)}))
'''

DRAW = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
for n in range(int(sys.argv[2])):
    path = Path(sys.argv[1]) / f"{n % 7}" / f"{n}.{('png', 'jpg', 'bmp')[n % 3]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(n).integers(0, 256, (24 + 4 * (n % 5), 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
"""


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("manifest"))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "kills", "samples"), [(100, 8, 0), (25, 8, 4), pytest.param(1000, 100, 0, marks=pytest.mark.hours)]
)
def test_killed_again_and_again(pix2pix_folder: Path, tmp_path: Path, images: int, kills: int, samples: int) -> None:
    """samples: outputs of each input; 0: one, without a number."""
    source, output = tmp_path / "in", tmp_path / "out"
    subprocess.run([sys.executable, "-c", DRAW, str(source), str(images)], check=True)
    before = hashes(source)
    command = [sys.executable, "-c", SCRIPT, str(pix2pix_folder), str(source), str(output), str(kills), "0"]
    outputs = images * max(1, samples)
    done = subprocess.run([*command, str(samples)], capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (
        told["killed"] > 0
    )  # the others had come to their end; how many decides how fast the machine is at the moment
    assert (told["status"], told["broken"], told["seen"]) == (0, [], outputs)
    assert hashes(source) == before
    made = hashes(output)
    assert len(made) == outputs
    assert made == hashes(tmp_path / "whole")
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_bytes().split(b"\n") if line.startswith(b"{")
             and line.endswith(b"}")]  # fmt: skip
    twice = sum(count - 1 for count in Counter((line["input"], line.get("sample")) for line in lines).values())
    print(f"{images} images, {told['killed']} kills: {twice} made twice")  # noqa: T201
    assert {line["input"] for line in lines} == set(before)
    assert twice <= 8 * told["killed"]  # no more than were being named when the kill came
