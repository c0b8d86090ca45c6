"""`translate export MODEL TARGET`: a model in the reference implementation's format."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate import api
from translate.api import say_to_stderr


def export(
    model: Annotated[str, Parameter(help="run folder, model folder, or a name in checkpoints/")],
    target: Annotated[Path, Parameter(help="file to write; .pth is the format of pytorch-CycleGAN-and-pix2pix")],
    /,
    *,
    to: Annotated[str, Parameter(help="which generator of a two-way model: the one to b, or to a")] = "b",
    overwrite: Annotated[bool, Parameter(help="replace a file that is there", negative=())] = False,
) -> None:
    """Write a model's generator for other software."""
    say_to_stderr(f"wrote {api.export(model, target, to=to, overwrite=overwrite)}")
