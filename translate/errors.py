"""The errors a user can meet. Each is one line that names the thing and the remedy, and carries the exit code."""


class TranslateError(Exception):
    """Something a user can mend. `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(TranslateError, ValueError):
    """A flag, key or combination that cannot be."""

    exit_code = 2


class DataError(TranslateError):
    """A data folder that training or conversion cannot use."""

    exit_code = 3


class ModelError(TranslateError):
    """A model or checkpoint that is missing, damaged or of another kind."""

    exit_code = 4


class BusyError(TranslateError):
    """A folder in which another run is at work."""

    exit_code = 5


class StorageError(TranslateError):
    """A disk that is full, or a folder that cannot be written."""

    exit_code = 6


class DivergedError(TranslateError):
    """A training whose losses are no longer finite numbers."""

    exit_code = 7


class ProcessLostError(TranslateError):
    """Another process of the same training has ended, so that the rest cannot go on."""


class Interrupted(TranslateError):
    """SIGINT, SIGTERM or SIGHUP, after a clean stop. `signal` is its number; the exit code is 128 + that."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
        self.exit_code = 128 + signal
