"""A video whose conversion is killed (SIGKILL) again and again, and resumed each time, ends as if nobody had touched it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.videos.video_files import number_of, packets, picture, pictures, times, write_video

pytest.importorskip("av")

SCRIPT = '''
"""Forks children that convert the video to its negative; kills each but the last at a random moment."""
import json, os, random, signal, sys, time
from pathlib import Path

import torch

torch.set_num_threads(1)
from translate.conversion import job
from translate.conversion.item import ItemConverter
from translate.conversion.video import video_item
from translate.trained import translator

video_item.SEGMENT_FRAMES = 20
model, source, output, kills = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
loaded = translator.load(model, device="cpu")
rng = random.Random(0)


def translate_frames(converter, item, frames):
    time.sleep(0.005)
    return [255 - frame for frame in frames]


ItemConverter.translate_frames = translate_frames


def run(place):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job.convert(loaded, source, place, job.ConversionOptions(temporal=0.5))
            code = 0
        finally:
            os._exit(code)
    return child


started = time.monotonic()
_, status = os.waitpid(run(output.with_name("whole")), 0)
assert status == 0
whole = time.monotonic() - started
killed = 0
for _ in range(kills):
    child = run(output)
    time.sleep(rng.uniform(0.1, 0.6) * whole)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed += status == signal.SIGKILL
_, status = os.waitpid(run(output), 0)
print(json.dumps({"killed": killed, "status": status}))
'''


@pytest.mark.slow
def test_killed_again_and_again(cyclegan_folder: Path, tmp_path: Path) -> None:
    frames = [90 * (17 * number + number % 3) for number in range(200)]
    source = write_video(tmp_path / "in" / "a.mp4", map(picture, range(200)), frames, seconds=frames[-1] / 90000)
    output = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(cyclegan_folder), str(source.parent), str(output), "6"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["killed"] > 0  # the others had come to their end
    assert told["status"] == 0
    assert (output / "a.mp4").read_bytes() == (tmp_path / "whole" / "a.mp4").read_bytes()
    assert {path.name for path in output.iterdir()} == {"a.mp4", "manifest.jsonl"}
    assert times(output / "a.mp4") == times(source)
    assert packets(output / "a.mp4", "audio") == packets(source, "audio")
    assert len(pictures(output / "a.mp4")) == 200
    assert number_of(pictures(output / "a.mp4")[0], inverted=True) == 0
