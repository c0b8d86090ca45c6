"""The command line: one small module for each command, imported only when that command runs.

torch takes seconds to import, and even the flag parser a third of one: the overview of the commands needs neither.
"""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from translate.cli import streams
from translate.cli.console import take_quiet
from translate.cli.plugin_flag import load_plugins
from translate.errors import TranslateError, UsageError
from translate.invocation import command_line
from translate.runtime import signals
from translate.text import printable_lines, suggest
from translate.version import __version__

__all__ = ["main", "run"]

# Rounds that an OpenMP thread spins before it sleeps while it waits for the others. The default of 300,000 makes training
# several times slower on a machine that does other work too. OpenMP reads the variable when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

ABOUT = "Image-to-image translation: train pix2pix, CycleGAN and others, and convert folders of images."

COMMANDS = {
    "demo": ("translate.cli.demo:demo", "Train two models on real photos and write a report, in five minutes."),
    "train": ("translate.cli.train:app", "Train a method on a data folder; the same command again resumes the run."),
    "resume": ("translate.cli.resume:resume", "Resume a run; flags change its settings."),
    "convert": ("translate.cli.convert:convert", "Convert an image, a folder or a glob with a trained model."),
    "augment": (
        "translate.cli.augment:augment",
        "Write a labelled set with translations of its images, which keep their labels.",
    ),
    "sample": (
        "translate.cli.sample:sample",
        "Generate images from noise with a trained dcgan, pggan, stylegan2, biggan or sgan.",
    ),
    "project": (
        "translate.cli.project:project",
        "Find the image of a trained stylegan2 that is most like a given one.",
    ),
    "cloak": ("translate.cli.cloak:cloak", "Change a photo, by too little to see, so that a model fails on it."),
    "evaluate": (
        "translate.cli.evaluate:evaluate",
        "Compute quality metrics of a model, or between two folders of images.",
    ),
    "identify": (
        "translate.cli.identify:identify",
        "Say what made pictures: marks in them, and the job that wrote them.",
    ),
    "status": ("translate.cli.status:status", "Show a training and what it has kept, or describe a model."),
    "runs": ("translate.cli.runs:runs", "List the runs, with their progress and best metric."),
    "import-weights": (
        "translate.cli.import_weights:import_weights",
        "Import a checkpoint of pytorch-CycleGAN-and-pix2pix as a model folder.",
    ),
    "export": (
        "translate.cli.export:export",
        "Export a model as a folder, or as a file: .onnx, .pt2, .pth.",
    ),
    "app": ("translate.cli.app_page:app_command", "Open a page that translates images, for a browser."),
    "serve": ("translate.cli.serve:serve_command", "Serve models over HTTP, for programs."),
    "push": ("translate.cli.push:push", "Upload a model to the Hugging Face hub."),
    "doctor": (
        "translate.cli.doctor:doctor",
        "Show versions, devices and known troubles; try a training and a conversion.",
    ),
    "data": ("translate.cli.data:app", "List and download public data sets; check a data folder."),
}
"""Name of each command → its function, as module:name, and its purpose in one line."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code.

    The garbage collector rests during the imports: nearly all that is imported is kept to the end, and looking through it again
    and again takes half a second where torch is needed.
    """
    signals.raise_on_signal()
    streams.prepare()
    gc.disable()
    code = run(list(sys.argv[1:] if arguments is None else arguments), ready=_collect)
    signals.ignore()  # the code is decided; a wrapper may signal again
    if "triton" in sys.modules:  # its bindings list at exit what was not collected
        gc.unfreeze()
    sys.exit(code)


def _collect() -> None:
    """Exempt what is imported from garbage collection, and collect what is made from now on."""
    gc.freeze()
    gc.enable()


def run(arguments: list[str], ready: Callable[[], None] = lambda: None) -> int:
    """Run a command and return its exit code. Errors that a user can fix are one line on stderr.

    `ready` is called once the command is imported and its flags are parsed.
    """
    arguments = take_quiet(arguments)
    try:
        return _run_reporting_errors(arguments, ready)
    except KeyboardInterrupt as e:
        number = e.signal if isinstance(e, signals.SignalReceived) else signal.SIGINT
        print(f"error: interrupted by {signals.signal_name(number)}; run the same command again", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:
        streams.to_devnull(sys.stdout)  # or Python reports it again at exit
        return 141


def _run_reporting_errors(arguments: list[str], ready: Callable[[], None]) -> int:
    """Run a command and return its exit code; errors that a user can fix are printed."""
    if arguments in ([], ["--help"], ["-h"]):
        print(_overview())
        return 0
    if arguments in (["--version"], ["-V"]):
        print(__version__)
        return 0
    from cyclopts import CycloptsError, UnusedCliTokensError

    try:
        arguments = load_plugins(arguments)
        _check_known(arguments[0])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # on odd metadata in files that are readable all the same
            result = _run(arguments, ready)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a failure is still told
    except CycloptsError as e:
        words = command_line(*(e.command_chain or ()), "--help")
        text = " ".join(str(e).split())
        if isinstance(e, UnusedCliTokensError) and e.unused_tokens:
            text = f"unexpected argument {e.unused_tokens[0]!r}"
        print_error(f"{text} (see {words})")
        return 2
    except TranslateError as e:
        print_error(str(e))
        return e.exit_code
    return result if isinstance(result, int) else 0


def _run(arguments: list[str], ready: Callable[[], None]) -> Any:
    from translate.cli.app import app
    from translate.cli.unknown_flags import parse

    command, bound = parse(app, arguments)
    ready()
    return command(*bound.args, **bound.kwargs)


def _check_known(command: str) -> None:
    """Raise UsageError for an unknown command; cyclopts would import all commands to say so."""
    if command in COMMANDS or command.startswith("-"):
        return
    raise UsageError(f"unknown command {command!r}; {suggest(command, COMMANDS)} (see {command_line('--help')})")


def _overview() -> str:
    """Return the text of `translate --help`."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {purpose}" for name, (_, purpose) in COMMANDS.items()]
    more = (
        "translate COMMAND --help lists the options of a command; translate --version prints the version.\n"
        "translate --install-completion has the shell complete commands and flags.\n"
        "--quiet (-q), with any command, prints results and errors only.\n"
        "--plugin FILE.py, with any command, adds the methods and networks of a file (docs/extending.md)."
    )
    return "\n".join(["Usage: translate COMMAND", "", ABOUT, "", *rows, "", more])


def print_error(line: str) -> None:
    """Print one line, or several, on stderr, marked as an error; control characters are escaped."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {printable_lines(line)}", markup=False)
