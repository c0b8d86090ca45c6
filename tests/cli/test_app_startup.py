"""Commands load only the modules that they need: torch takes seconds, many others tenths of one."""

from pathlib import Path

import pytest
from PIL import Image

from ..helpers import run_python

MODEL = Path(__file__).parents[2] / "checkpoints" / "blond-hair"

PARSER = {"cyclopts", "rich", "attrs", "docstring_parser"}
HEAVY = {"torch", "numpy", "PIL"}
OTHERS = {
    "albumentations", "cv2", "imagehash", "imagecodecs", "kornia", "markdown_it", "pygments", "ray", "resvg_py", "scipy",
    "skimage", "tensorboard", "tifffile", "torchcodec", "torchvision", "triton",
}  # fmt: skip
COMPILER = {"torch._dynamo", "torch._inductor", "torch.onnx", "torch.fx.experimental.symbolic_shapes", "sympy"}
UNUSED = {
    "rich.markdown",
    "rich.progress",
    "translate.evaluation",
    "translate.data",
    "translate.dataset_check",
    "translate.training.engine",
}
PAGES = {"translate.conversion.cluster.driver", "translate.conversion.report.conversion_page"}
NETWORK = {"ssl", "http.client"}

COMMANDS = [
    ([], PARSER | HEAVY | OTHERS),
    (["--help"], PARSER | HEAVY | OTHERS),
    (["--version"], PARSER | HEAVY | OTHERS),
    (["convert", "--help"], {"torch"} | OTHERS | NETWORK),
    (["augment", "--help"], {"torch"} | OTHERS | NETWORK),
    (["identify", "--help"], {"torch"} | OTHERS | NETWORK),
    (["data", "list"], {"rich"} | HEAVY | OTHERS | NETWORK),
    (["convert", str(MODEL), "{image}", "{folder}"], OTHERS | COMPILER | UNUSED | PAGES),
    (["status", "{run}"], {"rich"} | HEAVY | OTHERS),
]  # fmt: skip


def in_a_fresh_process(code: str, *words: str) -> str:
    """The last line of what it prints."""
    done = run_python(code, *words)
    assert done.stderr == "" or " converted in " in done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "unneeded"), COMMANDS, ids=lambda part: " ".join(part[:2]) if isinstance(part, list) else ""
)
def test_what_is_not_needed_is_not_loaded(tmp_path: Path, words: list[str], unneeded: set[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "stats.jsonl").write_text('{"images": 10, "step": 10, "loss/g": 1.0}\n')
    Image.new("RGB", (16, 16)).save(tmp_path / "image.jpg")
    places = {"image": tmp_path / "image.jpg", "folder": tmp_path / "out", "run": run}
    code = "import sys; from translate.cli import run; code = run(sys.argv[1:]); print(code, *sys.modules)"
    code, *loaded = in_a_fresh_process(code, *(word.format(**places) for word in words)).split()
    assert code == "0"
    assert unneeded & set(loaded) == set()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("conver", "unknown command 'conver'; did you mean convert?"),
        ("xyzzy", "unknown command 'xyzzy'; possible: demo, train, "),
    ],
)
def test_a_wrong_command_is_told_without_loading_the_others(word: str, told: str) -> None:
    code = "import sys; from translate.cli import run; code = run(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    done = run_python(code, word)
    assert done.stdout == "2 False\n"
    assert done.stderr.startswith(f"error: {told}")
    assert len(done.stderr.splitlines()) == 1


def test_imports_are_exempt_from_garbage_collection() -> None:
    """The collector rests until the command begins, then works on all that is made from then on."""
    code = """
import gc, sys
from translate import cli
from translate.cli import status

class Knot:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("collected")

def told(model, /):
    print(gc.isenabled(), gc.get_freeze_count() > 10_000)
    Knot()
    gc.collect()

status.status = told
cli.main(["status", "any"])
"""
    done = run_python(code)
    assert done.stdout == "True True\ncollected\n"


def test_the_exit_is_silent_where_triton_was_loaded(tmp_path: Path) -> None:
    """Whose bindings list what is not freed at the end."""
    pytest.importorskip("triton")
    code = """
import sys
from translate import cli
from translate.cli import status

def told(model, /):
    import triton._C.libtriton

status.status = told
import triton._C.libtriton
cli.main(["status", "any"])
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("", "")
