"""`translate doctor`: examine the machine and the installation, for a bug report."""

import json as json_module
from typing import Annotated, Any

from translate.api.doctor import doctor as examine
from translate.cli.flags import JSON
from translate.text import align_columns, duration, memory_size, printable

YES_NO = {True: "yes", False: "no"}


def doctor(*, json: Annotated[bool, JSON] = False) -> int:
    """Show versions, devices, formats, extras, free memory and disk, and known troubles with their remedy; try both.

    A training of two steps and a conversion of two images are tried in a temporary folder, in a few seconds. Nothing that is
    printed names a folder or a user: paste it into a bug report. The exit code is 1 if the training or the conversion fails.
    """
    found = examine()
    if json:
        print(json_module.dumps(found))
    else:
        for line in describe(found):
            print(printable(line))
    return 0 if found["self_test"]["ok"] else 1


def describe(found: dict[str, Any]) -> list[str]:
    """Return the result of `api.doctor.doctor` as lines."""
    broken = {name: reason for name, reason in found["formats"].items() if reason is not None}
    works = [name for name in found["formats"] if name not in broken]
    rows = [(name, version or "not installed") for name, version in found["versions"].items()]
    rows += _machine_rows(found["machine"])
    rows += [
        ("formats", ", ".join(works)),
        *((f"format {name}", f"fails: {reason}") for name, reason in broken.items()),
    ]
    rows += [(f"decoder {name}", reason or "works") for name, reason in found["decoders"].items()]
    rows += [
        (f"extra {name}", f"misses {', '.join(missing)}: uv sync --extra {name}" if missing else "installed")
        for name, missing in found["extras"].items()
    ]
    test = found["self_test"]
    verdict = "ok" if test["ok"] else f"failed: {test['error']}"
    lines = align_columns([*rows, ("self-test", f"{verdict}, {duration(test['seconds'])}")])
    problems = found["problems"]
    return [*lines, "", *([f"! {line}" for line in problems] or ["no known trouble found"])]


def _machine_rows(machine: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of the machine."""
    cuda, shared = machine["cuda"], machine["shared_memory"]
    gpus = [
        f"{name}, {memory_size(free)} free" for name, free in zip(cuda["devices"], cuda["free_memory"], strict=True)
    ]
    built = f"built with CUDA {cuda['built_with']}" if cuda["built_with"] else "built without CUDA"
    chosen = ", ".join(f"{name} for {count} shapes" for name, count in machine["convolutions"].items())
    settings = ", ".join(f"{name}={value}" for name, value in machine["environment"].items())
    return [
        ("processor", f"{machine['processor']}; {machine['cores']} cores, {machine['threads']} threads of torch"),
        ("bf16", "by instructions of the CPU" if machine["bf16"] else "emulated by the CPU, slower than fp32"),
        ("convolutions", f"timed here: {chosen}" if chosen else "not timed here with this number of threads"),
        ("gpu", "; ".join(gpus) or f"none (torch {built}, driver: {YES_NO[cuda['has_driver']]})"),
        *([("mps", "yes")] if machine["mps"] else []),
        ("free memory", memory_size(machine["free_memory"])),
        *([("shared memory", memory_size(shared))] if shared is not None else []),
        ("free disk", f"{machine['free_disk'] / 1e9:.1f} GB in this folder"),
        ("file locks", YES_NO[machine["file_locks"]]),
        ("user cache", "works" if machine["cache"] else "cannot be written: speeds are measured anew in each run"),
        *([("environment", settings)] if settings else []),
    ]
