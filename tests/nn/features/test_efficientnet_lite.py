"""EfficientNet-Lite: published sizes, TensorFlow's padding, and the taps against the whole network."""

import pytest
import torch
from torch import nn

from translate.nn.features import FEATURE_NETWORKS, load_features
from translate.nn.features.efficientnet_lite import EfficientNetLite, _conv, load_efficientnet_lite
from translate.nn.pretrained import is_installed

from ...helpers import on_meta, random_tensor

LITE2 = {"width": 1.1, "depth": 1.2}


@pytest.mark.parametrize(("scale", "parameters"), [({}, 4_652_008), (LITE2, 6_092_072)])
def test_it_has_its_published_size(scale, parameters):
    """And 224 px are halved five times."""
    network = on_meta(EfficientNetLite, **scale)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network.layers(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 1280, 7, 7)


def test_it_pads_as_tensorflow_does():
    """At stride 2 on an even side the window of output i begins at 2i, not at 2i − 1: nothing is added on the left."""
    conv = _conv(1, 1, 3, 2)
    nn.init.ones_(conv[1].weight)
    seen = conv[1](conv[0](torch.arange(16.0).view(1, 1, 4, 4)))
    assert seen.flatten().tolist() == [
        0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10,
        2 + 3 + 6 + 7 + 10 + 11,
        8 + 9 + 10 + 12 + 13 + 14,
        10 + 11 + 14 + 15,
    ]


@pytest.mark.parametrize(
    ("name", "scale", "taps"), [("efficientnet-lite0", {}, (3, 5, 11)), ("efficientnet-lite2", LITE2, (4, 7, 15))]
)
def test_taps_are_the_maps_of_the_classifier(name, scale, taps):
    """Of the network with its batch norms, at 8-bit values, in float64: the scales and the norms are folded exactly."""
    spec = FEATURE_NETWORKS[name]
    if not is_installed(spec.package):
        pytest.skip(f"needs {spec.package}")
    network = load_efficientnet_lite(spec.packaged_file().read_bytes(), **scale).double().eval()
    levels = (127.5 * (random_tensor(1, 3, 48, 48).clamp(-1, 1) + 1)).round()
    x = (levels - 127) / 128
    features = load_features(name).double()(levels / 127.5 - 1)
    with torch.no_grad():
        for index, layer in enumerate(network.layers[: taps[-1] + 1]):
            x = layer(x)
            if index in taps:
                tap = taps.index(index)
                # The folded weights are rounded to float32 once: 6e-8 a layer, over at most 40 layers.
                torch.testing.assert_close(features[tap] * spec.deviations[tap], x, rtol=0, atol=1e-4 * x.std().item())
                assert x.shape[1:] == (spec.channels[tap], 48 // spec.strides[tap], 48 // spec.strides[tap])
