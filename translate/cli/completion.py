"""`translate --install-completion`: complete commands and flags in the user's shell."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.completion.detect import ShellDetectionError

from translate import atomic
from translate.cli.console import say
from translate.errors import UsageError


def install_completion(
    *,
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"] | None, Parameter(help="shell [default: the one in use]")
    ] = None,
) -> None:
    """Install the completion of commands, flags and choices for a shell, and have the shell load it when it starts."""
    from translate.cli.app import app

    try:
        with atomic.storage_errors(Path.home()):
            path = app.install_completion(shell=shell)
    except ShellDetectionError:
        raise UsageError(
            "--install-completion: cannot tell which shell is used; give --shell bash, zsh, fish or powershell"
        ) from None
    say(f"{path}: completion installed; open a new shell to use it")
