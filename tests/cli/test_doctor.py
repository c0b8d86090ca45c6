"""`translate doctor`: its lines, its JSON and its exit code."""

import json

import pytest

from translate import cli
from translate.cli import doctor as command

FOUND = {
    "versions": {"torch": "2.15.0", "kornia": None},
    "machine": {
        "processor": "CPU X", "cores": 2, "threads": 1, "free_memory": 3 << 30, "shared_memory": None, "free_disk": 5 * 10**9,
        "file_locks": True, "cache": False, "mps": False,
        "bf16": True, "convolutions": {"winograd": 2, "direct": 1}, "environment": {"OMP_NUM_THREADS": "1"},
        "cuda": {"built_with": None, "cudnn": None, "has_driver": False, "devices": [], "free_memory": []},
    },
    "formats": {"png": None, "avif": "no encoder"},
    "decoders": {"pillow": None, "nvjpeg": "needs an NVIDIA GPU"},
    "extras": {"gpu": ["torchcodec"], "metrics": []},
    "self_test": {"ok": True, "seconds": 3.0, "error": None},
    "problems": [],
}  # fmt: skip


def test_what_works_and_what_does_not_stands_in_lines():
    lines = [" ".join(line.split()) for line in command.describe(FOUND)]
    for line in (
        "bf16 by instructions of the CPU", "convolutions timed here: winograd for 2 shapes, direct for 1 shapes",
        "kornia not installed", "processor CPU X; 2 cores, 1 threads of torch", "formats png", "format avif fails: no encoder",
        "gpu none (torch built without CUDA, driver: no)", "extra gpu misses torchcodec: uv sync --extra gpu",
        "extra metrics installed", "environment OMP_NUM_THREADS=1", "decoder nvjpeg needs an NVIDIA GPU",
        "self-test ok, 3.0 s", "no known trouble found",
    ):  # fmt: skip
        assert line in lines
    assert command.describe({**FOUND, "problems": ["it smokes"]})[-1] == "! it smokes"


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_is_that_of_the_self_test(monkeypatch, capsys, ok, code):
    found = {**FOUND, "self_test": {"ok": ok, "seconds": 3.0, "error": None if ok else "OSError: full"}}
    monkeypatch.setattr(command, "examine", lambda: found)
    assert cli.run(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == found
    assert cli.run(["doctor"]) == code
    assert ("failed: OSError: full" in capsys.readouterr().out) is not ok
