"""`translate export MODEL TARGET`: a model folder to ship, or a generator in the reference implementation's format."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate import api
from translate.api import say_to_stderr


def export(
    model: Annotated[str, Parameter(help="run folder, model folder, or a name in checkpoints/")],
    target: Annotated[
        Path, Parameter(help="folder for the model, or a .pth in the format of pytorch-CycleGAN-and-pix2pix")
    ],
    /,
    *,
    to: Annotated[
        str | None, Parameter(help="of a .pth: which generator of a two-way model, to b or to a [default: b]")
    ] = None,
    dtype: Annotated[
        str | None, Parameter(help="of a folder's weights: fp32, fp16 or bf16 [default: as they are]")
    ] = None,
    overwrite: Annotated[bool, Parameter(help="replace a file that is there", negative=())] = False,
) -> None:
    """Write a model folder, smaller with --dtype fp16, or its generator for other software."""
    say_to_stderr(f"wrote {api.export(model, target, to=to, dtype=dtype, overwrite=overwrite)}")
