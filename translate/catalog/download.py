"""Downloads over bad lines: resumed where they stopped, checked by size and SHA-256, and only then given their name."""

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

from translate import atomic
from translate.errors import DataError, StorageError
from translate.text import one_line
from translate.version import __version__

CHUNK = 1 << 20
"""Bytes that are held at a time."""

SLOWEST = 1024
"""Bytes a second, over a whole timeout, below which a server that drips is as good as one that stalls."""

LARGEST = 1 << 37
"""Bytes of a file, whatever the server says: a body without end must not fill the disk."""

ENOUGH = 1 << 20
"""Bytes after which a broken connection counts as the first failure again."""

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP answers that another try may change."""


TaskProgress = Callable[[str, int, int | None, str], None]
"""Told how far a task is: its name, what is done, of how much (None: unknown), in which unit."""


def no_progress(*args: Any) -> None:
    """Neither lines nor progress."""


@dataclass(frozen=True)
class DownloadOptions:
    """How patient a download is, and whom it tells."""

    say: Callable[[str], None] = no_progress
    progress: TaskProgress = no_progress
    timeout: float = 30
    """Seconds of silence."""
    attempts: int = 5
    """Failures in a row, without progress in between."""
    pause: Callable[[float], None] = time.sleep


class _Passing(Exception):
    """A failure that may go away by itself. `wait`: seconds the server asks for."""

    def __init__(self, message: str, wait: float = 0) -> None:
        super().__init__(message)
        self.wait = wait


def download_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    expected_by: str = "the card",
    size: int | None = None,
    remedy: str = "",
    options: DownloadOptions = DownloadOptions(),
) -> str:
    """The file at an http(s) address, under its name only when it is whole; its SHA-256.

    Until then it is `<target>.part`, and the same call goes on from there, after failures as after Ctrl-C. DataError
    says what the server or the file is wrong about and ends with `remedy`; StorageError that the disk is full.
    """
    part = _Part(target)
    transfer = _Transfer(url, part, sha256 is not None, size, remedy, options)
    failures, furthest = 0, part.length()
    while True:
        try:
            transfer.go_on()
            break
        except _Passing as e:
            failures = 1 if part.length() - furthest >= ENOUGH else failures + 1
            furthest = max(furthest, part.length())  # a server that starts anew each time makes no progress
            have = f"{part.length() / 1e6:.1f} MB are kept" if part.length() else "nothing has come yet"
            if failures >= options.attempts:
                raise DataError(
                    f"{url}: {e} ({failures} times in a row); {have}: give the same command again to go on from there"
                ) from None
            wait = max(min(2.0**failures, 30), min(e.wait, 120))
            options.say(f"{url}: {e}; {have}, trying again in {wait:.0f} s")
            options.pause(wait)
    found = atomic.file_sha256(part.path)
    if sha256 is not None and found != sha256:
        part.remove()
        raise DataError(f"{url}: SHA-256 is {found}, but {sha256} by {expected_by}; the file was removed; {remedy}")
    part.finish()
    return found


def partial_size(target: Path) -> int:
    """Bytes that are kept of a download that has not come to its end."""
    return _Part(target).length()


@dataclass
class _Note:
    """What is known of a file whose download has begun."""

    url: str
    etag: str | None
    modified: str | None
    total: int | None

    def validator(self) -> str | None:
        """What `If-Range` can compare: a strong ETag, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _Part:
    """The half of a file that is there, `<target>.part`, with a note of which version of the file it is."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.note_path = target.with_name(target.name + ".part.json")

    def length(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def note(self) -> _Note | None:
        try:
            return _Note(**json.loads(self.note_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, note: _Note) -> None:
        """An empty file; the note comes first, so that bytes never belong to another version."""
        with atomic.storage_errors(self.path.parent):
            self.path.unlink(missing_ok=True)
            atomic.write(self.note_path, json.dumps(asdict(note)).encode())
            self.path.touch()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)

    def finish(self) -> None:
        with atomic.storage_errors(self.path.parent):
            with open(self.path, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(self.path, self.target)
            atomic.sync_folder(self.target.parent)
        self.note_path.unlink(missing_ok=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # an address that is none: urllib leaves the connection open
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """Without the handlers for file:, ftp: and data: that urllib would add by itself."""
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
    """A file on its way."""

    url: str
    part: _Part
    hash_known: bool
    size: int | None
    remedy: str
    options: DownloadOptions

    def go_on(self) -> None:
        """One connection for what is missing of the file; _Passing if that is not all that comes."""
        note, start = self.part.note(), self.part.length()
        validator = note.validator() if note else None
        # Without ETag and date the rest may be of another version: only a known hash would find that out.
        if note is None or note.url != self.url or not (validator or self.hash_known):
            note, start = None, 0
        # Compression on the way would change the sizes; the User-Agent says who asks.
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
                self._refused(e, start)
        except urllib.error.URLError as e:
            if isinstance(e.reason, ssl.SSLCertVerificationError):
                raise self._wrong(f"its certificate is not valid: {e.reason.verify_message}") from None
            raise _Passing(f"cannot be reached: {one_line(e.reason)}") from None
        except (http.client.HTTPException, OSError) as e:
            raise _Passing(f"the connection broke: {one_line(e)}") from None
        except ValueError as e:
            raise self._wrong(f"leads to an address that is none: {one_line(e)}") from None

    def _wrong(self, what: str) -> DataError:
        return DataError(f"{self.url}: {what}; {self.remedy}")

    def _refused(self, e: urllib.error.HTTPError, start: int) -> None:
        """An answer other than success; returns only where nothing is missing."""
        if e.code == 416 and start:  # nothing beyond what is there: it is whole, or of another version
            if (e.headers.get("Content-Range") or "").strip() == f"bytes */{start}":
                return
            self.part.remove()
            raise _Passing("the file is shorter than what was downloaded of it")
        if e.code in PASSING:
            wait = e.headers.get("Retry-After") or ""
            raise _Passing(f"HTTP {e.code} {one_line(e.reason)}", float(wait) if wait.isdecimal() else 0)
        if 300 <= e.code < 400:
            raise self._wrong(
                f"redirected to {e.headers.get('Location')!r}, which is not followed: only http and https are, not from "
                "https to http, and not in a circle"
            )
        raise self._wrong(f"HTTP {e.code} {one_line(e.reason)}")

    def _receive(self, response: http.client.HTTPResponse, note: _Note | None, start: int) -> None:
        """The body, behind what is there, or in its place where the server sends all of it."""
        told = response.headers.get("Content-Length") or ""
        fresh = _Note(self.url, response.headers.get("ETag"), response.headers.get("Last-Modified"), None)
        if response.status == 206:
            total = self._total_of_rest(response, fresh, note, start)
        else:
            note, start, total = None, 0, int(told) if told.isdecimal() else None
        if (self.size is not None and total not in (None, self.size)) or (total or 0) > LARGEST:
            self.part.remove()
            raise self._wrong(f"has {total} bytes, but {self.size or f'at most {LARGEST}'} are expected")
        folder = self.part.path.parent
        if total is not None and shutil.disk_usage(folder).free < total - start:
            raise StorageError(f"{folder}: {total - start} bytes are needed; make room, or choose another --root")
        if note is None:
            fresh.total = total
            self.part.begin(fresh)
        with atomic.storage_errors(folder):
            # Unbuffered: what has come is there after a kill, and a full disk is met here, not when the file is closed.
            file = open(self.part.path, "ab", buffering=0)  # noqa: SIM115 (closed below)
        with file:
            done = self._copy(response, file, start, total)
        expected = total if total is not None else self.size
        if expected not in (None, done):
            raise _Passing(f"the connection ended after {done} of {expected} bytes")

    def _total_of_rest(
        self, response: http.client.HTTPResponse, fresh: _Note, note: _Note | None, start: int
    ) -> int | None:
        """The length of the whole file, from an answer that has the rest of it; _Passing if it is not the rest."""
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
            raise _Passing("the file changed between two parts of it")
        return total or note.total

    def _copy(self, response: http.client.HTTPResponse, file: IO[bytes], done: int, total: int | None) -> int:
        """The body into the file; how long the file then is."""
        task = Path(urlsplit(self.url).path).name
        since, then = time.monotonic(), done
        self.options.progress(task, done, total, "bytes")
        while chunk := response.read1(CHUNK):
            with atomic.storage_errors(self.part.path.parent):
                rest = memoryview(chunk)
                while rest:  # a disk that is nearly full takes less than it is given
                    rest = rest[file.write(rest) :]
            done += len(chunk)
            if done > LARGEST:
                self.part.remove()
                raise self._wrong(f"does not end after {done} bytes")
            if time.monotonic() - since >= self.options.timeout:
                if done - then < SLOWEST * self.options.timeout:
                    raise _Passing(f"slower than {SLOWEST} bytes a second")
                since, then = time.monotonic(), done
            self.options.progress(task, done, total, "bytes")
        return done
