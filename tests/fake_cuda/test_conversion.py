"""Conversion on a GPU, as far as it can be proved without one: of whole images and in tiles, in the types of each precision."""

import pytest
import torch

from translate.conversion.tiling.partial_layers import Region
from translate.conversion.tiling.tiled_forward import TiledForward
from translate.methods import METHODS
from translate.nn.blocks import set_test_time_behaviour
from translate.runtime.precision import PRECISIONS

from ..helpers import SIZE, small_config
from .harness import CUDA, DeviceWatch, case_of, cuda_without_device, put_on_device

TRANSLATING = [name for name, cls in METHODS.items() if not cls.sampling_networks]
CASES = [
    case_of(name, precision, every_day=(name, precision) == ("cyclegan", "bf16"))
    for name in TRANSLATING
    for precision in ("fp32", "bf16", "fp16")
]


@pytest.fixture(autouse=True)
def cuda():
    with cuda_without_device():
        yield


def loaded(name, precision, **flags):
    method = put_on_device(METHODS[name].on_meta(small_config(name, **flags)), CUDA, PRECISIONS[precision].weights)
    for network in method.children():
        set_test_time_behaviour(network, "image", True)
    return method.eval()


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_images_are_translated_on_the_device(name, precision):
    """With the key of dropout and of latent codes; only the finished image is copied to the host."""
    method, precision = loaded(name, precision), PRECISIONS[precision]
    to = next(iter(method.generator_names))
    channels = method.domains[method.source_domain(to)]
    x = torch.empty(1, channels.channels, SIZE, SIZE, device=CUDA)
    key = torch.empty(1, dtype=torch.int64, device=CUDA)
    has_labels = name == "stargan"  # that of the target is made on the host, from its name
    with torch.inference_mode(), precision.autocast(CUDA), DeviceWatch(may_touch_host=has_labels) as watch:
        y = method.translate(x, to, key)
    assert y.device == CUDA
    convolutions = {kind for op in ("conv2d", "conv_transpose2d", "convolution") for kind in watch.dtypes[op]}
    assert convolutions == {precision.compute or torch.float32}


class MapOnDevice:
    """Kept map without values; the product keeps it on the host, and its parts are moved."""

    def __init__(self, channels, size):
        self.channels, self.size = channels, size

    def read(self, region):
        return torch.empty(1, self.channels, len(region.rows), len(region.columns), device=CUDA)

    def write(self, region, x):
        assert (x.device, x.shape) == (CUDA, (1, self.channels, len(region.rows), len(region.columns)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_tiles_are_computed_on_the_device(precision):
    """Statistics of the whole image are summed on the host, in float64."""
    method, precision = loaded("cyclegan", precision, generator="resnet_1blocks"), PRECISIONS[precision]
    stored = []

    def source(region: Region):
        return torch.empty(1, 3, len(region.rows), len(region.columns), device=CUDA)

    forward = TiledForward(method.generator_for("b").stages, (64, 64), source, MapOnDevice, 48)
    with torch.inference_mode(), precision.autocast(CUDA), DeviceWatch(may_touch_host=True) as watch:
        forward.run(lambda region, y: stored.append((region.area, y.device, y.shape[1])))
    assert watch.dtypes["conv2d"] == {precision.compute or torch.float32}
    assert sum(area for area, *_ in stored) == 64 * 64
    assert {tuple(rest) for _, *rest in stored} == {(CUDA, 3)}
