"""The convolutions of a training are chosen for its crops and its batch, whatever the sample that shows their shapes."""

from collections.abc import Callable

import pytest
import torch

from translate.methods import METHODS
from translate.nn import fast_conv
from translate.nn.tuned_conv import TunedConvolution
from translate.runtime.precision import PRECISIONS
from translate.training.convolutions import choose_convolutions
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import batch_like, small_config

NETS = {
    "cyclegan": {"generator": "resnet_1blocks"}, "pix2pix": {"generator": "resnet_1blocks"}, "cut": {}, "stargan": {},
}  # fmt: skip


def engine_of(name: str, **settings: object) -> Engine:
    cfg = small_config(name, **{**NETS[name], "g_width": 4, **settings})
    schedule = Schedule(per_epoch=10, epochs=0, decay_epochs=0, images=100)
    return Engine(
        METHODS[name](cfg), schedule, seed=0, device=torch.device("cpu"), precision=PRECISIONS["fp32"], batch_size=1
    )


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("side", [32, 80])
def test_every_generator_is_seen_at_the_size_of_the_crops(
    name: str, side: int, faster: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    faster("direct")
    engine = engine_of(name)
    crop = engine.method.cfg.crop_size
    sample = batch_like(name, *torch.zeros(2, 4, 3, side, side), 0)
    record = choose_convolutions(engine, sample, 2, {}, lambda line: None)
    assert record
    assert all(shape.startswith(f"training 16 to 16, 2x{crop // 4}x{crop // 4}, padding ") for shape in record)
    layers = [x for x in engine.method.modules() if isinstance(x, TunedConvolution) and x.is_winograd_shape]
    assert {layer.algorithm for layer in layers} == {"direct"}
    assert fast_conv.MIN_CHANNELS == 16
    assert torch.is_grad_enabled()
    assert engine.method.training
