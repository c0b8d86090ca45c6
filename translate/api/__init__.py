"""Public functions: all that the command line and `import translate` offer.

Each is loaded when it is first used, because most of them need torch, which takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "translate.api.dataset_check": ("check_data",),
    "translate.api.dataset_download": ("get_data",),
    "translate.api.evaluation": ("compare", "evaluate"),
    "translate.api.hub_upload": ("push",),
    "translate.api.identification": ("identify",),
    "translate.api.labelled_sets": ("augment",),
    "translate.api.models": (
        "cloak",
        "convert",
        "export",
        "import_weights",
        "load",
        "project",
        "sample",
        "say_to_stderr",
    ),
    "translate.api.plugin_files": ("load_plugin",),
    "translate.api.run_list": ("runs",),
    "translate.api.run_status": ("status",),
    "translate.api.training": ("Run", "resume", "train"),
    "translate.callbacks": ("TrainingCallback",),
    "translate.trained.albumentations_translation": ("AlbumentationsTranslation",),
    "translate.trained.augmented": ("Augmented",),
    "translate.trained.kornia_translation": ("KorniaTranslation",),
    "translate.trained.translator": ("Translator",),
}
"""Module → public names in it."""
__all__ = [
    "AlbumentationsTranslation",
    "Augmented",
    "KorniaTranslation",
    "Run",
    "TrainingCallback",
    "Translator",
    "augment",
    "check_data",
    "cloak",
    "compare",
    "convert",
    "evaluate",
    "export",
    "get_data",
    "identify",
    "import_weights",
    "load",
    "load_plugin",
    "project",
    "push",
    "resume",
    "runs",
    "sample",
    "say_to_stderr",
    "status",
    "train",
]

if TYPE_CHECKING:
    from translate.api.dataset_check import check_data
    from translate.api.dataset_download import get_data
    from translate.api.evaluation import compare, evaluate
    from translate.api.hub_upload import push
    from translate.api.identification import identify
    from translate.api.labelled_sets import augment
    from translate.api.models import cloak, convert, export, import_weights, load, project, sample, say_to_stderr
    from translate.api.plugin_files import load_plugin
    from translate.api.run_list import runs
    from translate.api.run_status import status
    from translate.api.training import Run, resume, train
    from translate.callbacks import TrainingCallback
    from translate.trained.albumentations_translation import AlbumentationsTranslation
    from translate.trained.augmented import Augmented
    from translate.trained.kornia_translation import KorniaTranslation
    from translate.trained.translator import Translator


def __getattr__(name: str) -> Any:
    for module, names in _LAZY.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'translate.api' has no attribute {name!r}")
