"""Base of methods whose generator takes a latent code beside its input: a random one, or that of an example image."""

from typing import Any, ClassVar, TypeVar, cast

from torch import Tensor

from translate import keyed_random
from translate.config import TrainConfig
from translate.methods.base import Method
from translate.nn.base import clamp_to_image_range
from translate.nn.blocks import keyed_dropout

C = TypeVar("C", bound=TrainConfig)


class LatentCodeMethod(Method[C]):
    """Base class with a generator `g` of inputs and codes (N, latent_size), and an encoder `e` from images of b to codes.

    Codes are normally distributed. The encoder returns the mean of an image's code first. A method may go without them, by its
    config: then `has_noise` is False, and its generator takes inputs alone.
    """

    g: Any
    e: Any
    latent_size: int
    code_name: ClassVar[str] = "z"
    """Name of the random draw of codes in conversion."""

    def translate(self, x: Tensor, to: str, key: Tensor | None = None) -> Tensor:
        if not self.has_noise:
            return super().translate(x, to, key)
        zeros = x.new_zeros(x.shape[0], self.latent_size)
        code = zeros if key is None else keyed_random.normal(key, self.code_name, self.latent_size)
        return self.translate_in_style(x, to, code, key)

    def translate_in_style(self, x: Tensor, to: str, style: Tensor, key: Tensor | None = None) -> Tensor:
        if not self.has_noise:
            return super().translate_in_style(x, to, style, key)
        code = style.expand(x.shape[0], -1).to(x.dtype)
        with keyed_dropout(self.g, key):
            return clamp_to_image_range(cast(Tensor, self.g(x, code)))

    def encode_style(self, image: Tensor, to: str) -> Tensor:
        """Return the means of the codes of images of domain b, (N, latent_size)."""
        if not self.has_noise:
            return super().encode_style(image, to)
        return cast(Tensor, self.e(image)[0])
