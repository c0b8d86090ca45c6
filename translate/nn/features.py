"""Discriminators whose inner maps can be compared: feature matching (Salimans et al., "Improved Techniques for Training GANs",
2016, sec. 3.1)."""

from torch import Tensor, nn

from translate.nn.interfaces import Discriminator

COMPARED = 3
"""Maps that are looked at, at most: as many as DiscoGAN's at 64 pixels and PatchGAN's of three layers have."""


class FeatureDiscriminator(Discriminator):
    """A chain of convolutions, norms but behind the first, and leaky ReLUs."""

    model: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the last three normed layers give after their activation, (N, C, H, W) each, and the logits.

        There are fewer where the chain is that short.
        """
        maps = []
        for layer in self.model:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                maps.append(x)
        return maps[1:][-COMPARED:], x
