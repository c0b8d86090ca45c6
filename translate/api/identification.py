"""Identification of pictures: which marks they carry, and which conversion wrote them."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from translate import atomic, images
from translate.conversion.content_credentials import EXTRA, MIME_TYPES, names_a_model, read_credentials
from translate.conversion.manifest import ManifestLine, find_outputs, list_manifests
from translate.errors import DataError, UsageError
from translate.images import WatermarkDetection
from translate.text import one_line
from translate.trained.extras import import_extra


def identify(*files: str | Path, max_pixels: int = images.MAX_PIXELS) -> list[dict[str, Any]]:
    """Say of pictures, or of all in folders and their subfolders, what made them; nothing is changed.

    Returns one object for each picture: {"file", "error", "made_by_model", "mark", "content_credentials", "watermark",
    "manifest"}.

    * `error`: why the file cannot be read; None if it can. What was found in spite of that is there.
    * `mark`: what the XMP says, {"source_type", "system", "version", "tool"}; None without a mark.
    * `content_credentials`: what they say (C2PA), as `read_credentials` returns it; None if the file has none. {"state":
      "unknown", "reason"} if they cannot be read, or the package for it is missing.
    * `watermark`: {"found", "score", "false_positives"}: the last is the bound of the probability that a picture without one
      has such a score. None if the file holds no picture that could have one.
    * `manifest`: the line of the job that wrote the file, {"path", "input", "model", "matches"}, from the nearest folder above
      that holds a manifest. `matches` is "name and content", "content" (the file was renamed), or "name" (its content has
      changed since). None if no job names it.
    * `made_by_model`: True if a mark says so, or a manifest has the content; None if nothing does, which proves nothing.

    Images of more than `max_pixels` count as files that cannot be read. DataError if a folder holds no pictures.
    """
    paths = [path for given in files for path in _pictures(Path(given))]
    hashes = {path: _sha256(path) for path in paths}
    jobs = _find_jobs({path: digest for path, digest in hashes.items() if digest is not None})
    return [_identify(path, jobs.get(path), max_pixels) for path in paths]


def _pictures(given: Path) -> Iterator[Path]:
    """Yield a file, or the pictures of a folder. DataError if there are none."""
    if not given.is_dir():
        yield given
        return
    found = [path for path in images.list_files(given) if images.extension(path) in images.READABLE_EXTENSIONS]
    if not found:
        raise DataError(f"{given}: no images to identify; readable: {images.READABLE_FORMATS}")
    yield from found


def _sha256(path: Path) -> str | None:
    """Return the SHA-256 of a regular file; None if it cannot be read."""
    try:
        return atomic.file_sha256(path) if path.is_file() else None
    except OSError:
        return None


def _identify(path: Path, job: dict[str, Any] | None, max_pixels: int) -> dict[str, Any]:
    error, mark, credentials, watermark = None, None, None, None
    try:
        mark = images.read_metadata(path).found_mark()
        credentials = _credentials(path)
        watermark = _watermark(path, max_pixels)
    except images.ImageError as e:
        error = one_line(e)
    says_so = (
        mark is not None and mark.names_a_model,
        credentials is not None and names_a_model(credentials),
        watermark is not None and watermark.found,
        job is not None and job["matches"] != "name",
    )
    return {
        "file": str(path),
        "error": error,
        "made_by_model": True if any(says_so) else None,
        "mark": None if mark is None else asdict(mark),
        "content_credentials": credentials,
        "watermark": None if watermark is None else _shown(watermark),
        "manifest": job,
    }


def _credentials(path: Path) -> dict[str, Any] | None:
    """Return what the content credentials of a file say; None if it has none, or its format holds none."""
    with open(path, "rb") as file:
        fmt = images.format_of_content(file.read(64))
    if fmt not in MIME_TYPES:
        return None
    try:
        import_extra(EXTRA, "not looked for", "c2pa")
        return read_credentials(path.read_bytes(), fmt)
    except UsageError as e:
        return {"state": "unknown", "reason": str(e)}
    except ValueError as e:
        return {"state": "unknown", "reason": f"cannot be read: {one_line(e)}"}


def _watermark(path: Path, max_pixels: int) -> WatermarkDetection | None:
    """Look for the watermark; None for values that are no picture. ImageError if the pixels cannot be read."""
    if images.extension(path) == "npy":
        return None
    try:
        return images.detect_watermark(images.read(path, max_pixels=max_pixels).pixels)
    except images.ChannelCountError:
        return None


def _shown(watermark: WatermarkDetection) -> dict[str, Any]:
    return {
        "found": watermark.found, "score": round(watermark.score, 2), "false_positives": watermark.false_positives,
    }  # fmt: skip


def _find_jobs(hashes: dict[Path, str]) -> dict[Path, dict[str, Any]]:
    """Return, for files that a manifest in a folder above names or has the content of, what its line says.

    `hashes`: file → SHA-256. Each manifest is read once, line by line.
    """
    waiting = {path: iter(path.absolute().parents) for path in hashes}
    found: dict[Path, dict[str, Any]] = {}
    while waiting:
        below: dict[Path, list[Path]] = {}
        for path, folders in list(waiting.items()):
            folder = next((folder for folder in folders if list_manifests(folder)), None)
            if folder is None:
                del waiting[path]
            else:
                below.setdefault(folder, []).append(path)
        for folder, paths in below.items():
            for path, job in _match(folder, {path: hashes[path] for path in paths}):
                found[path] = job
                del waiting[path]
    return found


def _match(folder: Path, hashes: dict[Path, str]) -> Iterable[tuple[Path, dict[str, Any]]]:
    """Yield the files that the manifests of a folder know, with what they say of them."""
    names = {path: path.absolute().relative_to(folder).as_posix() for path in hashes}
    by_name, by_hash = find_outputs(folder, set(names.values()), set(hashes.values()))
    for path, digest in hashes.items():
        named, same = by_name.get(names[path]), by_hash.get(digest)
        if named is not None and named[1].get("sha256") == digest:
            yield path, _job(*named, "name and content")
        elif same is not None:
            yield path, _job(*same, "content")
        elif named is not None:
            yield path, _job(*named, "name")


def _job(manifest: Path, line: ManifestLine, matches: str) -> dict[str, Any]:
    return {"path": str(manifest), "input": line["input"], "model": line.get("model"), "matches": matches}
