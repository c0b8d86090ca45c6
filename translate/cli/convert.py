"""`translate convert MODEL INPUT OUTPUT`: an image, a folder or a glob."""

import json as json_module
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from translate import api
from translate.cli.progress import print_summary, show_progress
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.images import MAX_PIXELS
from translate.text import printable


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
    cluster: Annotated[
        str | None, Parameter(help="convert on Ray: its address, auto, or local; its nodes must share the folders")
    ] = None,
    pixels: Annotated[str, Parameter(help="integers are rounded, or cut off as by the reference")] = "rounded",
    background: Annotated[str, Parameter(help="colour behind what is transparent: a name or #rrggbb")] = "white",
    tile: Annotated[
        int | str, Parameter(help="side of the tiles of large images, auto (where the whole does not fit) or off")
    ] = "auto",
    scratch: Annotated[
        Path | None, Parameter(help="folder for what tiled images need beside memory [default: memory]")
    ] = None,
    mark: Annotated[
        bool, Parameter(help="say in the outputs' metadata that a model made them", name="--mark", negative="--no-mark")
    ] = True,
    source_type: Annotated[
        str, Parameter(help="what the mark says: composite (a photo was changed) or generated (from edges or labels)")
    ] = "composite",
    strip_gps: Annotated[bool, Parameter(help="leave out where photos were taken", negative=())] = False,
    first_frame: Annotated[bool, Parameter(help="of animations, only the first frame", negative=())] = False,
    report: Annotated[
        bool, Parameter(help="also write OUTPUT/report.html: pictures before and after, and what failed", negative=())
    ] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    precision: Annotated[str, Parameter(help="fp32, bf16, fp16 or fp64")] = "fp32",
    json: Annotated[bool, Parameter(help="one JSON object on stdout", negative=())] = False,
) -> int:
    """Convert an image, a folder or a glob. Sizes are kept, inputs are never changed, the same command again goes on."""
    options = ConversionOptions(
        to=to, format=format, quality=quality, batch_size=batch_size, overwrite=overwrite, dry_run=dry_run, limit=limit,
        max_pixels=max_pixels, seed=seed, pixels=pixels, background=background, shard=shard, merge=merge, report=report,
        cluster=cluster, tile=tile, scratch=scratch, mark=mark, source_type=source_type, strip_gps=strip_gps,
        first_frame=first_frame,
    )  # fmt: skip
    console = Console(stderr=True)
    with nullcontext(lambda *counts: None) if dry_run else show_progress(console) as progress:
        result = api.convert(
            model, input, output, device=device, precision=precision, dropout=dropout, norm_statistics=norm_statistics,
            progress=progress, **asdict(options),
        )  # fmt: skip
    if json:
        print(_as_json(result))
    elif dry_run:
        for item in result.planned:
            print(f"{printable(item.input)} → {printable(item.output)}")
    print_summary(result, console, dry_run)
    return 1 if result.failures else 0


def _as_json(result: ConversionResult) -> str:
    values = {
        **asdict(result),
        "output": str(result.output),
        "failed": len(result.failures),
        "notices": dict(result.notices),  # asdict makes pairs of a Counter's keys
        "report": str(result.report) if result.report else None,
    }
    return json_module.dumps(values)
