"""Time of commands from start to end, each in a process of its own, beside that of `import torch` alone.

    uv run python tools/bench_startup.py [--rounds 7] [--no-bytecode] [--json FILE]

The commands and `python -c "import torch"` take turns, one round after another; the first round, which brings everything into
the page cache, is not counted. Python keeps the bytecode of what it imports beside the sources or, here, in a folder of its
own; with --no-bytecode it compiles every source anew, as where PYTHONDONTWRITEBYTECODE is set. Medians: seconds of the
clock, then those of the processor, which other load on the machine changes less. Needs the shipped model.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

CHECKOUT = Path(__file__).parents[1]
TRANSLATE = [sys.executable, "-m", "translate"]
FLOOR = "import torch"


def commands(folder):
    """Return the commands to measure: name → words."""
    image, run, model = folder / "image.jpg", folder / "run", CHECKOUT / "checkpoints" / "blond-hair"
    Image.linear_gradient("L").convert("RGB").resize((128, 128)).save(image)
    run.mkdir()
    (run / "stats.jsonl").write_text('{"images": 10, "step": 10, "loss/g": 1.0}\n')
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        FLOOR: [sys.executable, "-c", "import torch"],
        "translate --help": [*TRANSLATE, "--help"],
        "translate data list": [*TRANSLATE, "data", "list"],
        "translate status RUN": [*TRANSLATE, "status", run],
        "translate convert --help": [*TRANSLATE, "convert", "--help"],
        "translate convert MODEL IMAGE FILE": [*TRANSLATE, "convert", model, image, folder / "b.jpg", "--overwrite"],
    }


def environment(folder, bytecode):
    """Return the environment of the processes; two threads would make processor time depend on how they wait for each other."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    code = {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")} if bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **code, "OMP_NUM_THREADS": "1"}


def seconds(words, env):
    """Seconds of the clock and of the processor."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(words, env=env, cwd=CHECKOUT, check=True, capture_output=True)
    elapsed, after = time.perf_counter() - started, os.times()
    return elapsed, sum(after[2:4]) - sum(before[2:4])


def measured(rounds, bytecode):
    """Medians by command."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        env, todo = environment(folder, bytecode), commands(folder)
        taken = {name: [] for name in todo}
        for number in range(rounds + 1):
            for name, words in todo.items():
                found = seconds(words, env)
                if number:
                    taken[name].append(found)
    return {name: [statistics.median(each) for each in zip(*pairs, strict=True)] for name, pairs in taken.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-bytecode", action="store_true", help="every source is compiled at every start")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    found = measured(args.rounds, not args.no_bytecode)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{machine}; medians of {args.rounds} rounds, {'without' if args.no_bytecode else 'with'} bytecode\n")
    print("| | s | CPU-s | of import torch |\n|---|---|---|---|")
    for name, (elapsed, processor) in found.items():
        print(f"| `{name}` | {elapsed:.2f} | {processor:.2f} | {processor / found[FLOOR][1]:.2f} |")
    if args.json:
        rows = {name: {"seconds": elapsed, "cpu_seconds": processor} for name, (elapsed, processor) in found.items()}
        args.json.write_text(json.dumps({"machine": machine, "bytecode": not args.no_bytecode, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
