"""Where the parts are put together: what the command line and `import translate` offer."""

from translate.api.checking import check_data
from translate.api.models import convert, export, import_weights, load, say_to_stderr, status
from translate.api.training import Run, resume, train
from translate.conversion.translator import Translator

__all__ = [
    "Run",
    "Translator",
    "check_data",
    "convert",
    "export",
    "import_weights",
    "load",
    "resume",
    "say_to_stderr",
    "status",
    "train",
]
