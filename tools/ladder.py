"""Recipes compared at equal CPU time, with error bars: the lines of docs/quality.jsonl and the tables of docs/quality.md.

    uv run --extra metrics python tools/ladder.py --list                        what is there, and what is not
    uv run --extra metrics python tools/ladder.py --dry-run                     commands, and a forecast of the time
    uv run --extra metrics python tools/ladder.py --jobs 2                      train and evaluate what is missing
    uv run --extra metrics python tools/ladder.py --stage elements --only set=earth_map,seed=0
    uv run python tools/ladder.py --table                                       print the tables, and write them into the page

Each cell is one training of a recipe on a set, in a process of its own with one thread. Its number of images is chosen so that
it takes the stage's CPU time on this machine: one short training of each recipe and set measures how many images a CPU second
is good for. The cell is then evaluated, and is one line of docs/quality.jsonl. Cells that have a line are passed over, so the
same command again continues, also on another machine: only recipes that are compared must be trained on one kind of processor.
ladder_recipes.py has the sets, recipes and stages.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from ladder_code import code_versions, data_version, plugin_versions
from ladder_recipes import (
    MAIN,
    MEASURES,
    RECIPES,
    SETS,
    STAGES,
    Cell,
    command_words,
    compared_cells,
    length_settings,
    resolve_settings,
    stage_cells,
    training_settings,
    why_unavailable,
)
from ladder_table import BEGIN, END, newest, replace_tables, tables
from ladder_worker import Calibration

from translate import atomic
from translate.config import to_dict
from translate.errors import TranslateError, UsageError
from translate.evaluation import extractors
from translate.runtime import devices
from translate.text import duration, one_line

ROOT = Path(__file__).resolve().parents[1]
CALIBRATION_SECONDS = 15.0
"""CPU seconds of the training that measures a recipe's speed, or the budget where that is less."""
START_SECONDS = 15.0
"""Seconds of a process's imports and first step, for the forecast."""
EVALUATION_SECONDS = 120.0
"""Seconds of an evaluation, for the forecast while no line of the set is there."""


FIELDS = ("set", "method", "recipe", "budget", "seed")
"""Fields of --only."""


class Stopped(Exception):
    """End of a worker by a signal: its cell stays open."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of JSON lines; none if it does not exist. UsageError for one that is no object."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines() if path.exists() else (), start=1):
        try:
            line = json.loads(text)
        except ValueError as e:
            raise UsageError(f"{path}, line {number}: not JSON ({e}); remove the line") from None
        if not isinstance(line, dict):
            raise UsageError(f"{path}, line {number}: not an object; remove the line")
        lines.append(line)
    return lines


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Append a line, its numbers with six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.append(path, (json.dumps(_rounded(line)) + "\n").encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def parse_only(text: str) -> dict[str, set[str]]:
    """Return the values of --only by field: "set=earth_map,set=earth_season,seed=0". UsageError for what is no field."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        if name not in FIELDS or not value:
            raise UsageError(f"--only {text}: {item!r} is no FIELD=VALUE with a field of {', '.join(FIELDS)}")
        wanted[name].add(value)
    return wanted


def is_wanted(cell: Cell, wanted: Mapping[str, set[str]]) -> bool:
    """Return whether a cell has one of the values of each field that is asked for."""
    own = vars(cell) | {"budget": f"{cell.budget:g}"}
    return all(str(own[name]) in values for name, values in wanted.items())


def with_compared(cells: Iterable[Cell]) -> list[Cell]:
    """Return cells, each that is not of a main recipe after the one that it is compared with."""
    return list(dict.fromkeys(
        each for cell in cells for each in ([cell] if cell.recipe in MAIN else [*compared_cells(cell), cell])
    ))  # fmt: skip


def open_cells(
    cells: Iterable[Cell], lines: Iterable[Mapping[str, Any]], cpu: str, *, retry: bool = False
) -> list[Cell]:
    """Return the cells that have no line of this processor, and are not finished on another one.

    They are finished there if the cells that they are compared with have lines of it, too. The main recipe that an open cell of
    another recipe is compared with is open without a line of this processor. With `retry`, a line with an error is none.
    """
    known = {place for place, line in newest(lines).items() if not (retry and "error" in line)}
    others = {place[0] for place in known} - {cpu}

    def is_finished(cell: Cell) -> bool:
        if (cpu, cell) in known:
            return True
        on = [other for other in others if (other, cell) in known]
        return bool(on) and any(all((other, each) in known for each in compared_cells(cell)) for other in on)

    cells = list(cells)
    missing = {cell for cell in cells if not is_finished(cell)}
    beside = {each for cell in missing if cell.recipe not in MAIN for each in compared_cells(cell)}
    return [cell for cell in cells if cell in missing or (cell in beside and (cpu, cell) not in known)]


