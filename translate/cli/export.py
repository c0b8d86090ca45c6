"""`translate export MODEL TARGET`: write a model folder, or a .pth in the format of the reference implementation."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate import api
from translate.cli.console import say
from translate.cli.flags import MODEL_HELP


def export(
    model: Annotated[str, Parameter(help=MODEL_HELP)],
    target: Annotated[
        Path, Parameter(help="folder for the model, or a .pth file in the format of pytorch-CycleGAN-and-pix2pix")
    ],
    /,
    *,
    to: Annotated[
        str | None,
        Parameter(help="target domain of the generator, b or a [default: b for a .pth, both for a folder]"),
    ] = None,
    dtype: Annotated[
        str | None, Parameter(help="for a folder: precision of the weights, fp32, fp16 or bf16 [default: unchanged]")
    ] = None,
    overwrite: Annotated[bool, Parameter(help="replace an existing file or model folder", negative=())] = False,
) -> None:
    """Export a model as a folder (half the size with --dtype fp16), or one generator as a .pth for other software."""
    say(f"wrote {api.export(model, target, to=to, dtype=dtype, overwrite=overwrite, say=say)}")
