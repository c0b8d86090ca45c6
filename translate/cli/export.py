"""`translate export MODEL TARGET`: write a model folder, or a generator as a file for other software."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from translate import api
from translate.cli.console import say
from translate.cli.flags import MODEL_HELP


def export(
    model: Annotated[str, Parameter(help=MODEL_HELP)],
    target: Annotated[
        Path,
        Parameter(
            help="folder for the model; or a file: .onnx, .pt2 (torch.export), or .pth in the format of "
            "pytorch-CycleGAN-and-pix2pix"
        ),
    ],
    /,
    *,
    to: Annotated[
        str | None,
        Parameter(help="target domain of the generator, b or a [default: b for a file, both for a folder]"),
    ] = None,
    dtype: Annotated[
        str | None,
        Parameter(
            help="for a folder: precision of the weights, fp32, fp16 or bf16 [default: unchanged]; for .onnx and .pt2: "
            "arithmetic, fp32 or fp16 [default: fp32]"
        ),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        Parameter(
            help="for .onnx and .pt2: uint8 images of any size in and out, with padding and value range inside the file "
            "[default: floats in [-1, 1], padded by the caller]",
            negative=(),
            show_default=False,
        ),
    ] = False,
    license: Annotated[
        str | None,
        Parameter(help="licence of the weights, such as Apache-2.0, for their description [default: the model's]"),
    ] = None,
    overwrite: Annotated[bool, Parameter(help="replace an existing file or model folder", negative=())] = False,
) -> None:
    """Export a model as a folder (half the size with --dtype fp16), or one generator as a file for other software.

    .onnx and .pt2 files take any height, width and batch size, and are compared with the model before they are written.
    """
    written = api.export(
        model, target, to=to, dtype=dtype, with_preprocessing=with_preprocessing, license=license, overwrite=overwrite,
        say=say,
    )  # fmt: skip
    say(f"wrote {written}")
