"""The command line: one small file for each command. torch is imported only when a command runs."""

import os
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from rich.console import Console

import translate
from translate.errors import TranslateError

# How long a thread that waits for the others of its step spins before it sleeps. The default, 300,000 rounds, makes training
# several times slower on a machine that has other work to do. OpenMP reads it when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

app = App(
    name="translate",
    help="Image-to-image translation: train pix2pix, CycleGAN and their kin, convert folders of images.",
    version=translate.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(
    "translate.cli.demo:demo", name="demo", help="Real photos → two trained models → a report, in five minutes."
)
app.command("translate.cli.train:app", name="train", help="Train a method on a folder; the same command again resumes.")
app.command(
    "translate.cli.resume:resume", name="resume", help="Go on with a run; flags change its settings on purpose."
)
app.command("translate.cli.convert:convert", name="convert", help="Convert an image, a folder or a glob.")
app.command("translate.cli.sample:sample", name="sample", help="Images from noise, by a trained dcgan.")
app.command(
    "translate.cli.evaluate:evaluate", name="evaluate", help="How good a model is, or how alike two folders are."
)
app.command(
    "translate.cli.status:status", name="status", help="How a training goes; what a model is, and how it converts."
)
app.command(
    "translate.cli.import_weights:import_weights",
    name="import-weights",
    help="A checkpoint of pytorch-CycleGAN-and-pix2pix → a model folder.",
)
app.command("translate.cli.export:export", name="export", help="A model → a folder to ship, or the reference's .pth.")
app.command("translate.cli.data:app", name="data", help="Public data sets: list them, get one.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process with the contract's exit code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Runs a command; its exit code. Errors that a user can mend are one line on stderr."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of odd metadata in files that are read all the same
            result = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as e:
        command = " ".join(["translate", *(e.command_chain or ())])
        complain(" ".join(str(e).split()) + f" ({command} --help lists what is possible)")
        return 2
    except TranslateError as e:
        complain(str(e))
        return e.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return 141
    return result if isinstance(result, int) else 0


def complain(line: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {line}", markup=False)
