"""Translation methods, one file for each paper, their registry METHODS, and `find` for these and those of plug-ins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from translate import plugins
from translate.config import TrainConfig
from translate.errors import ModelError
from translate.methods.base import Method
from translate.methods.bicyclegan import BicycleGAN
from translate.methods.biggan import BigGAN
from translate.methods.colorize import Colorize
from translate.methods.cut import CUT, FastCUT
from translate.methods.cyclegan import CycleGAN
from translate.methods.dcgan import DCGAN
from translate.methods.discogan import DiscoGAN
from translate.methods.dualgan import DualGAN
from translate.methods.pggan import PGGAN
from translate.methods.pix2pix import Pix2Pix
from translate.methods.pix2pixhd import Pix2PixHD
from translate.methods.sgan import SGAN
from translate.methods.spade import SPADE
from translate.methods.stackgan import StackGAN
from translate.methods.stargan import StarGAN
from translate.methods.starganv2 import StarGANV2
from translate.methods.stylegan2 import StyleGAN2
from translate.methods.superres import SuperRes
from translate.text import printable

__all__ = ["METHODS", "PLUGIN_METHODS", "Method", "find", "find_recorded", "names"]

METHODS: dict[str, type[Method[Any]]] = {
    "pix2pix": Pix2Pix,
    "pix2pixhd": Pix2PixHD,
    "bicyclegan": BicycleGAN,
    "cyclegan": CycleGAN,
    "cut": CUT,
    "fastcut": FastCUT,
    "dcgan": DCGAN,
    "pggan": PGGAN,
    "stylegan2": StyleGAN2,
    "biggan": BigGAN,
    "sgan": SGAN,
    "dualgan": DualGAN,
    "discogan": DiscoGAN,
    "stargan": StarGAN,
    "starganv2": StarGANV2,
    "spade": SPADE,
    "colorize": Colorize,
    "superres": SuperRes,
    "stackgan": StackGAN,
}


def _find_problem(name: str, value: Any) -> str:
    """Return why a plug-in cannot be the method of a name; empty if it can."""
    if not (isinstance(value, type) and issubclass(value, Method)):
        return "is no subclass of translate.methods.Method"
    for attribute in ("name", "layout", "Config", "generator_names"):
        if not hasattr(value, attribute):
            return f"lacks the attribute {attribute}"
    if value.name != name:
        return f"calls itself {value.name!r}; its attribute name must be the same"
    return "" if issubclass(value.Config, TrainConfig) else "has a Config that is no subclass of TrainConfig"


PLUGIN_METHODS = plugins.PluginGroup("methods", METHODS, METHODS.__contains__, _find_problem)


def find(name: str) -> type[Method[Any]] | None:
    """Return the method `name`: a row of METHODS, or a plug-in. None if there is neither."""
    if name in METHODS:
        return METHODS[name]
    found: type[Method[Any]] | None = PLUGIN_METHODS.find(name)
    return found


def names() -> tuple[str, ...]:
    """Return the names of all methods, those of plug-ins last."""
    return (*METHODS, *PLUGIN_METHODS.names())


def find_recorded(source: Path, name: str, settings: Mapping[str, Any]) -> type[Method[Any]]:
    """Return the method that a record in `source` names.

    ModelError, with the remedy, if the method, or a network in the settings, is neither built in nor a plug-in that is
    installed or that the user has given: a record loads none.
    """
    cls = find(name)
    if cls is None:
        raise ModelError(f"{source}: its method, {printable(name)}, is not known here; {plugins.HELP}")
    for setting in ("generator", "discriminator"):
        field, network = cls.Config.__dataclass_fields__.get(setting), settings.get(setting)
        if field is None or not isinstance(network, str):
            continue
        choices, accepts = field.metadata["choices"], field.metadata["accepts"]  # of plug-ins only `accepts` knows
        if choices is not None and network not in choices and not (accepts and accepts(network)):
            raise ModelError(f"{source}: its {setting}, {printable(network)}, is not known here; {plugins.HELP}")
    return cls
