"""Translation methods, one file each."""

from translate.methods.base import Method
from translate.methods.cyclegan import CycleGAN
from translate.methods.pix2pix import Pix2Pix

METHODS: dict[str, type[Method]] = {
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
}
