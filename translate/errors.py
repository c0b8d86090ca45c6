"""Errors that a user can meet: each is one line that names the thing and the remedy, and has an exit code."""


class TranslateError(Exception):
    """Error that a user can fix; `exit_code` is that of the command line."""

    exit_code = 1


class UsageError(TranslateError, ValueError):
    """Flag, setting or combination of them that is impossible."""

    exit_code = 2


class DataError(TranslateError):
    """Data folder that training or conversion cannot use."""

    exit_code = 3


class ModelError(TranslateError):
    """Model or checkpoint that is missing, damaged or of another kind."""

    exit_code = 4


class NonFiniteError(ModelError, RuntimeError):
    """Output of a network that holds NaN or infinite values: weights are damaged, or a number type overflowed."""


class BusyError(TranslateError):
    """Folder that another process is working in."""

    exit_code = 5


class StorageError(TranslateError):
    """Disk that is full, or folder that cannot be written."""

    exit_code = 6


class DivergedError(TranslateError):
    """Training whose losses are no longer finite numbers."""

    exit_code = 7


class ProcessLostError(TranslateError):
    """Loss of another process of the same training, without which the others cannot continue."""


class Interrupted(TranslateError):
    """Clean stop on SIGINT, SIGTERM or SIGHUP; `signal` is its number, and the exit code 128 plus that."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
        self.exit_code = 128 + signal
