"""`translate runs`: list the runs in a folder, with their progress and best metric."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.cli.flags import JSON
from translate.invocation import command_line
from translate.run_folder import CHECKPOINTS
from translate.text import ago, align_columns, file_size, format_number, printable

HEADINGS = ("run", "method", "data", "images", "best", "last log", "disk", "state")


def runs(
    folder: Annotated[Path, Parameter(help="folder of the runs")] = CHECKPOINTS,
    /,
    *,
    json: Annotated[bool, JSON] = False,
) -> None:
    """List the runs in a folder: method, data, images, best metric, state and disk use.

    The runs that trained last come first. Models, damaged runs and other folders follow, each with what it is.
    """
    found = api.runs(folder)
    if json:
        print(json_module.dumps(found))
    else:
        print_runs(found)


def print_runs(found: dict[str, Any]) -> None:
    """Print the result of `api.runs` on stdout."""
    rows, place = found["runs"], printable(found["folder"])
    if not rows:
        print(f"no runs in {place}; {command_line('train', 'METHOD', 'ROOT')} starts one")
        return
    for line in align_columns([HEADINGS, *map(_cells, rows)]):
        print(line)
    total = sum(row["bytes"] for row in rows)
    print(
        f"\n{len(rows)} in {place}, {file_size(total)}; {command_line('status', 'RUN')} shows one, and what it has kept"
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a folder's row."""
    data = Path(row["data"]).name if row["data"] else "–"
    images = "–" if row["images"] is None else f"{row['images']:,}"
    if row["planned"]:
        images += f" of {row['planned']:,}"
    state = row["state"] or (row["kind"] if row["problem"] is None else f"{row['kind']}: {row['problem']}")
    seen = ago(row["seen_at"]) if row["seen_at"] else "–"
    size = file_size(row["bytes"])
    return tuple(
        map(printable, (row["name"], row["method"] or "–", data, images, format_best(row["best"]), seen, size, state))
    )


def format_best(best: dict[str, Any] | None) -> str:
    """Return the best metric of a run as "l1 12.35 at 800 (val)"; "–" without one."""
    if best is None:
        return "–"
    at = "" if best["images"] is None else f" at {best['images']:,}"
    split = f" ({best['split']})" if best["split"] else ""
    return printable(f"{best['metric']} {format_number(best['value'])}{at}{split}")
