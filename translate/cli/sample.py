"""`translate sample RUN OUT`: generate images from noise."""

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
from translate.conversion.sampling import SamplingOptions


def _sample(
    model: Annotated[str, Parameter(help=f"of dcgan, pggan, stylegan2, biggan, sgan or stackgan: {MODEL_HELP}")],
    output: Annotated[
        Path,
        Parameter(
            help="folder for the images, a .png file for one sheet with all of them, or with --interpolate an animation"
        ),
    ],
    /,
    *,
    json: Annotated[bool, JSON] = False,
    **options: Any,
) -> None:
    """Generate images from noise with a trained dcgan, pggan, stylegan2, biggan or sgan, or from a text with a stackgan.

    The same command again resumes: it generates only the images that are missing.
    """
    console = open_console()
    with nullcontext(lambda *counts: None) if json else show_progress(console) as progress:
        result = api.sample(model, output, progress=progress, **options)
    if json:
        print(json_module.dumps({**asdict(result), "output": str(result.output)}))
        return
    skipped = f", {result.skipped:,} were there already" if result.skipped else ""
    print_line(console, f"{result.output}: {result.done:,} images{skipped}")


sample = with_flags(
    _sample,
    [*flag_parameters(SamplingOptions, switches=True, names={"of_class": "--class"}), *flag_parameters(DeviceOptions)],
)
