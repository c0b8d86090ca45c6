"""A server as its users start it: a process of its own, which a signal ends."""

import http.client
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue
from typing import Any

PATIENCE = 900.0
"""Seconds that are waited for a process."""


class ServerProcess:
    """`translate serve` or `translate app` on a free port of this machine, once it has printed its address."""

    def __init__(self, *command: str | Path, folder: Path) -> None:
        self.log = folder / "stderr.txt"
        with open(self.log, "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "translate", *map(str, command), "--device", "cpu", "--port", "0"],
                stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "no_proxy": "*"},
            )  # fmt: skip
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = next(word for word in self.line().split() if word.startswith("http"))

    def _read(self) -> None:
        assert self.process.stdout is not None, "piped"
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def line(self) -> str:
        """Next line of its output."""
        line = self._lines.get(timeout=PATIENCE)
        assert line, self.log.read_text()
        return line

    @property
    def port(self) -> int:
        return int(self.url.split("/")[2].rpartition(":")[2])

    def peak_memory(self) -> int:
        """Largest memory that the process has had, in bytes; Linux alone says it."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) << 10

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Exit code, once it has ended."""
        return self.process.wait(PATIENCE)

    def end(self) -> int:
        """Exit code after SIGTERM."""
        self.signal()
        return self.close()

    def close(self) -> int:
        """Exit code; a process that does not end is killed."""
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join()
            assert self.process.stdout is not None, "piped"
            self.process.stdout.close()


Answer = tuple[int, dict[str, str], bytes]


def ask(server: ServerProcess, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()