@dataclass
class Ladder:
    """The runs of a call: calibrations, workers, lines."""

    args: argparse.Namespace
    cpu: str
    lines: list[dict[str, Any]]
    commit: str
    code: str
    """Hash of the package's files, of which the speed is a property."""
    processes: set[subprocess.Popen[str]] = field(default_factory=set)
    stopping: bool = False
    writing: threading.Lock = field(default_factory=threading.Lock)
    calibrating: dict[Any, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    @property
    def calibrations(self) -> Path:
        """File of the calibrations, which are not committed."""
        return self.args.work / "calibration.jsonl"

    def root(self, cell: Cell) -> Path:
        return self.args.sets / cell.set

    def known_calibration(self, cell: Cell) -> Calibration | None:
        """Return what was measured of a cell's recipe on its set with this code, processor and number of jobs."""
        key = self._calibration_key(cell)
        with self.writing:
            lines = read_lines(self.calibrations)
        found = [line for line in lines if all(line.get(name) == key[name] for name in key)]
        return Calibration(found[-1]["rate"], found[-1]["setup"]) if found else None

    def _calibration_key(self, cell: Cell) -> dict[str, Any]:
        return {
            "set": cell.set, "method": cell.method, "recipe": cell.recipe, "cpu": self.cpu, "code": self.code,
            "torch": str(torch.__version__), "jobs": self.args.jobs, **plugin_versions(RECIPES[cell.recipe].plugin_files),
        }  # fmt: skip

    def calibrate(self, cell: Cell) -> Calibration:
        """Return the cost of a cell's images, measured if it is not known. RuntimeError if that fails."""
        with self.calibrating[cell.set, cell.method, cell.recipe]:
            if (known := self.known_calibration(cell)) is not None:
                return known
            seconds = min(CALIBRATION_SECONDS, cell.budget)
            task = {**self._task(cell), "task": "calibrate", "seconds": seconds}
            found = self._work(task, self.args.work / f"{cell.name}-calibration.log")
            if "error" in found:
                raise RuntimeError(found["error"])
            with self.writing:
                append_line(self.calibrations, {**self._calibration_key(cell), **found})
            return Calibration(**found)

    def _task(self, cell: Cell) -> dict[str, Any]:
        recipe = RECIPES[cell.recipe]
        return {
            "method": recipe.trained_method(cell.method), "preset": recipe.preset, "root": str(self.root(cell)),
            "plugins": [str(file) for file in recipe.plugin_files], "length_shares": dict(recipe.length_shares),
            "settings": training_settings(cell), "batch_size": resolve_settings(cell).batch_size,
        }  # fmt: skip

    def run(self, cell: Cell) -> None:
        """Train and evaluate a cell, and append its line, also where that fails."""
        try:
            line = self.compute(cell)
        except Stopped:
            return
        except (RuntimeError, UsageError) as e:
            line = {"error": one_line(e)}
        references = line.pop("references", {})
        with self.writing:
            self.add_references(cell, references)
            self.add({**self._place(cell.set), **vars(cell), **line})
        print(f"{cell.name}: {outcome(line)}", file=sys.stderr, flush=True)

    def compute(self, cell: Cell) -> dict[str, Any]:
        """Return what a cell's line says beside its place. RuntimeError if it cannot be computed."""
        images = self.calibrate(cell).images(cell.budget, resolve_settings(cell).batch_size)
        run, keep = self.args.work / cell.name, self.args.keep
        task = {
            **self._task(cell), "task": "train", "run": str(run), "length": length_settings(cell, images),
            "resolved": to_dict(resolve_settings(cell)) | plugin_versions(RECIPES[cell.recipe].plugin_files),
            "commit": self.commit,
            "size": SETS[cell.set].load_size, "truth": SETS[cell.set].truth,
            "sheet": str(keep / f"{cell.name}.png") if keep else None,
        }  # fmt: skip
        found = self._work(task, self.args.work / f"{cell.name}.log")
        if keep and (run / "model").is_dir():
            shutil.copytree(run / "model", keep / cell.name, dirs_exist_ok=True)
        if "error" not in found:
            shutil.rmtree(run, ignore_errors=True)
        return found

    def _place(self, data: str) -> dict[str, Any]:
        """Return the entries of all lines."""
        return {
            "set": data, "data": data_version(self.args.sets / data), "cpu": self.cpu,
            "torch": str(torch.__version__), "python": platform.python_version(),
            "threads": 1, "jobs": self.args.jobs, "commit": self.commit,
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        }  # fmt: skip

    def add(self, line: dict[str, Any]) -> None:
        append_line(self.args.out, line)
        self.lines.append(line)

    def add_references(self, cell: Cell, references: Mapping[str, Any]) -> None:
        """Append the references of a set, where this machine has no line of them, or one with fewer metrics."""
        known = newest(self.lines)
        for name, metrics in references.items():
            before = known.get((self.cpu, (cell.set, name)), {}).get("metrics", {})
            if metrics.keys() - before.keys():
                empty = {"method": None, "recipe": name, "budget": None, "seed": None}
                self.add({**self._place(cell.set), **empty, "metrics": {**before, **metrics}})

    def _work(self, task: Mapping[str, Any], log: Path) -> dict[str, Any]:
        """Run a task in a process of its own; its messages go to a file. RuntimeError if it crashes, Stopped if it is ended."""
        log.parent.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(ROOT / "tools" / "ladder_worker.py"), json.dumps(task)]
        with open(log, "w") as messages:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=messages, env=env, text=True, start_new_session=True
            )
            self.processes.add(process)
            if self.stopping:
                process.terminate()
            output, _ = process.communicate()
            self.processes.discard(process)
        if self.stopping:
            raise Stopped
        if process.returncode:
            last = next((text for text in reversed(log.read_text().splitlines()) if text.strip()), "no message")
            raise RuntimeError(f"exit code {process.returncode}: {last} ({log.name})")
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def stop(self) -> None:
        """End all workers; their cells stay open."""
        self.stopping = True
        for process in list(self.processes):
            process.terminate()


