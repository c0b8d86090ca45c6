"""`translate project RUN IMAGE OUT`: find the style code of an image."""

import json as json_module
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.cli.console import open_console
from translate.cli.flags import JSON, MODEL_HELP, DeviceOptions, flag_parameters, with_flags
from translate.cli.progress import print_line, show_progress
from translate.conversion.projection import ProjectionOptions


def _project(
    model: Annotated[str, Parameter(help=f"of stylegan2: {MODEL_HELP}")],
    image: Annotated[Path, Parameter(help="image to look for")],
    output: Annotated[Path, Parameter(help=".png file for the generated image; its style code is written beside it")],
    /,
    *,
    json: Annotated[bool, JSON] = False,
    **options: Any,
) -> None:
    """Find the image that a trained stylegan2 generates most like a given one, and its style code."""
    console = open_console()
    with nullcontext(lambda *counts: None) if json else show_progress(console) as progress:
        result = api.project(model, image, output, progress=progress, **options)
    if json:
        print(json_module.dumps({**asdict(result), "output": str(result.output), "codes": str(result.codes)}))
        return
    distances = f"distance {result.distance:.3g}, that of the average image {result.average_distance:.3g}"
    print_line(console, f"{result.output}: {distances}; style code in {result.codes}")


project = with_flags(_project, [*flag_parameters(ProjectionOptions, switches=True), *flag_parameters(DeviceOptions)])
