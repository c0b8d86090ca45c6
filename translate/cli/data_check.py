"""`translate data check ROOT`: check a data folder for problems."""

import json as json_module
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate.cli.console import say
from translate.cli.flags import JSON
from translate.errors import DataError
from translate.text import join_names, memory_size, printable


def check(
    root: Annotated[Path, Parameter(help="data folder")],
    /,
    *,
    layout: Annotated[
        str | None, Parameter(help="unpaired, paired, domains or images [default: detected from the folder]")
    ] = None,
    load_size: Annotated[
        int | None, Parameter(help="load size of the training [default: crop size · 286 / 256]")
    ] = None,
    crop_size: Annotated[int, Parameter(help="crop size of the training")] = 256,
    distance: Annotated[
        int, Parameter(help="near-duplicates are images whose 64-bit hashes differ in at most N bits")
    ] = 4,
    limit: Annotated[
        int | None, Parameter(help="decode at most N evenly spaced files of each folder [default: all]")
    ] = None,
    truth: Annotated[
        str | None,
        Parameter(
            help="names: held-out files of one name show the same, though the set is unpaired; none: they do not "
            "[default: as the data set's card says]"
        ),
    ] = None,
    label_count: Annotated[
        int | None, Parameter(help="trainA holds label maps of N classes: check their values [default: images]")
    ] = None,
    palette: Annotated[
        Path | None, Parameter(help="file of the classes' colours, for colour-coded label maps [default: none]")
    ] = None,
    ignore_index: Annotated[
        int | None, Parameter(help="value of label maps for pixels without a label [default: 255]")
    ] = None,
    quarantine: Annotated[
        Path | None,
        Parameter(
            help="file for the paths of bad files, one a line (a path with line breaks as a JSON string) [default: none]"
        ),
    ] = None,
    json: Annotated[bool, JSON] = False,
) -> None:
    """Check a data folder for bad files, sizes, pairs, near-duplicates and memory.

    Nothing in the folder is changed. The exit code is 3 if training on it is impossible, else 0.
    """
    from translate import api  # imports torch, which the list of data sets does not need

    report = api.check_data(
        root, layout=layout, load_size=load_size, crop_size=crop_size, distance=distance, limit=limit,
        truth=truth, label_count=label_count, palette=palette, ignore_index=ignore_index, quarantine=quarantine, say=say,
    )  # fmt: skip
    if json:
        print(json_module.dumps(report))
    else:
        width = min(shutil.get_terminal_size((80, 0)).columns, 100)
        for line in report_lines(report, width):
            print(printable(line))
    if report["errors"]:
        raise DataError("; ".join(report["errors"]))


