"""Image-to-image translation: train pix2pix and CycleGAN, convert folders of images, watch training in TensorBoard.

>>> import translate
>>> run = translate.train("cyclegan", "datasets/earth_season", images=1000)
>>> model = translate.load(run.path)
>>> winter = model(summer, to="b")
>>> translate.convert(model, "photos/", "out/")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = ("load", "train", "convert", "Run", "Translator")  # names of translate.api: torch is imported when one is used
__all__ = ["Run", "Translator", "__version__", "convert", "load", "train"]

if TYPE_CHECKING:
    from translate.api import Run, Translator, convert, load, train


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module("translate.api"), name)
    raise AttributeError(f"module 'translate' has no attribute {name!r}")
