"""Tests of the networks of the feature extractors, against the implementations that were published."""

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.evaluation import backbones, evaluator, extractors
from translate.evaluation.extractors import EXTRACTORS, ExtractorSpec
from translate.nn.pretrained import PublishedWeights

from .photos import images_of_sizes


def saved(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


# EfficientNet-Lite0.


@pytest.fixture(scope="module")
def lite0() -> extractors.Extractor:
    return extractors.load_extractor("efficientnet-lite0")


def test_efficientnet_lite0_knows_a_cat_and_a_tripod(lite0: extractors.Extractor) -> None:
    """ImageNet's classes 285, Egyptian cat, and 872, tripod: weights, padding and range of values are right."""
    data = pytest.importorskip("skimage.data")
    logits = lite0([data.chelsea(), data.camera()[:, :, None]]).logits
    assert logits is not None
    assert logits.argmax(1).tolist() == [285, 872]
    assert lite0.sha256 == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def test_batches_do_not_change_efficientnet_s_features(lite0: extractors.Extractor) -> None:
    given = images_of_sizes((30, 40), (224, 224), (64, 64))
    whole = lite0(given).features
    assert lite0(given, 1).features == pytest.approx(whole, abs=1e-5)
    assert (lite0(given).features == whole).all()


def test_the_thin_resnet_has_a_feature_for_each_of_its_last_maps() -> None:
    pytest.importorskip("onnx", reason="needs the extra metrics")
    if not extractors.is_available("thin-resnet50"):
        pytest.skip("needs the extra metrics")
    given = images_of_sizes((30, 40), (64, 64))
    seen = extractors.load_extractor("thin-resnet50")(given)
    assert seen.features.shape == (2, 1024)
    assert seen.logits is None
    assert (seen.features >= 0).all()  # means of what a ReLU gives
    assert evaluator.metric_label("kid", "thin-resnet50") == "KID-R50"


# Inception and CLIP, by torch-fidelity.


def test_inception_is_torch_fidelity_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same features and logits as its own extractor of the same file gives, with any weights."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs the extra metrics")
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: {})  # its constructor asks for a file
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *args, **kwargs: None)
    own = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], tmp_path)
    monkeypatch.undo()
    content = saved(own.state_dict())
    file = tmp_path / "inception.pth"
    file.write_bytes(content)
    published = PublishedWeights(file.name, len(content), hashlib.sha256(content).hexdigest(), "here")
    spec = EXTRACTORS["inception"]
    monkeypatch.setitem(
        EXTRACTORS, "inception", ExtractorSpec(spec.build, published, "", None, spec.resize, spec.package)
    )
    given = images_of_sizes((40, 50), (40, 50))
    seen = extractors.load_extractor("inception", file)(given)
    with torch.no_grad():
        wanted = own(torch.from_numpy(np.stack(given)).permute(0, 3, 1, 2))
    assert (seen.features == wanted[0].numpy()).all()
    assert seen.logits is not None
    assert (seen.logits == wanted[1].numpy()).all()


def test_clip_is_torch_fidelity_s() -> None:
    """A small image encoder in the published file's format, beside the weights of the text encoder that it also holds."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_clip", reason="needs the extra metrics")

    class Published(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = module.CLIPVisual(8, 224, 1, 64, 32).visual.eval()
            self.text_projection = nn.Parameter(torch.zeros(4, 8))

        def forward(self, x: Tensor) -> Tensor:
            return self.visual(x) + 0 * self.text_projection.sum()

    torch.manual_seed(0)
    buffer, network = io.BytesIO(), Published().half().float()  # the file's values fit into 16 bits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 224, 224)), buffer)
    clip = backbones.clip(buffer.getvalue())
    x = torch.from_numpy(images_of_sizes((224, 224))[0]).permute(2, 0, 1)[None]
    mean, std = torch.tensor((0.48145466, 0.4578275, 0.40821073)), torch.tensor((0.26862954, 0.26130258, 0.27577711))
    with torch.no_grad():
        wanted = network((x / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        seen, logits = clip(x)
    assert torch.allclose(seen, wanted, atol=1e-5)
    assert logits is None


# DINOv2.


def dino_state(width: int = 64, depth: int = 2, side: int = 16) -> dict[str, Tensor]:
    """Draw random weights by DINOv2's names."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"cls_token": (1, 1, width), "mask_token": (1, width), "pos_embed": (1, 1 + side**2, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,)}
    for i in range(depth):
        linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for name, shape in linear.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{i}.{name}"] = (width,)
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    return {name: torch.randn(shape, generator=draw) * 0.2 for name, shape in shapes.items()}


def dino_by_hand(state: dict[str, Tensor], x: Tensor, heads: int, depth: int) -> Tensor:
    """Compute the class token of Oquab et al. (2023): pre-norm attention and MLP blocks, each branch scaled by its gamma."""

    def linear(y: Tensor, name: str) -> Tensor:
        return y @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(y: Tensor, name: str) -> Tensor:
        centred = y - y.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state[f"{name}.weight"]
            + state[f"{name}.bias"]
        )

    patches = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14).flatten(2).mT
    y = torch.cat([state["cls_token"].expand(len(x), -1, -1), patches], dim=1) + state["pos_embed"]
    for i in range(depth):
        q, k, v = (
            linear(norm(y, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv")
            .unflatten(-1, (3, heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        mixed = ((q @ k.mT) / q.shape[-1] ** 0.5).softmax(-1) @ v
        y = y + state[f"blocks.{i}.ls1.gamma"] * linear(mixed.transpose(1, 2).flatten(2), f"blocks.{i}.attn.proj")
        wide = F.gelu(linear(norm(y, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1"))
        y = y + state[f"blocks.{i}.ls2.gamma"] * linear(wide, f"blocks.{i}.mlp.fc2")
    return norm(y, "norm")[:, 0]


def test_dinov2_by_hand() -> None:
    state = dino_state()
    x = torch.from_numpy(np.stack(images_of_sizes((224, 224), (224, 224)))).permute(0, 3, 1, 2)
    mean, std = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
    with torch.no_grad():
        seen, logits = backbones.dinov2(saved(state)).eval()(x)
    assert torch.allclose(seen, dino_by_hand(state, (x / 255 - mean) / std, heads=1, depth=2), atol=1e-4)
    assert logits is None


def test_dinov2_s_positions_are_resized_by_its_own_scale() -> None:
    """37 to 16 at a scale of 16.1 / 37: on a ramp, output i lies at (i + ½) · 37 / 16.1 − ½.

    The cubic of −¾ misses a ramp by up to 0.06; at a scale of 16 / 37 the last would be off by 0.2.
    """
    ramp = torch.arange(37.0).repeat(37, 1)
    embedding = torch.cat([torch.zeros(1, 1, 1), ramp.reshape(1, -1, 1)], dim=1)
    resized = backbones._resized_grid(embedding)
    assert resized.shape == (1, 257, 1)
    inner = resized[0, 1:, 0].view(16, 16)[:, 1:-1]
    wanted = (torch.arange(1, 15) + 0.5) * 37 / 16.1 - 0.5
    assert torch.allclose(inner, wanted.expand(16, -1), atol=0.06)
