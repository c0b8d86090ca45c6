"""Work of the page for people: several files through a model, their names, and all of them in one zip."""

import re
import shutil
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from translate import images
from translate.conversion.item import failure_reason
from translate.conversion.options import ConversionOptions
from translate.conversion.output_paths import Item, output_format, plan_outputs
from translate.errors import UsageError
from translate.html import data_uri, slider_pair
from translate.serving.conversion_service import INPUT, STYLE, ConversionService
from translate.text import printable
from translate.trained.translator import Translator

AT_A_TIME = 4
"""Files of one job that are in the queue at a time."""

KEPT_SECONDS = 3600.0
"""Age at which the results of a job are removed."""

PREVIEW_SIDE = 1024
"""Limit of the longer side of the images that the page shows, in pixels; downloads are whole."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows


@dataclass(frozen=True)
class PageChoices:
    """Choices of a person on the page."""

    to: str = "b"
    format: str = "keep"
    seed: int = 0
    samples: int | None = None
    """Number of outputs of each file; None: one, by a name without a number."""
    style: Path | None = None


@dataclass(frozen=True)
class PageResult:
    """Output of one file, or the reason why there is none."""

    name: str
    """Name of the output, without folders; that of the input where it failed."""
    source: Path
    output: Path | None
    error: str = ""
    notices: tuple[str, ...] = ()


def safe_name(name: str) -> str:
    """Return a file name without folders and without what a system does not allow in names; "image" where nothing is left."""
    name = _FORBIDDEN.sub("_", re.split(r"[/\\]", name)[-1]).strip(". ")
    name = name.encode("utf-8", "replace").decode()[-120:]
    return f"_{name}" if _RESERVED.fullmatch(name) else name or "image"


def distinct_names(names: Sequence[str]) -> list[str]:
    """Return safe names of which no two are equal on any disk: a number is added to those that were there before."""
    taken: set[str] = set()
    result = []
    for name in map(safe_name, names):
        stem, dot, extension = name.rpartition(".")
        number, chosen = 2, name
        while chosen.casefold() in taken:
            chosen = f"{stem} ({number}).{extension}" if dot and stem else f"{name} ({number})"
            number += 1
        taken.add(chosen.casefold())
        result.append(chosen)
    return result


def convert_files(
    service: ConversionService,
    translator: Translator,
    files: Sequence[Path],
    choices: PageChoices,
    folder: Path,
    max_pixels: int = images.MAX_PIXELS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[PageResult]:
    """Convert files into a folder, with the names and the bytes of `translate convert`, in the order of the files.

    `progress` is called with the outputs done and those in all. UsageError for choices that the model cannot follow.
    """
    if choices.samples is not None:
        translator.check_samples(choices.to)
    names = distinct_names([path.name for path in files])
    sources = dict(zip(names, files, strict=True))
    items = plan_outputs(names, choices.format, {}, choices.samples)
    results: list[PageResult] = []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        jobs = [
            pool.submit(_convert_one, service, translator, item, sources[item.input], choices, folder, max_pixels)
            for item in items
        ]
        for job in jobs:
            results.append(job.result())
            progress(len(results), len(items))
    return results


def _convert_one(
    service: ConversionService,
    translator: Translator,
    item: Item,
    source: Path,
    choices: PageChoices,
    folder: Path,
    max_pixels: int,
) -> PageResult:
    """Convert one file."""
    fmt = output_format(item.input, choices.format)
    options = ConversionOptions(to=choices.to, seed=choices.seed, format=fmt, max_pixels=max_pixels)
    try:
        with service.request() as place:
            shutil.copyfile(source, place.path(INPUT))
            if choices.style is not None:
                shutil.copyfile(choices.style, place.path(STYLE))
            answer = place.submit(translator, options, item.sample).result()
        output = folder / item.output
        output.write_bytes(answer.data)
    except (images.ImageError, UsageError, OSError, RuntimeError, MemoryError) as e:
        return PageResult(item.input, source, None, failure_reason(e))
    return PageResult(item.output, source, output, notices=answer.notices)


def write_zip(results: Sequence[PageResult], path: Path) -> Path:
    """Write the outputs into a zip, uncompressed as images are, by their names without folders; return its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for result in results:
            if result.output is not None:
                archive.write(result.output, result.name)
    return path


def show_pair(result: PageResult) -> str:
    """Return the HTML of an output beside its input, with a slider that keys move, too; see `html.PAIR_STYLE`."""
    if result.output is None:
        return ""
    before, _, _ = _preview(result.source)
    after, width, height = _preview(result.output)
    pair = slider_pair(before, after, printable(result.name))
    return f'<div class="result" style="--shape: {width} / {height}">{pair}</div>'


def _preview(path: Path) -> tuple[str, int, int]:
    """Return an image, reduced, as a data URI, and its width and height."""
    image = images.to_pil_image(images.to_uint8(images.read(path).pixels))
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return data_uri(image, "WEBP", quality=90), image.width, image.height


def remove_old(folder: Path, now: float | None = None) -> None:
    """Remove the results of jobs that are older than KEPT_SECONDS."""
    for place in folder.iterdir():
        if (now or time.time()) - place.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(place, ignore_errors=True)
