"""Downloads over unreliable connections: resumed where they stopped, checked by size and SHA-256, and renamed when whole."""

import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from translate import atomic, records
from translate.errors import DataError, StorageError
from translate.text import one_line
from translate.version import __version__

CHUNK = 1 << 20
"""Bytes that are held in memory at a time."""

SLOWEST = 1024
"""Bytes a second, over a whole timeout, below which a connection counts as stalled."""

LARGEST = 1 << 37
"""Largest file in bytes, whatever the server says: a body without end must not fill the disk."""

ENOUGH = 1 << 20
"""Bytes of progress after which a broken connection counts as the first failure again."""

TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status codes after which another attempt may succeed."""

TaskProgress = Callable[[str, int, int | None, str], None]
"""Function that is called with a task's name, the amount done, the total (None: unknown) and the unit."""


def no_progress(*args: Any) -> None:
    """Ignore messages and progress."""


@dataclass(frozen=True)
class DownloadOptions:
    """Timeout, attempts and callbacks of a download."""

    say: Callable[[str], None] = no_progress
    progress: TaskProgress = no_progress
    timeout: float = 30
    """Seconds without data after which a connection is given up."""
    attempts: int = 5
    """Failures in a row, without progress in between, after which the download is given up."""
    pause: Callable[[float], None] = time.sleep
    """Function that waits some seconds before the next attempt."""


@dataclass(frozen=True)
class ExpectedFile:
    """Known properties of a file to download, and the remedy for messages where it is another."""

    sha256: str | None = None
    size: int | None = None
    """Bytes."""
    recorded_in: str = "the card"
    """Place where the hash stands, for messages."""
    remedy: str = ""


class _TransientError(Exception):
    """Failure after which another attempt may succeed. `wait`: seconds that the server asks for."""

    def __init__(self, message: str, wait: float = 0) -> None:
        super().__init__(message)
        self.wait = wait


def download_file(
    url: str,
    target: Path,
    expected: ExpectedFile = ExpectedFile(),
    options: DownloadOptions = DownloadOptions(),
) -> str:
    """Download a file from an http(s) address to `target`, under this name only when it is whole; return its SHA-256.

    Until then it is `<target>.part`, from which the same call resumes, after failures as after Ctrl-C. Raise DataError where
    the server gives an error or another file, with the remedy, and StorageError where the disk is full.
    """
    part = _PartialFile(target)
    transfer = _Transfer(url, part, expected, options)
    failures, furthest = 0, part.length()
    while True:
        try:
            transfer.resume()
            break
        except _TransientError as e:
            failures = 1 if part.length() - furthest >= ENOUGH else failures + 1
            furthest = max(furthest, part.length())  # a server that starts again each time makes no progress
            have = f"{part.length() / 1e6:.1f} MB are kept" if part.length() else "nothing has come yet"
            if failures >= options.attempts:
                raise DataError(
                    f"{url}: {e} ({failures} times in a row); {have}: give the same command again to resume"
                ) from None
            wait = max(min(2.0**failures, 30), min(e.wait, 120))
            options.say(f"{url}: {e}; {have}, trying again in {wait:.0f} s")
            options.pause(wait)
    found = atomic.file_sha256(part.path)
    if expected.sha256 is not None and found != expected.sha256:
        part.remove()
        raise DataError(
            f"{url}: SHA-256 is {found}, but {expected.sha256} by {expected.recorded_in}; the file was removed; "
            f"{expected.remedy}"
        )
    part.finish()
    return found


def partial_size(target: Path) -> int:
    """Return the bytes that are kept of an unfinished download."""
    return _PartialFile(target).length()


