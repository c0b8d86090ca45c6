"""`translate cloak MODEL PHOTO OUT`: change a photo so that a model fails on it."""

import json as json_module
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.cli.console import open_console, say
from translate.cli.flags import JSON, MODEL_HELP, DeviceOptions, flag_parameters, with_flags
from translate.cli.progress import print_line, show_progress
from translate.conversion.cloaking import CloakOptions


def _cloak(
    model: Annotated[str, Parameter(help=MODEL_HELP)],
    photo: Annotated[Path, Parameter(help="photo to protect")],
    output: Annotated[Path, Parameter(help=".png or .tiff file for the changed photo")],
    /,
    *,
    json: Annotated[bool, JSON] = False,
    **options: Any,
) -> None:
    """Change a photo, by too little to see, so that a model's translation of it fails.

    It holds for this model and this file: JPEG, resizing and other models undo much of it.
    """
    console = open_console()
    with nullcontext(lambda *counts: None) if json else show_progress(console) as progress:
        result = api.cloak(model, photo, output, progress=progress, say=say, **options)
    if json:
        print(json_module.dumps({**asdict(result), "output": str(result.output)}))
        return
    ratio = (
        f", {result.change / result.noise_change:.0f} times that of noise of this size" if result.noise_change else ""
    )
    print_line(console, f"{result.output}: mean square change of the model's output {result.change:.3g}{ratio}")
    print_line(console, "It holds for this model alone, and JPEG or resizing undo much of it (docs/robustness.md).")


cloak = with_flags(_cloak, [*flag_parameters(CloakOptions, switches=True), *flag_parameters(DeviceOptions)])
