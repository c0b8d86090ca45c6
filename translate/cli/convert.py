"""`translate convert MODEL INPUT OUTPUT`: convert an image, a folder or a glob."""

import json as json_module
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api
from translate.cli.console import open_console, say
from translate.cli.flags import GROUPS, JSON, MODEL_HELP, DeviceOptions, flag_parameters, with_flags
from translate.cli.progress import print_summary, show_progress
from translate.conversion.options import ConversionOptions, ConversionResult
from translate.text import printable


def _convert(
    model: Annotated[str, Parameter(help=MODEL_HELP)],
    input: Annotated[str, Parameter(help="image, folder (with its subfolders) or glob")],
    output: Annotated[Path, Parameter(help="folder that mirrors the input's tree, or a file for one image")],
    /,
    *,
    dropout: Annotated[
        str | None,
        Parameter(
            help="on or off: dropout in the conversion [default: as the model says]", group=GROUPS["Translation"]
        ),
    ] = None,
    norm_statistics: Annotated[
        str | None,
        Parameter(
            help="statistics for batch norm: sample (each image's own) or running (averages over training) "
            "[default: as the model says]",
            group=GROUPS["Translation"],
        ),
    ] = None,
    json: Annotated[bool, JSON] = False,
    **options: Any,
) -> int:
    """Convert an image, a folder or a glob.

    Outputs have the size of their inputs, and inputs are never changed. The same command again resumes: it converts only what
    is missing, has changed or was made by another model.
    """
    console, dry_run = open_console(), bool(options.get("dry_run"))
    with nullcontext(lambda *counts: None) if dry_run else show_progress(console) as progress:
        result = api.convert(
            model,
            input,
            output,
            dropout=dropout,
            norm_statistics=norm_statistics,
            progress=progress,
            say=say,
            **options,
        )
    if json:
        print(_to_json(result))
    elif dry_run:
        for item in result.planned:
            print(f"{printable(item.input)} → {printable(item.output)}")
    print_summary(result, console, dry_run)
    return 1 if result.failures else 0


convert = with_flags(_convert, [*flag_parameters(ConversionOptions, switches=True), *flag_parameters(DeviceOptions)])


def _to_json(result: ConversionResult) -> str:
    values = {
        **asdict(result),
        "output": str(result.output),
        "failed": len(result.failures),
        "notices": dict(result.notices),  # asdict makes pairs of a Counter's keys
        "report": str(result.report) if result.report else None,
    }
    return json_module.dumps(values)
