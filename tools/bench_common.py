"""Helpers of the benchmarks: their flags, a line on the machine, and the memory of a process (Linux only: it reads /proc)."""

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import torch

from translate.convolution_choice import CONVOLUTIONS
from translate.runtime import devices

DOUBLE = Path(__file__).parents[1] / "tests" / "parity" / "double.py"

CONVOLUTION_WAYS = (*CONVOLUTIONS, "full")
"""Values of a benchmark's `--convolution`: those of the package's, and "full" for auto with `--tune full`."""


def convolution_settings(way: str) -> dict[str, str]:
    """Return the settings that compute convolutions in one of CONVOLUTION_WAYS."""
    return {"convolution": "auto", "tune": "full"} if way == "full" else {"convolution": way}


def load_double() -> ModuleType:
    """Import the reference's algorithm in plain PyTorch from its file.

    Not by a name: extras install packages called `tests`, and any regular package would hide a folder of the same name.
    """
    spec = importlib.util.spec_from_file_location("reference_double", DOUBLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse_arguments(parser, rounds=7):
    """Parse the flags that all side-by-side benchmarks share, and set the number of torch's threads.

    They are added to those of the parser. `device` is returned as torch's, and `machine` as one line of text.
    """
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak is not None:
        return args
    torch.set_num_threads(args.threads)
    args.device = device = devices.resolve_device(args.device)
    where = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    args.machine = f"{devices.cpu_model()}, {os.cpu_count()} cores{where}, {args.threads} threads"
    print(f"{args.machine}, Python {platform.python_version()}, torch {torch.__version__}; {args.rounds} rounds")
    return args


def write_rows(args, rows):
    """Write all rows so far to the file of --json, if it is given."""
    if args.json:
        known = {"machine": args.machine, "torch": str(torch.__version__), "rows": rows}
        args.json.write_text(json.dumps(known, indent=2))


def run_in_new_process(script, asked):
    """Return the number that a script prints last when it is given --peak and a request."""
    command = [sys.executable, script, "--peak", json.dumps({**asked, "threads": torch.get_num_threads()})]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def reset_peak_memory():
    """Reset the peak of the resident set size."""
    Path("/proc/self/clear_refs").write_text("5")


def proc_status_bytes(name):
    """Return a value of /proc/self/status in bytes."""
    return int(re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