def outcome(line: Mapping[str, Any]) -> str:
    """Return the result of a cell in one line."""
    if "error" in line:
        return f"failed: {line['error']}"
    kid = line.get("metrics", {}).get("kid_el0")
    kid_text = f", KID-EL0 {kid['value']:.3f}" if kid else ""
    return f"{line['images']} images in {line['cpu_seconds']:.0f} CPU s{', diverged' if line['diverged'] else ''}{kid_text}"


def missing_measures() -> list[str]:
    """Return why metrics cannot be computed here, one line each: the version lacks them, or a package is not installed."""
    reasons = [measure.why_missing for measure in MEASURES]
    for measure in MEASURES:
        if measure.extractor is not None and not measure.why_missing:
            try:
                extractors.load_extractor(measure.extractor)
            except TranslateError as e:
                reasons.append(one_line(e))
    return list(dict.fromkeys(filter(None, reasons)))


def forecast(cells: Sequence[Cell], ladder: Ladder) -> float:
    """Return the seconds that the cells will take with this number of jobs, at the speed of an idle machine."""
    times = defaultdict(list)
    for line in ladder.lines:
        if line.get("evaluation_seconds") and line["cpu"] == ladder.cpu:
            times[line["set"]].append(line["evaluation_seconds"])
    seconds = 0.0
    for cell in cells:
        evaluation = statistics.median(times[cell.set]) if times[cell.set] else EVALUATION_SECONDS
        seconds += cell.budget + evaluation + START_SECONDS
    recipes = {(cell.set, cell.method, cell.recipe): cell for cell in cells if ladder.known_calibration(cell) is None}
    seconds += sum(min(CALIBRATION_SECONDS, cell.budget) + 2 * START_SECONDS for cell in recipes.values())
    return seconds / ladder.args.jobs


def print_commands(cells: Iterable[Cell], ladder: Ladder) -> None:
    """Print the training of each cell as a command; N stands for a number of images that is not measured yet."""
    for cell in cells:
        known = ladder.known_calibration(cell)
        length: dict[str, Any] = dict.fromkeys(length_settings(cell, 0), "N")
        if known is not None:
            length = length_settings(cell, known.images(cell.budget, resolve_settings(cell).batch_size))
        print("translate " + shlex.join(command_words(cell, ladder.root(cell), ladder.args.work / cell.name, length)))