@dataclass
class _Note:
    """Record of the version of a file whose download has begun."""

    url: str
    etag: str | None
    modified: str | None
    total: int | None

    def validator(self) -> str | None:
        """Return the value for `If-Range`: a strong ETag, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


_NOTE_KINDS = {
    "url": (records.is_text, "a text"),
    "etag": (lambda value: value is None or records.is_text(value), "a text"),
    "modified": (lambda value: value is None or records.is_text(value), "a text"),
    "total": (lambda value: value is None or records.is_count(value), "a whole number"),
}


class _PartialFile:
    """Partial file `<target>.part`, with a note of the version of the file."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.note_path = target.with_name(target.name + ".part.json")

    def length(self) -> int:
        """Return the bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def note(self) -> _Note | None:
        """Read the note; None where there is none that can be used."""
        try:
            values = records.read_json(self.note_path)
            records.check_kinds(values, _NOTE_KINDS)
            return _Note(**values)
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, note: _Note) -> None:
        """Start with an empty file; the note is written first, so that bytes never belong to another version."""
        with atomic.storage_errors(self.path.parent):
            self.path.unlink(missing_ok=True)
            atomic.write(self.note_path, json.dumps(asdict(note)).encode())
            self.path.touch()

    def remove(self) -> None:
        """Remove the file and its note."""
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Write the whole file to disk and give it its name."""
        with atomic.storage_errors(self.path.parent):
            with open(self.path, "rb+") as file:
                atomic.sync(file)
            os.replace(self.path, self.target)
            atomic.sync_folder(self.target.parent)
        self.note_path.unlink(missing_ok=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Handler that follows redirects to http and https only, and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # not a valid address: urllib leaves the connection open
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """Build an opener without the handlers for file:, ftp: and data: that urllib adds by itself."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener


@dataclass(frozen=True)
class _Transfer:
    """Transfer of one file."""

    url: str
    part: _PartialFile
    expected: ExpectedFile
    options: DownloadOptions

    def resume(self) -> None:
        """Download the rest of the file over one connection; _TransientError where it does not arrive whole."""
        note, start = self.part.note(), self.part.length()
        validator = note.validator() if note else None
        # Without ETag and date the rest may be of another version, which only a known hash would reveal.
        if note is None or note.url != self.url or not (validator or self.expected.sha256):
            note, start = None, 0
        # Compression would change the sizes.
        headers = {"Accept-Encoding": "identity", "User-Agent": f"image-translate/{__version__}"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        try:
            with _opener().open(
                urllib.request.Request(self.url, headers=headers), timeout=self.options.timeout
            ) as response:
                self._receive(response, note, start)
        except urllib.error.HTTPError as e:
            with e:
                self._handle_error_status(e, start)
        except urllib.error.URLError as e:
            if isinstance(e.reason, ssl.SSLCertVerificationError):
                raise self._wrong(f"its certificate is not valid: {e.reason.verify_message}") from None
            raise _TransientError(f"cannot be reached: {one_line(e.reason)}") from None
        except (http.client.HTTPException, OSError) as e:
            raise _TransientError(f"the connection broke: {one_line(e)}") from None
        except ValueError as e:
            raise self._wrong(f"leads to an invalid address: {one_line(e)}") from None

    def _wrong(self, what: str) -> DataError:
        return DataError(f"{self.url}: {what}; {self.expected.remedy}")

    def _handle_error_status(self, e: urllib.error.HTTPError, start: int) -> None:
        """Raise for an answer other than success; return only where nothing is missing of the file."""
        if e.code == 416 and start:  # no bytes beyond those that are here: the file is whole, or of another version
            if (e.headers.get("Content-Range") or "").strip() == f"bytes */{start}":
                return
            self.part.remove()
            raise _TransientError("the file is shorter than what was downloaded of it")
        if e.code in TRANSIENT_STATUSES:
            wait = e.headers.get("Retry-After") or ""
            raise _TransientError(f"HTTP {e.code} {one_line(e.reason)}", float(wait) if wait.isdecimal() else 0)
        if 300 <= e.code < 400:
            raise self._wrong(
                f"redirected to {e.headers.get('Location')!r}, which is not followed: only http and https are, not from "
                "https to http, and not in a loop"
            )
        raise self._wrong(f"HTTP {e.code} {one_line(e.reason)}")

    def _receive(self, response: http.client.HTTPResponse, note: _Note | None, start: int) -> None:
        """Append the body to the partial file, or replace it where the server sends the whole file."""
        length = response.headers.get("Content-Length") or ""
        fresh = _Note(self.url, response.headers.get("ETag"), response.headers.get("Last-Modified"), None)
        if response.status == 206:
            total = self._whole_length(response, fresh, note, start)
        else:
            note, start, total = None, 0, int(length) if length.isdecimal() else None
        size = self.expected.size
        if (size is not None and total not in (None, size)) or (total or 0) > LARGEST:
            self.part.remove()
            raise self._wrong(f"has {total} bytes, but {size or f'at most {LARGEST}'} are expected")
        folder = self.part.path.parent
        if total is not None and shutil.disk_usage(folder).free < total - start:
            raise StorageError(f"{folder}: {total - start} bytes are needed; make room, or choose another --root")
        if note is None:
            fresh.total = total
            self.part.begin(fresh)
        with atomic.storage_errors(folder):
            # Unbuffered: received bytes survive a kill, and a full disk is met here, not when the file is closed.
            file = open(self.part.path, "ab", buffering=0)  # noqa: SIM115 (closed below)
        with file:
            done = self._copy(response, file, start, total)
        whole = total if total is not None else size
        if whole not in (None, done):
            raise _TransientError(f"the connection ended after {done} of {whole} bytes")

    def _whole_length(
        self, response: http.client.HTTPResponse, fresh: _Note, note: _Note | None, start: int
    ) -> int | None:
        """Return the length of the whole file from an answer with the rest of it; _TransientError where it is not the rest."""
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range") or "")
        total = int(span[2]) if span and span[2] != "*" else None
        if (
            note is None
            or span is None
            or int(span[1]) != start
            or fresh.validator() not in (None, note.validator())
            or (total is not None and note.total not in (None, total))
        ):
            self.part.remove()
            raise _TransientError("the file changed between two parts of it")
        return total or note.total

    def _copy(self, response: http.client.HTTPResponse, file: IO[bytes], done: int, total: int | None) -> int:
        """Copy the body into the file; return the file's new length."""
        task = Path(urlsplit(self.url).path).name
        checked_at, checked_done = time.monotonic(), done
        self.options.progress(task, done, total, "bytes")
        while chunk := response.read1(CHUNK):
            with atomic.storage_errors(self.part.path.parent):
                rest = memoryview(chunk)
                while rest:  # a nearly full disk writes less than it is given
                    rest = rest[file.write(rest) :]
            done += len(chunk)
            if done > LARGEST:
                self.part.remove()
                raise self._wrong(f"does not end after {done} bytes")
            if time.monotonic() - checked_at >= self.options.timeout:
                if done - checked_done < SLOWEST * self.options.timeout:
                    raise _TransientError(f"slower than {SLOWEST} bytes a second")
                checked_at, checked_done = time.monotonic(), done
            self.options.progress(task, done, total, "bytes")
        return done
