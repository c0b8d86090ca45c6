"""`translate convert MODEL INPUT OUTPUT`: convert an image, a folder or a glob."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from translate import api
from translate.cli.console import open_console, say
from translate.cli.flags import (
    DROPOUT,
    GROUPS,
    JSON,
    MODEL_HELP,
    NORM_STATISTICS,
    DeviceOptions,
    flag_parameters,
    with_flags,
)
from translate.cli.piped import STREAM, convert_piped
from translate.cli.progress import print_result, print_summary, show_progress
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.errors import UsageError

RUNTIME = Parameter(
    help="library that computes the images: torch, or onnx, ONNX Runtime on the CPU, for models without noise, which are "
    "exported for it once [default: torch]",
    show_default=False,
    show_choices=False,
    group=GROUPS["Speed"],
)


def _convert(
    model: Annotated[str, Parameter(help=MODEL_HELP)],
    input: Annotated[
        str,
        Parameter(
            help="image, folder (with its subfolders) or glob; - reads one image from standard input",
            allow_leading_hyphen=True,
        ),
    ],
    output: Annotated[
        Path,
        Parameter(
            help="folder that mirrors the input's tree, or a file for one image; - writes it to standard output, as png or "
            "as --format says",
            allow_leading_hyphen=True,
        ),
    ],
    /,
    *,
    dropout: Annotated[str | None, DROPOUT] = None,
    norm_statistics: Annotated[str | None, NORM_STATISTICS] = None,
    runtime: Annotated[Literal["torch", "onnx"], RUNTIME] = "torch",
    json: Annotated[bool, JSON] = False,
    **options: Any,
) -> int:
    """Convert an image, a folder or a glob.

    Outputs have the size of their inputs, and inputs are never changed. The same command again resumes: it converts only what
    is missing, has changed or was made by another model.
    """
    _check_streams(input, output, json)
    console, dry_run = open_console(), bool(options.get("dry_run"))
    is_piped = STREAM in (input, str(output))
    behaviour: dict[str, Any] = {"dropout": dropout, "norm_statistics": norm_statistics, "runtime": runtime}
    with nullcontext(lambda *counts: None) if dry_run or is_piped else show_progress(console) as progress:

        def run(source: str, target: Path, chosen: dict[str, Any]) -> ConversionResult:
            return api.convert(model, source, target, progress=progress, say=say, **behaviour, **chosen)

        result = convert_piped(run, input, output, options) if is_piped else run(input, output, options)
    print_result(result, json=json, dry_run=dry_run)
    print_summary(result, console, dry_run)
    return 1 if result.failures else 0


convert = with_flags(_convert, [*flag_parameters(ConversionOptions, switches=True), *flag_parameters(DeviceOptions)])


def _check_streams(input: str, output: Path, json: bool) -> None:
    """Raise UsageError for short flags in the place of files, and for JSON where an image goes.

    Long flags that the command does not have are refused before (`unknown_flags`); behind `--`, files may be named like them.
    """
    for word in (input, str(output)):
        if re.fullmatch("-[^-].*", word):
            raise UsageError(f"unknown option {word}; give a file of this name as ./{word}")
    if json and str(output) == STREAM:
        raise UsageError("--json: standard output gets the image; leave it out, or give a file for the output")
