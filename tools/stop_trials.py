"""Stop trainings under the wrappers that schedulers and shells use, at random moments, and print what became of them.

    uv run python tools/stop_trials.py [--each 10] [--wrappers timeout setsid uv torchrun] [--seed 0] [--json FILE]

Each wrapper stops a tiny training on the CPU so many times; three in ten stops fall into the start, before the first step. A
stop is right where the training process

* after the first step has written a checkpoint that loads, and ends with 130 or 143 (one process of torchrun: all of them);
* during the start ends with 130 or 143, or by the signal itself where that came before its first line of Python;
* leaves no lock and no temporary file, prints one line about it, and no traceback.

The last run of each wrapper is resumed. Linux only: it reads /proc.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CHECKOUT = Path(__file__).parents[1]
STARTS = 0.3
"""Share of the stops that fall into the start."""
PATIENCE = 300
"""Seconds to wait for a first step, or for an end."""
TORCHRUN = ["torchrun", "--standalone", "--nproc-per-node", "2", "--"]

UV = ["uv", "run"] if shutil.which("uv") else []
PYTHON = [*UV, "python"] if UV else [sys.executable]


def to_group(process, number):
    os.killpg(process.pid, number)


def to_one(process, number):
    process.send_signal(number)


WRAPPERS = {
    "timeout": (["timeout", "600", *PYTHON], to_one),  # it signals its child, and then its group
    "setsid": (["setsid", *PYTHON], to_group),
    "uv": (PYTHON, to_one),
    "torchrun": ([*UV, *TORCHRUN] if UV else [sys.executable, "-m", "torch.distributed.run", *TORCHRUN[1:]], to_group),
}
"""Name → what stands before the script, and who gets the signal."""


def main():
    """Run the trials and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--wrappers", nargs="+", choices=WRAPPERS, default=list(WRAPPERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rng, rows = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as place:
        root = write_pairs(Path(place) / "pairs")
        print(f"{'wrapper':<10}{'signal':<9}{'when':<22}{'codes':<12}{'images':>7}  {'seconds':>7}  verdict")
        for name in args.wrappers:
            for n in range(args.each):
                in_start = n < STARTS * args.each
                number = signal.SIGINT if n % 3 == 2 else signal.SIGTERM
                moment = rng.uniform(0.5, 12) if in_start else rng.uniform(0, 2)
                row = trial(name, number, moment, in_start, root, Path(place) / f"{name}-{n}")
                if n == args.each - 1 and not row["faults"]:
                    row["faults"] += resumes(root, Path(place) / f"{name}-{n}")
                rows.append(row)
                show(row)
    good = sum(not row["faults"] for row in rows)
    print(f"{good} of {len(rows)} stops are right")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))
    sys.exit(good < len(rows))


def write_pairs(root):
    """Write six side-by-side images."""
    (root / "train").mkdir(parents=True)
    for n in range(6):
        pixels = np.random.default_rng(n).integers(0, 256, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "train" / f"{n}.png")
    return root


def command(root, run, images):
    """Return the words of a tiny training."""
    sizes = ["--crop-size", "32", "--load-size", "32", "--g-width", "4", "--d-width", "4", "--threads", "1"]
    often = ["--log-every", "2", "--save-every", "1000000", "--watch", "off", "--device", "cpu"]
    return ["train", "pix2pix", str(root), "--run", str(run), "--images", str(images), *sizes, *often]


def trial(name, number, moment, in_start, root, run):
    """Start a training, stop it, and return what is wrong with what is left."""
    wrapper, send = WRAPPERS[name]
    codes = run.with_name(f"{run.name}-codes")
    codes.mkdir()
    words = [*wrapper, __file__, "--child", str(codes), *command(root, run, 1_000_000)]
    with open(run.with_name(f"{run.name}-log"), "w+", encoding="utf-8") as log:
        process = subprocess.Popen(words, stderr=log, stdout=log, cwd=CHECKOUT, start_new_session=name != "setsid")
        try:
            if not in_start:
                wait_for(lambda: (run / "stats.jsonl").exists() or process.poll() is not None)
            time.sleep(moment)
            asked = time.monotonic()
            send(process, number)
            process.wait(PATIENCE)
            wait_for(lambda: not processes_of(run))
            seconds = time.monotonic() - asked
        finally:
            for pid in [process.pid, *processes_of(run)] if process.poll() is None else processes_of(run):
                os.kill(pid, signal.SIGKILL)
        log.seek(0)
        told = log.read()
    found = [int(path.read_text() or 0) for path in sorted(codes.iterdir())]
    faults, images = judge(run, told, found, number)
    row = {"wrapper": name, "signal": number.name, "moment": round(moment, 2), "start": in_start, "codes": found}
    return {**row, "wrapper_code": process.returncode, "images": images, "seconds": round(seconds, 2), "faults": faults}


def judge(run, told, codes, number):
    """Return what is wrong, and the images of the checkpoint; None where the training had not begun."""
    from translate.errors import ModelError
    from translate.run_folder import checkpoint_images, list_checkpoints
    from translate.training import checkpoint

    begun, paths = (run / "stats.jsonl").exists(), list_checkpoints(run)
    faults = ["traceback"] if re.search(r'File ".*/translate/', told) else []  # torchrun prints some of its own
    faults += [] if set(codes) <= {128 + number} else [f"codes {codes}"]
    left = [path.name for path in run.rglob("*") if path.name.startswith(".") or path.suffix == ".lock"]
    faults += [f"left: {', '.join(left)}"] if left else []
    lines = [line for line in told.splitlines() if line.startswith("error:")]
    faults += [f"{len(lines)} lines for {len(codes)} processes"] if len(lines) != len(codes) else []
    if begun and not paths:
        faults.append("no checkpoint")
    try:
        images = [checkpoint.load(path)["images"] for path in paths]
    except ModelError as e:
        return [*faults, str(e)], None
    assert images == [checkpoint_images(path) for path in paths]
    return faults, max(images, default=None)


def resumes(root, run):
    """Return what is wrong with resuming the run for two more images."""
    from translate.run_folder import checkpoint_images, list_checkpoints

    images = checkpoint_images(list_checkpoints(run)[0]) + 2
    words = [sys.executable, "-m", "translate", "resume", str(run), "--images", str(images), "--batch-size", "1"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True)
    told = f"trained on {images} images"
    return [] if done.returncode == 0 and told in done.stderr else [f"resume: {done.stderr.splitlines()[-1:]}"]


def show(row):
    """Print one row of the table."""
    when = f"start + {row['moment']} s" if row["start"] else f"first step + {row['moment']} s"
    codes, images = " ".join(map(str, row["codes"])) or "-", row["images"] if row["images"] is not None else "-"
    verdict = "; ".join(row["faults"]) or "right"
    print(
        f"{row['wrapper']:<10}{row['signal']:<9}{when:<22}{codes:<12}{images!s:>7}  {row['seconds']:>7}  {verdict}",
        flush=True,
    )


def processes_of(run):
    """Return the processes, but for this one, whose command line names the run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(run).encode() in path.read_bytes().split(b"\0") and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


def wait_for(condition):
    """Wait until something holds; an error after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing happens")
        time.sleep(0.02)


def child(codes, words):
    """Run the command in this process, and write its code into a file of the folder; empty: it did not come to its end."""
    path = Path(codes) / str(os.getpid())
    from translate import cli

    path.touch()
    try:
        cli.main(words)
    except SystemExit as e:
        path.write_text(str(e.code))
        raise


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    main()
