"""Backbones of the feature extractors, built from the contents of their published weight files.

Each takes images (N, 3, H, W) uint8 of the size that its extractor states and returns features (N, D) and, for
classifiers, logits (N, K), both float32.
"""

import io
import itertools
import warnings
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from torchvision.models import VisionTransformer

BackboneOutput = tuple[Tensor, Tensor | None]
"""Features (N, D), and logits (N, K) of a classifier or None."""

# Inception-v3 and CLIP, which torch-fidelity builds.


class _Fidelity(nn.Module):
    """Adapter of a network of torch-fidelity that returns features, and logits if it has them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> BackboneOutput:
        features, *logits = self.network(x)
        return features, logits[0] if logits else None


def inception(weights: bytes) -> nn.Module:
    """Build TensorFlow's Inception-v3 of 2015, which FID, KID and the Inception Score are defined on.

    It resizes images itself. Features are the 2048 means of the last feature maps; the logits are those without bias, as the
    Inception Score takes them.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    outputs = ["2048", "logits_unbiased"]
    return _Fidelity(FeatureExtractorInceptionV3("inception-v3-compat", outputs, io.BytesIO(weights)))


def clip(weights: bytes) -> nn.Module:
    """Build the image encoder of CLIP ViT-B/32 (Radford 2021); features are its 512 embedding values."""
    from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated, but the file is published in its format
        return _Fidelity(FeatureExtractorCLIP("clip-vit-b-32", ["clip"], io.BytesIO(weights)))


# DINOv2.

_PATCH, _GRID = 14, 16  # 224 px
_OFFSET = 0.1  # DINOv2 adds it to the sides of the grid before it resizes the embedding


class _DinoV2(nn.Module):
    """Vision transformer with the input normalization of ImageNet."""

    def __init__(self, network: "VisionTransformer") -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1))  # of ImageNet
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> BackboneOutput:
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return self.network((x.float() / 255 - mean) / std), None


def dinov2(weights: bytes) -> nn.Module:
    """Build DINOv2 ViT-S/14 (Oquab 2023) from torchvision's transformer; features are the 384 values of the class token."""
    from torchvision.models import VisionTransformer  # takes seconds to import, and no other extractor needs it

    state = torch.load(io.BytesIO(weights), weights_only=True)
    width, depth = state["cls_token"].shape[2], 1 + max(int(key.split(".")[1]) for key in state if "blocks." in key)
    network = VisionTransformer(
        image_size=_PATCH * _GRID, patch_size=_PATCH, num_layers=depth, num_heads=width // 64, hidden_dim=width,
        mlp_dim=4 * width,
    )  # fmt: skip
    network.heads = nn.Sequential()
    network.load_state_dict(_torchvision_names(state, depth))
    return _DinoV2(network)


_DINO_NAMES = {
    "ln_1.": "norm1.",
    "self_attention.in_proj_": "attn.qkv.",
    "self_attention.out_proj.": "attn.proj.",
    "ln_2.": "norm2.",
    "mlp.0.": "mlp.fc1.",
    "mlp.3.": "mlp.fc2.",
}
"""Names of a block's layers in torchvision → in DINOv2."""

_DINO_SCALES = {"self_attention.out_proj.": "ls1", "mlp.3.": "ls2"}
"""Last layer of each branch → the scales of its outputs, which torchvision's blocks do not have."""


def _torchvision_names(state: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Return DINOv2's weights under torchvision's names, with the scales multiplied into the layers before them."""
    renamed = {
        "class_token": state["cls_token"],
        "encoder.pos_embedding": _resized_grid(state["pos_embed"]),
    }
    for kind in ("weight", "bias"):
        renamed[f"conv_proj.{kind}"] = state[f"patch_embed.proj.{kind}"]
        renamed[f"encoder.ln.{kind}"] = state[f"norm.{kind}"]
        for i, (ours, theirs) in itertools.product(range(depth), _DINO_NAMES.items()):
            value = state[f"blocks.{i}.{theirs}{kind}"]
            if ours in _DINO_SCALES:
                scale = state[f"blocks.{i}.{_DINO_SCALES[ours]}.gamma"]
                value = value * (scale[:, None] if kind == "weight" else scale)
            renamed[f"encoder.layers.encoder_layer_{i}.{ours}{kind}"] = value
    return renamed


def _resized_grid(embedding: Tensor) -> Tensor:
    """Resize a position embedding (1, 1 + M², D) to a grid of side _GRID as DINOv2 does."""
    token, grid = embedding[:, :1], embedding[:, 1:]
    side = round(grid.shape[1] ** 0.5)
    maps = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (_GRID + _OFFSET) / side
    if side != _GRID:
        maps = F.interpolate(maps, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([token, maps.flatten(2).permute(0, 2, 1)], dim=1)