def report_lines(report: dict[str, Any], width: int) -> Iterator[str]:
    """Return the report as lines: a table of the folders, then notes on all of them."""
    layouts = " or ".join(report["layouts"]) or "no layout found"
    form = ", side by side" if report["side_by_side"] else ""
    yield f"{printable(report['root'])}: {layouts}{form}; load size {report['load_size']}, crop {report['crop_size']}"
    yield ""
    yield from _tables(report, width)
    yield ""
    notes = list(_notes(report))
    for title, text in notes:
        yield from textwrap.wrap(
            f"{title:<17}{text}", width, subsequent_indent=" " * 17, break_long_words=False, break_on_hyphens=False
        )
    for kind in ("warnings", "errors"):
        if report[kind]:
            yield ""
            yield {"warnings": "warnings", "errors": "errors: training is impossible"}[kind]
        for text in report[kind]:
            yield from textwrap.wrap(
                text, width, initial_indent="  • ", subsequent_indent="    ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    if not report["warnings"] and not report["errors"]:
        yield "no problems found"


Column = tuple[str, str, dict[str, Any]]
"""Split, domain, and the facts of its folder."""


def _tables(report: dict[str, Any], width: int) -> Iterator[str]:
    """Return the lines of tables, each with as many folders as fit: there may be many domains."""
    columns = [(split, domain, facts) for split, row in report["splits"].items() for domain, facts in row.items()]
    while columns:
        count = len(columns)
        while count > 1 and max(map(len, _table(report, columns[:count]))) > width:
            count -= 1
        yield from _table(report, columns[:count])
        columns = columns[count:]
        if columns:
            yield ""


def _table(report: dict[str, Any], columns: list[Column]) -> Iterator[str]:
    """Return the lines of a table with a column for each folder; rows of zeros are left out, but for the first ones."""
    near = report["near_duplicates"]
    every = [facts for _, _, facts in columns]
    rows: list[tuple[str, list[Any]]] = [
        ("", [facts["folder"] if facts["folder"] != "." else "images" for facts in every]),
        ("files", [facts["files"] for facts in every]),
        ("checked", [facts["checked"] for facts in every]),
        ("unreadable", [len(facts["unreadable"]) for facts in every]),
        ("ignored", [len(facts["passed_over"]) for facts in every]),
    ]
    half = " of each half" if report["side_by_side"] else ""
    for name, title in (("min", "smallest size"), ("median", "median size"), ("max", "largest size")):
        sizes = ["×".join(map(str, facts["size"][name])) if facts["size"] else "–" for facts in every]
        rows.append((title + half, sizes))
    rows.append(
        ("width / height", [_span(**facts["aspect"]) if facts["aspect"] else "–" for facts in every]),
    )
    rows.append(("smaller than crop", [facts["smaller_than_crop"] for facts in every]))
    for kind in sorted({kind for facts in every for kind in facts["kinds"]}):
        rows += [(kind, [facts["kinds"].get(kind, 0) for facts in every])]
    rows.append(("near-duplicates", [near[domain]["within"].get(split, 0) for split, domain, _ in columns]))
    rows.append(("also in train", [near[domain]["in_train"].get(split, 0) for split, domain, _ in columns]))
    first = max(len(title) for title, _ in rows) + 1
    widths = [max(len(str(cells[i])) for _, cells in rows) + 2 for i in range(len(columns))]
    for number, (title, cells) in enumerate(rows):
        if number < 4 or any(cells):
            yield f"{title:<{first}}" + "".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))


def _span(min: float, max: float) -> str:
    return f"{min:.2f}" if f"{min:.2f}" == f"{max:.2f}" else f"{min:.2f}–{max:.2f}"


def _notes(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for split, pairs in report["pairs"].items():
        rule = f", matched {pairs['rule']}" if pairs["rule"] else ""
        yield f"pairs, {split}", f"{pairs['matched']}{rule}, {len(pairs['unmatched'])} images unmatched"
    for split, truth in report["truth"].items():
        yield f"truth, {split}", printable(truth["why"] if truth["known"] else f"not known: {truth['why']}")
    domains = [facts["folder"] for facts in report["splits"].get("train", {}).values()]
    if len(domains) == 2 and all(name.startswith("train/") for name in domains):
        names = join_names(name.removeprefix("train/") for name in domains)
        yield (
            "two domains",
            f"{names} are read as such by stargan; cyclegan, pix2pix and kin need them as trainA/ and trainB/",
        )
    memory, decoding = report["memory"], report["decoding"]
    needs = [f"{name} {memory_size(memory[name]['bytes'])}" for name in ("resident", "ram", "stream")]
    free = f"{memory_size(memory['resident']['free'])} free ({memory['device']})"
    yield "memory by tier", f"{', '.join(needs)}; {free}; chosen automatically: {memory['automatic']}"
    seconds, epoch = decoding["cpu_seconds_per_epoch"], decoding["images_per_epoch"]
    times = "in each epoch" if memory["automatic"] == "stream" else "once, then kept in memory"
    yield "decoding", f"about {seconds:.1f} s of CPU time for the {epoch} images of an epoch, {times}"
