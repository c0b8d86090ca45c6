"""A trained model with gradients from its output to its input."""

from collections.abc import Callable

import torch
from torch import Tensor

from translate.trained.image_layout import pad_to_size_rule
from translate.trained.translator import Translator


def translate_with_grad(model: Translator, to: str, seed: int) -> Callable[[Tensor], Tensor]:
    """Return the model as a differentiable function of images (N, C, H, W) in [-1, 1], each translated on its own.

    Its noise depends on the seed alone: it stays the same when an image changes.
    """
    model.ensure_convolutions()

    def translate(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        key = torch.full((len(x),), seed, device=model.device)
        batch = torch.stack(
            [pad_to_size_rule(image.to(model.device, model.precision.weights), **model.info.size) for image in x]
        )
        scale = model.scale(to)
        with model.precision.autocast(model.device):
            output = model.method.translate(batch, to, key)
            return output[..., : scale * height, : scale * width].to(x.device, x.dtype)

    return translate
