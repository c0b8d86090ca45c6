"""`translate data list | get NAME`: list and download public data sets."""

import json as json_module
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from translate.catalog.cards import DatasetCard, find_card, presence, read_cards
from translate.catalog.shipped import HOME, shipped_folder
from translate.cli.console import open_console
from translate.cli.flags import APP_GROUPS, JSON
from translate.invocation import command_line
from translate.text import printable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from translate.catalog.download import DownloadOptions


app = App(name="data", help="Public data sets: list and download them; check a data folder.", **APP_GROUPS)
app.command("translate.cli.data_check:check", name="check")

DEFAULT_ROOT = Path(HOME)

Root = Annotated[Path, Parameter(help="folder of the data sets, each in a folder of its own")]


@app.command(name="list")
def list_sets(
    *,
    root: Root = DEFAULT_ROOT,
    json: Annotated[bool, JSON] = False,
) -> None:
    """List the public data sets, with licence and whether each is here."""
    rows = [(card, _whereabouts(card, root)) for card in read_cards().values()]
    if json:
        sets = [{**asdict(card), "here": here} for card, here in rows]
        print(json_module.dumps({"root": str(root), "sets": sets}))
        return
    table = [("name", "layout", "images", "here", "licence")]
    table += [(card.name, card.layout, _counts(card), here, card.licence) for card, here in rows]
    widths = [max(len(row[i]) for row in table) for i in range(4)]
    width_left = shutil.get_terminal_size((120, 0)).columns - sum(widths) - 2 * len(widths)
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print(printable("  ".join([*cells, _short(row[-1], max(width_left, 30))])))


def _whereabouts(card: DatasetCard, root: Path) -> str:
    """Return whether a data set is in its folder; if not, whether it ships with the package."""
    here = presence(card, root)
    return "ships with the package" if here == "no" and shipped_folder(card) is not None else here


def _counts(card: DatasetCard) -> str:
    """Return the number of images of each split: `1067+1334 train, 120+140 test`."""
    splits: dict[str, list[int]] = {}
    for name, count in card.counts.items():
        splits.setdefault(name.rstrip("AB"), []).append(count)
    return ", ".join(f"{'+'.join(map(str, counts))} {split}" for split, counts in splits.items()) or "not stated"


def _short(text: str, width: int) -> str:
    """Return the text, cut to a width."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


@app.command
def get(
    name: Annotated[str, Parameter(help="name from translate data list; - and _ are equivalent")],
    /,
    *,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Download or build a data set. The same command again resumes, or says that it is complete."""
    from translate.catalog.get import get_dataset  # imports torch, which the list does not need

    card = find_card(name, read_cards())
    with _display() as options:
        shipped = shipped_folder(card) if root == DEFAULT_ROOT and presence(card, root) == "no" else None
        if shipped is not None:
            options.say(f"{card.name} ships with the package; {DEFAULT_ROOT / card.folder} is found by its name")
        folder = shipped or get_dataset(card, root, options)
    typed = DEFAULT_ROOT / card.folder if shipped is not None else folder
    words = [str(typed) if word == f"datasets/{card.folder}" else word for word in card.command.split()]
    command = command_line(*words[1:])
    rows = {"folder": str(folder), "images": _counts(card), "licence": card.licence, "next": command}
    for title, value in rows.items():
        print(f"{title:<9}{printable(value)}")


@contextmanager
def _display() -> Iterator["DownloadOptions"]:
    """Show lines and, on a terminal, a progress bar on stderr; yields the options of a download that report to them."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from translate.catalog.download import DownloadOptions

    console = open_console()
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def say(text: str) -> None:
            console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

        def progress(task: str, done: int, total: int | None, unit: str) -> None:
            if task not in tasks:
                for other in tasks.values():
                    bar.update(other, visible=False)
                tasks[task] = bar.add_task(task, total=total, amount="")
            scale, unit = (1e6, "MB") if unit == "bytes" else (1, unit)
            amount = f"{done / scale:.0f}" + (f" of {total / scale:.0f}" if total is not None else "")
            bar.update(tasks[task], completed=done, total=total, amount=f"{amount} {unit}")

        yield DownloadOptions(say=say, progress=progress)
