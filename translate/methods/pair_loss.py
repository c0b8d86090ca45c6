"""Losses on known pairs among unpaired images: what paired translation adds to an unpaired method."""

from torch import Tensor, nn

from translate.methods.base import Losses
from translate.methods.configs import MixedSupervisionConfig
from translate.methods.content_loss import ContentLoss
from translate.nn.losses import l1


def pair_losses(
    cfg: MixedSupervisionConfig, content: ContentLoss, generator: nn.Module, x: Tensor, truth: Tensor, direction: str
) -> Losses:
    """Return the losses between the translations of images x (N, C, H, W) and the true ones, both in [-1, 1].

    "pairs": the L1 distance (Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    eq. 3) times `lambda_pairs`; and the content losses of the config. `direction` is the end of their names, such as "ab".
    """
    fake = generator(x)
    return {
        f"pairs_{direction}": cfg.lambda_pairs * l1(fake, truth),
        **content(fake, truth, f"_pairs_{direction}"),
    }
