"""Options of servers, declared once for the flags."""

from dataclasses import dataclass
from pathlib import Path

from translate import config, images
from translate.config import option

MIB = 1 << 20


@dataclass(frozen=True)
class AddressOptions:
    """Place at which a server listens, and who may use it."""

    host: str = option(
        "127.0.0.1",
        "address to listen on; with any but a loopback address, a token is required of all requests",
        group="Server",
    )
    port: int = option(8000, "port to listen on; 0 takes a free one", low=0, high=65535, group="Server")
    token_file: str | Path | None = option(
        None,
        "file with the token that is required of all requests [default: on a loopback address no token, else one that is made "
        "at the start and printed]",
        group="Server",
    )


@dataclass(frozen=True)
class LimitOptions:
    """Limits of what a server takes."""

    max_upload: int = option(64, "refuse requests of more than N MiB", low=1, group="Limits")
    max_pixels: int = option(
        images.MAX_PIXELS, "refuse images of more than N pixels, or whose outputs have more", low=1, group="Limits"
    )
    queue: int = option(
        64, "requests that are taken at a time, those that wait included; others are refused", low=1, group="Limits"
    )
    batch_size: int = option(8, "images of one size that a GPU translates at a time", low=1, group="Speed")

    @property
    def max_bytes(self) -> int:
        """Largest number of bytes of a request."""
        return self.max_upload * MIB


@dataclass(frozen=True)
class ServeOptions(LimitOptions, AddressOptions):
    """Options of the server for programs. Raises UsageError that names the flag where a value is not possible."""

    timeout: float = option(
        120.0, "seconds after which a request that is not answered is given up", low=0.01, group="Limits"
    )

    def __post_init__(self) -> None:
        config.check_options(self)


@dataclass(frozen=True)
class AppOptions(LimitOptions, AddressOptions):
    """Options of the page for people. Raises UsageError that names the flag where a value is not possible."""

    port: int = option(7860, "port to listen on; 0 takes a free one", low=0, high=65535, group="Server")

    def __post_init__(self) -> None:
        config.check_options(self)
