"""`translate identify FILE…`: say what made pictures."""

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from translate import api, images
from translate.cli.flags import GROUPS, JSON
from translate.text import join_names, printable

MATCHES = {
    "name and content": "",
    "content": " (under another name)",
    "name": " (its content has changed since)",
}
STATES = {
    "valid": "they fit the file, by a certificate that is not in the list of trust",
    "trusted": "they fit the file, by a trusted certificate",
    "invalid": "they do not fit the file",
}


def identify(
    *files: Annotated[Path, Parameter(help="pictures, or folders with all pictures in them", required=True)],
    max_pixels: Annotated[
        int, Parameter(help="refuse images of more than N pixels; they are listed as failed", group=GROUPS["Input"])
    ] = images.MAX_PIXELS,
    json: Annotated[bool, JSON] = False,
) -> int:
    """Say what made pictures: the mark in their metadata, content credentials, the watermark, and the job that wrote them.

    A picture without any of these may have been made by a model, too: marks can be removed. The exit code is 1 if a file
    cannot be read.
    """
    found = api.identify(*files, max_pixels=max_pixels)
    if json:
        print(json_module.dumps({"files": found, "failed": sum(entry["error"] is not None for entry in found)}))
    else:
        for entry in found:
            print(printable(f"{entry['file']}: {_verdict(entry)}"))
            for line in _details(entry):
                print(printable(f"  {line}"))
    return 1 if any(entry["error"] is not None for entry in found) else 0


def _verdict(entry: dict[str, Any]) -> str:
    if entry["made_by_model"]:
        return "made by a model"
    return "cannot be read" if entry["error"] is not None else "nothing says that a model made it"


def _details(entry: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that was found, and for what is wrong with the file."""
    if entry["error"] is not None:
        yield f"error: {entry['error']}"
    if (mark := entry["mark"]) is not None:
        yield f"mark: {', '.join(_mark_parts(mark))}"
    if (credentials := entry["content_credentials"]) is not None:
        yield f"content credentials (C2PA): {', '.join(_credential_parts(credentials))}"
    if (watermark := entry["watermark"]) is not None and watermark["found"]:
        yield f"watermark: found, by chance with a probability of at most {watermark['false_positives']:.0e}"
    if (job := entry["manifest"]) is not None:
        yield (
            f"manifest: {job['path']}: made from {job['input']} by model {(job['model'] or 'unknown')[:12]}"
            f"{MATCHES[job['matches']]}"
        )


def _mark_parts(mark: dict[str, Any]) -> Iterator[str]:
    if mark["source_type"] is not None:
        yield mark["source_type"].rpartition("/")[2]
    if mark["system"] is not None:
        yield f"model {mark['system']}" + (f" {mark['version']}" if mark["version"] else "")
    if mark["tool"] is not None:
        yield f"tool {mark['tool']}"


def _credential_parts(credentials: dict[str, Any]) -> Iterator[str]:
    if credentials["state"] == "unknown":
        yield credentials["reason"]
        return
    yield STATES[credentials["state"]]
    signed_by = credentials["name"] or credentials["issuer"]
    yield f"signed by {signed_by or 'unknown'}" + (f" at {credentials['time']}" if credentials["time"] else "")
    yield from (source_type.rpartition("/")[2] for source_type in credentials["source_types"])
    if credentials["generator"]:
        yield f"tool {credentials['generator']}"
    if credentials["ingredients"]:
        yield f"made from {join_names(credentials['ingredients'])}"
    if credentials["state"] == "invalid":
        yield f"problems {join_names(credentials['problems'])}"
