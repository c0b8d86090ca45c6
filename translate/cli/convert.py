"""`translate convert MODEL INPUT OUTPUT`: an image, a folder or a glob."""

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from translate import api
from translate.conversion.options import Options, Result
from translate.images import MAX_PIXELS

SHOWN = 20
"""Failures that are listed; all of them stand in the manifest."""


def convert(
    model: Annotated[str, Parameter(help="run folder, model folder, .pth of the reference, or a name in checkpoints/")],
    input: Annotated[str, Parameter(help="image, folder (with all its subfolders) or glob")],
    output: Annotated[Path, Parameter(help="folder that mirrors the input's tree, or a file for one image")],
    /,
    *,
    to: Annotated[str, Parameter(help="target domain: b, or a with a two-way model")] = "b",
    format: Annotated[str, Parameter(help="keep, png, jpg, webp, avif, tiff, gif or npy")] = "keep",
    quality: Annotated[int | None, Parameter(help="of jpg, webp and avif, 1 to 100")] = None,
    batch_size: Annotated[int, Parameter(help="images of one size that a GPU is given at a time")] = 8,
    overwrite: Annotated[bool, Parameter(help="make every output anew", negative=())] = False,
    dry_run: Annotated[bool, Parameter(help="say what would be made, and make nothing", negative=())] = False,
    limit: Annotated[int | None, Parameter(help="stop after this many images")] = None,
    max_pixels: Annotated[int, Parameter(help="larger images are refused")] = MAX_PIXELS,
    seed: Annotated[int, Parameter(help="of the noise of models with dropout")] = 0,
    dropout: Annotated[str | None, Parameter(help="on or off [default: as the model says]")] = None,
    norm_statistics: Annotated[
        str | None, Parameter(help="of batch norm: sample (each image's own) or running [default: as the model says]")
    ] = None,
    shard: Annotated[
        str | None, Parameter(help="I/N: part I (from 0) of N [default: as torchrun or a Slurm array say]")
    ] = None,
    merge: Annotated[bool, Parameter(help="only join the journals of shards", negative=())] = False,
    pixels: Annotated[str, Parameter(help="integers are rounded, or cut off as by the reference")] = "rounded",
    background: Annotated[str, Parameter(help="colour behind what is transparent: a name or #rrggbb")] = "white",
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    precision: Annotated[str, Parameter(help="fp32, bf16, fp16 or fp64")] = "fp32",
    json: Annotated[bool, Parameter(help="one JSON object on stdout", negative=())] = False,
) -> int:
    """Convert an image, a folder or a glob. Sizes are kept, inputs are never changed, the same command again goes on."""
    options = Options(
        to, format, quality, batch_size, overwrite, dry_run, limit, max_pixels, seed, pixels, background, shard
    )
    console = Console(stderr=True)
    columns = (
        TextColumn("converting"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(), TextColumn("{task.fields[failed]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=dry_run or not console.is_terminal) as bar:
        task = bar.add_task("", total=None, rate="", failed="")

        def progress(finished: int, failed: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0
            rate = f"{finished / elapsed:.1f}/s" if elapsed else ""
            bar.update(task, completed=finished, total=total, rate=rate, failed=f"{failed} failed" if failed else "")

        result = api.convert(
            model, input, output, device=device, precision=precision, dropout=dropout, norm_statistics=norm_statistics,
            progress=progress, **asdict(options),
        )  # fmt: skip
    if json:
        print(_as_json(result))
    elif dry_run:
        for item in result.planned:
            print(f"{_printable(item.input)} → {_printable(item.output)}")
    _tell(result, console, dry_run)
    return 1 if result.failures else 0


def _tell(result: Result, console: Console, dry_run: bool) -> None:
    """The closing lines, on stderr."""
    for name, reason in list(result.failures.items())[:SHOWN]:
        console.print(f"failed: {name!r}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if len(result.failures) > SHOWN:
        console.print(f"… and {len(result.failures) - SHOWN} more failures, in the manifest", highlight=False)
    for notice, count in sorted(result.notices.items()):
        console.print(f"notice: {count} images: {notice}", markup=False, highlight=False)
    parts = [f"{len(result.planned)} would be converted" if dry_run else f"{result.done} converted"]
    parts += [f"{result.skipped} done before"] if result.skipped else []
    parts += [f"{len(result.failures)} failed"] if result.failures else []
    parts += [f"{result.others} other files passed over"] if result.others else []
    rate = (
        f" in {result.seconds:.0f} s ({result.done / result.seconds:.1f}/s)" if result.done and result.seconds else ""
    )
    console.print(f"{', '.join(parts)}{rate}; output in {result.output}", markup=False, highlight=False, soft_wrap=True)


def _printable(name: str) -> str:
    """A file name on one line, without what would steer a terminal or cannot be encoded."""
    return name if name.isprintable() else repr(name)[1:-1]


def _as_json(result: Result) -> str:
    values = {**asdict(result), "output": str(result.output), "failed": len(result.failures)}
    return json_module.dumps(values)
