"""Image-to-image translation: train pix2pix, CycleGAN and related methods, convert folders of images, evaluate the results.

>>> import translate
>>> run = translate.train("cyclegan", "datasets/earth_season", images=1000)
>>> losses = [point["loss/g/cycle_a"] for point in run.history]
>>> model = translate.load(run.path)
>>> winter = model(summer, to="b")
>>> translate.convert(model, "photos/", "out/")
>>> translate.evaluate(run.path, "datasets/earth_season")["metrics"]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from translate.version import __version__

_LAZY = (
    "AlbumentationsTranslation", "Augmented", "KorniaTranslation", "Run", "TrainingCallback", "Translator", "augment",
    "check_data", "cloak", "convert", "evaluate", "export", "get_data", "identify",
    "import_weights", "load", "load_plugin", "project", "push", "resume", "runs", "sample", "status", "train",
)  # fmt: skip
"""Names of translate.api, which needs torch: imported when they are first used."""
__all__ = [
    "AlbumentationsTranslation",
    "Augmented",
    "KorniaTranslation",
    "Run",
    "TrainingCallback",
    "Translator",
    "__version__",
    "augment",
    "check_data",
    "cloak",
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
    "status",
    "train",
]

if TYPE_CHECKING:
    from translate.api import (
        AlbumentationsTranslation,
        Augmented,
        KorniaTranslation,
        Run,
        TrainingCallback,
        Translator,
        augment,
        check_data,
        cloak,
        convert,
        evaluate,
        export,
        get_data,
        identify,
        import_weights,
        load,
        load_plugin,
        project,
        push,
        resume,
        runs,
        sample,
        status,
        train,
    )


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module("translate.api"), name)
    raise AttributeError(f"module 'translate' has no attribute {name!r}")