def print_states(cells: Sequence[Cell], ladder: Ladder) -> None:
    """Print each cell and whether it is finished, open or cannot be computed here."""
    known = newest(ladder.lines)
    missing = set(open_cells(cells, ladder.lines, ladder.cpu))
    for cell in cells:
        found = [line for (_, each), line in known.items() if each == cell]
        line = known.get((ladder.cpu, cell)) or (found[-1] if found and cell not in missing else None)
        reason = why_unavailable(cell, ladder.args.sets)
        print(f"{cell.name}: {outcome(line) if line else reason or 'open'}")


def write_tables(args: argparse.Namespace) -> None:
    """Print the tables of all lines, and write them between the markers of the page. UsageError if it has none."""
    text = tables(read_lines(args.out))
    page = args.page.read_text() if args.page.exists() else ""
    if BEGIN not in page or END not in page:
        raise UsageError(f"{args.page}: has no lines {BEGIN} and {END}; give the page with --page")
    atomic.write(args.page, replace_tables(page, text).encode())
    print(text)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=STAGES, action="append", help="part of the ladder [default: main]")
    parser.add_argument("--budget", type=float, help="CPU seconds of each training, instead of the stage's")
    parser.add_argument("--only", default="", metavar="FIELD=VALUE,…", help=f"cells of these {', '.join(FIELDS)}")
    parser.add_argument("--sets", type=Path, default=ROOT / "datasets", help="folder of the sets")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "checkpoints" / "ladder", help="folder of logs and calibrations"
    )
    parser.add_argument("--keep", type=Path, help="folder for a sheet of images and the model of each cell")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "quality.jsonl", help="file of the lines")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "quality.md", help="page of the tables")
    parser.add_argument("--jobs", type=int, default=1, help="cells side by side, one thread each")
    parser.add_argument("--partial", action="store_true", help="go on although metrics are missing")
    parser.add_argument("--retry", action="store_true", help="try cells again whose line is an error")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the cells and what became of them")
    what.add_argument("--dry-run", action="store_true", help="print the commands of open cells and a forecast")
    what.add_argument("--table", action="store_true", help="print the tables, and write them into the page")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.table:
        write_tables(args)
        return
    ladder = Ladder(args, devices.cpu_model(), read_lines(args.out), *code_versions())
    stages = [STAGES[name] for name in args.stage or ["main"]]
    wanted = parse_only(args.only)
    cells = (cell for stage in stages for cell in stage_cells(stage, args.budget) if is_wanted(cell, wanted))
    chosen = with_compared(cells)
    if args.list:
        print_states(chosen, ladder)
        return
    missing = open_cells(chosen, ladder.lines, ladder.cpu, retry=args.retry)
    reasons = {cell: why_unavailable(cell, args.sets) for cell in missing}
    todo = [cell for cell, reason in reasons.items() if not reason]
    for reason in dict.fromkeys(filter(None, reasons.values())):
        print(f"left out, {sum(each == reason for each in reasons.values())} cells: {reason}", file=sys.stderr)
    unmeasured = missing_measures()
    for reason in unmeasured:
        print(f"left out: {reason}", file=sys.stderr)
    if args.dry_run:
        print_commands(todo, ladder)
    seconds = duration(forecast(todo, ladder))
    print(f"{len(todo)} of {len(chosen)} cells to compute: about {seconds}, --jobs {args.jobs}", file=sys.stderr)
    if args.dry_run:
        return
    if unmeasured and not args.partial:
        raise UsageError("a metric is missing, see above: install what it needs, or go on without it by --partial")
    run_all(todo, ladder)


def run_all(cells: Iterable[Cell], ladder: Ladder) -> None:
    """Compute cells side by side; a signal ends all workers."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with ThreadPoolExecutor(ladder.args.jobs) as pool:
        work = [pool.submit(ladder.run, cell) for cell in cells]
        try:
            for each in work:
                each.result()
        except KeyboardInterrupt:
            ladder.stop()
            pool.shutdown(cancel_futures=True)
            sys.exit("stopped; the same command continues with the cells that have no line yet")


if __name__ == "__main__":
    try:
        main()
    except UsageError as e:
        sys.exit(str(e))
