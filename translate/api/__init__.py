"""Where the parts are put together: what the command line and `import translate` offer. Each part is loaded when it is used,
for most of them need torch, which takes seconds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PARTS = {
    "translate.api.dataset_check": ("check_data",),
    "translate.api.evaluation": ("compare", "evaluate"),
    "translate.api.models": ("convert", "export", "import_weights", "load", "sample", "say_to_stderr"),
    "translate.api.run_status": ("status",),
    "translate.api.training": ("Run", "resume", "train"),
    "translate.trained.translator": ("Translator",),
}
__all__ = [
    "Run",
    "Translator",
    "check_data",
    "compare",
    "convert",
    "evaluate",
    "export",
    "import_weights",
    "load",
    "resume",
    "sample",
    "say_to_stderr",
    "status",
    "train",
]

if TYPE_CHECKING:
    from translate.api.dataset_check import check_data
    from translate.api.evaluation import compare, evaluate
    from translate.api.models import convert, export, import_weights, load, sample, say_to_stderr
    from translate.api.run_status import status
    from translate.api.training import Run, resume, train
    from translate.trained.translator import Translator


def __getattr__(name: str) -> Any:
    for part, offered in _PARTS.items():
        if name in offered:
            return getattr(import_module(part), name)
    raise AttributeError(f"module 'translate.api' has no attribute {name!r}")
