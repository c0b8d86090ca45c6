"""The command line: one small file for each command, imported only when that command runs.

torch takes seconds to import, and even the parser of flags a third of one: the overview of the commands needs neither.
"""

import difflib
import gc
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from translate.errors import TranslateError, UsageError
from translate.version import __version__

__all__ = ["main", "run"]

# How long a thread that waits for the others of its step spins before it sleeps. The default, 300,000 rounds, makes training
# several times slower on a machine that has other work to do. OpenMP reads it when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

ABOUT = "Image-to-image translation: train pix2pix, CycleGAN and their kin, convert folders of images."

COMMANDS = {
    "demo": ("translate.cli.demo:demo", "Real photos → two trained models → a report, in five minutes."),
    "train": ("translate.cli.train:app", "Train a method on a folder; the same command again resumes."),
    "resume": ("translate.cli.resume:resume", "Go on with a run; flags change its settings on purpose."),
    "convert": ("translate.cli.convert:convert", "Convert an image, a folder or a glob."),
    "sample": ("translate.cli.sample:sample", "Images from noise, by a trained dcgan."),
    "evaluate": ("translate.cli.evaluate:evaluate", "How good a model is, or how alike two folders are."),
    "status": ("translate.cli.status:status", "How a training goes; what a model is, and how it converts."),
    "import-weights": (
        "translate.cli.import_weights:import_weights",
        "A checkpoint of pytorch-CycleGAN-and-pix2pix → a model folder.",
    ),
    "export": ("translate.cli.export:export", "A model → a folder to ship, or the reference's .pth."),
    "data": ("translate.cli.data:app", "Public data sets: list them, get one."),
}
"""Where each command is, and what it is for."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process with the contract's exit code.

    Nearly all that is imported is kept to the end. The garbage collector would look through it in vain, again and again
    while it is imported and once more at the end: half a second where torch is needed.
    """
    gc.disable()
    code = run(list(sys.argv[1:] if arguments is None else arguments), ready=_collect)
    if "triton" in sys.modules:  # at the end it would tell at length of what is not collected
        gc.unfreeze()
    sys.exit(code)


def _collect() -> None:
    """What is imported is left alone from here on, what is made is collected."""
    gc.freeze()
    gc.enable()


def run(arguments: list[str], ready: Callable[[], None] = lambda: None) -> int:
    """Runs a command; its exit code. Errors that a user can mend are one line on stderr.

    `ready` is called when the command is imported and its flags are understood.
    """
    if arguments in ([], ["--help"], ["-h"]):
        print(_overview())
        return 0
    if arguments == ["--version"]:
        print(__version__)
        return 0
    from cyclopts import CycloptsError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of odd metadata in files that are read all the same
            result = _run(arguments, ready)
    except CycloptsError as e:
        words = " ".join(["translate", *(e.command_chain or ())])
        print_error(" ".join(str(e).split()) + f" ({words} --help lists what is possible)")
        return 2
    except TranslateError as e:
        print_error(str(e))
        return e.exit_code
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return 141
    return result if isinstance(result, int) else 0


def _run(arguments: list[str], ready: Callable[[], None]) -> Any:
    from translate.cli.app import app

    _check_known(arguments[0])
    command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    ready()
    return command(*bound.args, **bound.kwargs)


def _check_known(command: str) -> None:
    """UsageError where there is no such command: cyclopts would import them all to say so."""
    if command in COMMANDS or command.startswith("-"):
        return
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    meant = f"did you mean {near[0]}?" if near else f"possible: {', '.join(COMMANDS)}"
    raise UsageError(f"no command {command!r}; {meant} (translate --help lists what is possible)")


def _overview() -> str:
    """What `translate --help` says."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {purpose}" for name, (_, purpose) in COMMANDS.items()]
    more = "translate COMMAND --help lists what it takes; translate --version says which version this is."
    return "\n".join(["Usage: translate COMMAND", "", ABOUT, "", *rows, "", more])


def print_error(line: str) -> None:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {line}", markup=False)
