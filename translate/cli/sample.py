"""`translate sample RUN OUT`: images from noise."""

import json as json_module
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from translate import api
from translate.cli.progress import print_line, show_progress


def sample(
    model: Annotated[str, Parameter(help="run folder or model folder of a dcgan, or a name in checkpoints/")],
    output: Annotated[Path, Parameter(help="folder for the images, or a .png for one sheet with all of them")],
    /,
    *,
    count: Annotated[int, Parameter(help="how many images")] = 64,
    seed: Annotated[int, Parameter(help="of the noise; the same seed gives the same images")] = 0,
    of_class: Annotated[
        str | None, Parameter(name="--class", help="only images of this class [default: all in turn]")
    ] = None,
    format: Annotated[str, Parameter(help="png, jpg, webp, avif, tiff, gif or npy")] = "png",
    quality: Annotated[int | None, Parameter(help="of jpg, webp and avif, 1 to 100")] = None,
    batch_size: Annotated[int, Parameter(help="images that are made at a time")] = 64,
    overwrite: Annotated[bool, Parameter(help="make every image anew", negative=())] = False,
    mark: Annotated[
        bool, Parameter(help="say in the images' metadata that a model made them", name="--mark", negative="--no-mark")
    ] = True,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    precision: Annotated[str, Parameter(help="fp32, bf16, fp16 or fp64")] = "fp32",
    json: Annotated[bool, Parameter(help="one JSON object on stdout", negative=())] = False,
) -> None:
    """Make images from noise with a trained dcgan. The same command again goes on where it was stopped."""
    console = Console(stderr=True)
    with nullcontext(lambda *counts: None) if json else show_progress(console) as progress:
        made = api.sample(
            model, output, count=count, seed=seed, of_class=of_class, format=format, quality=quality,
            batch_size=batch_size, overwrite=overwrite, mark=mark, device=device, precision=precision, progress=progress,
        )  # fmt: skip
    if json:
        print(json_module.dumps({**asdict(made), "output": str(made.output)}))
        return
    before = f", {made.skipped:,} were there before" if made.skipped else ""
    print_line(console, f"{made.output}: {made.done:,} images{before}")
