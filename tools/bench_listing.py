"""Start of a conversion, and check of a data set, of very many files: seconds and memory until the first image.

    uv run python tools/bench_listing.py [--files 100000 1000000] [--folder /dev/shm] [--cases new,resumed,check]

The files are hard links to one image, a thousand a folder, below a temporary folder that is removed afterwards. *new*: a job
that has done nothing; all is done but the conversion itself. *resumed*: a job that has done all. *check*: `translate data
check` of the same folder with 1,000 files decoded. Each case runs in a process of its own, forked once all is imported;
memory is the growth of its peak resident set from then on. Linux only.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

from bench_common import proc_status_bytes, reset_peak_memory
from bench_growth import untrained
from PIL import Image

from translate.api.dataset_check import check_data
from translate.conversion import job
from translate.conversion.inputs import list_inputs
from translate.conversion.item import ItemConverter
from translate.conversion.options import ConversionOptions
from translate.trained import translator

A_FOLDER = 1000
FORK = multiprocessing.get_context("fork")


def make_files(root, count):
    """Make hard links to one image of 16 px."""
    first = root / "image.png"
    Image.new("RGB", (16, 16), (90, 120, 30)).save(first)
    for start in range(0, count, A_FOLDER):
        folder = root / "in" / "trainA" / f"{start // A_FOLDER:05}"
        folder.mkdir(parents=True)
        for n in range(start, min(start + A_FOLDER, count)):
            os.link(first, folder / f"photo-{n:07}.png")
    return root / "in"


def start_conversion(model, source, output):
    """Do all of a conversion but the conversion of its images; return the number of those that are left."""
    left = []
    with patch.object(job, "_convert_items", lambda converter, guard, todo, *rest: left.append(len(todo))):
        job.convert(translator.load(model, device="cpu"), source, output)
    return left[0]


def pretend_all_is_done(model, source, output):
    """Write the manifest of a job that has done all, and its outputs."""
    ready = translator.load(model, device="cpu")
    listing = list_inputs(source, output)
    converter = ItemConverter(ready, listing.root, output, ConversionOptions())
    first = os.stat(source.parent / "image.png")
    made_from = [first.st_size, first.st_mtime_ns, "0" * 64]
    same = {"status": "done", "model": ready.sha256, "settings": converter.settings, "made_from": made_from}
    same |= {"sha256": "0" * 64, "seconds": 0.1, "bytes": first.st_size, "written": first.st_mtime_ns, "notices": []}
    with open(output / "manifest.jsonl", "w") as file:
        for name in listing.inputs:
            place = output / name
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(source.parent / "image.png", place)
            file.write(json.dumps({"input": name, "output": name, **same}) + "\n")


def check(model, source, output):
    found = check_data(source.parent / "in", layout="unpaired", limit=1000, say=None)
    return found["splits"]["train"]["a"]["files"]


CASES = {"new": start_conversion, "resumed": start_conversion, "check": check}


def measure(case, model, source, output):
    """Run a case in a process of its own; return what it gives, seconds by the clock and the processor, and bytes."""
    ours, theirs = FORK.Pipe()

    def work():
        reset_peak_memory()
        before, wall, cpu = proc_status_bytes("VmRSS"), time.monotonic(), time.process_time()
        result = CASES[case](model, source, output)
        theirs.send((result, time.monotonic() - wall, time.process_time() - cpu, proc_status_bytes("VmHWM") - before))

    process = FORK.Process(target=work)
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="file system of the files")
    parser.add_argument("--cases", default=",".join(CASES))
    options = parser.parse_args()
    print("| files | case | left or found | s | CPU-s | MiB |\n|---|---|---|---|---|---|")
    for count in options.files:
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            root = Path(place)
            model, source, output = untrained(root / "model"), make_files(root, count), root / "out"
            output.mkdir()
            for case in options.cases.split(","):
                if case == "resumed":
                    pretend_all_is_done(model, source, output)
                result, wall, cpu, memory = measure(case, model, source, output)
                print(f"| {count:,} | {case} | {result} | {wall:.1f} | {cpu:.1f} | {memory / 2**20:.0f} |", flush=True)


if __name__ == "__main__":
    main()
