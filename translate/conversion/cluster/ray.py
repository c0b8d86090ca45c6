"""Connection to a Ray cluster, or to one that is started on this machine."""

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from translate.errors import Interrupted, UsageError

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else, under `uv run`, Ray packs up the working folder and sends it to workers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it prints a warning about what its next version will do
}
"""Environment variables that Ray reads when it is imported; values that the user has set stay."""

CONNECT_TIMEOUT = 10
"""Seconds within which the address of a cluster must answer; Ray itself would try for minutes."""


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Connect to a Ray cluster; yields the module `ray`.

    `address`: "host:port" or "ray://host:port"; "auto" for the cluster of this machine; "local" starts one that ends with the
    block. A process that is connected already uses its cluster and stays connected. UsageError if there is no cluster.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UsageError("--cluster needs Ray: pip install 'image-translate[cluster]'") from None
    if ray.is_initialized():
        yield ray
        return
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir=_short_temporary_folder(), ignore_cleanup_errors=True
    ) as scratch:
        _init(ray, address, scratch)
        # Else a thread of Ray's prints on stdout when a worker dies; no public setting keeps it from that.
        ray._private.worker._worker_logs_enabled = False
        try:
            yield ray
        finally:
            ray.shutdown()


def _short_temporary_folder() -> str | None:
    """Return a temporary folder with a short path: names of sockets have at most some 100 characters."""
    return "/tmp" if os.name == "posix" else None


def _init(ray: Any, address: str, scratch: str) -> None:
    own = {"include_dashboard": False, "_temp_dir": scratch} if address == "local" else {}
    if address not in ("local", "auto"):
        check_reachable(address)
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except SystemExit:  # what Ray makes of SIGTERM
        raise Interrupted("stopped before anything was converted; run the same command again", signal.SIGTERM) from None
    except Exception as e:
        raise UsageError(f"--cluster {address}: Ray does not start or answer: {error_tail(e)}") from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def check_reachable(address: str) -> None:
    """Raise UsageError if nothing listens at "host:port" or "ray://host:port"."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--cluster {address}: must be local, auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as e:
        raise UsageError(f"--cluster {address}: no Ray answers there: {error_tail(e)}") from None


def error_tail(error: BaseException) -> str:
    """Return the end of an error's text on one line: in Ray's errors the cause comes last."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[-200:]
