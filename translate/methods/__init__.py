"""Translation methods, one file for each paper, and their registry METHODS."""

from typing import Any

from translate.methods.base import Method
from translate.methods.cut import CUT, FastCUT
from translate.methods.cyclegan import CycleGAN
from translate.methods.dcgan import DCGAN
from translate.methods.discogan import DiscoGAN
from translate.methods.dualgan import DualGAN
from translate.methods.pix2pix import Pix2Pix
from translate.methods.stargan import StarGAN

__all__ = ["METHODS", "Method"]

METHODS: dict[str, type[Method[Any]]] = {
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
    "cut": CUT,
    "fastcut": FastCUT,
    "dcgan": DCGAN,
    "dualgan": DualGAN,
    "discogan": DiscoGAN,
    "stargan": StarGAN,
}
