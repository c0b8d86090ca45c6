"""Tiny versions of every method, built from its own config."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from translate import keyed_random
from translate.methods import METHODS, Method
from translate.methods.base import Clock
from translate.runtime.precision import PRECISIONS
from translate.training.engine import Engine
from translate.training.schedule import Schedule

from ..helpers import SIZE, assert_equal_state, batch_like, small_config

SMALL = {"batch_size": 2, "gan_curriculum": 4, "stable_images": 2, "fade_images": 2}
CPU = torch.device("cpu")


def tiny_config(name: str, **flags: Any) -> Any:
    """The method's default recipe with small networks."""
    return small_config(name, **{**SMALL, **flags})


def tiny_method(name: str, **flags: Any) -> Method:
    return METHODS[name](tiny_config(name, **flags))


def tiny_batch(
    name: str, count: int = 2, first: int = 0, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Images `first` to `first + count` of an endless set of noise, the same whatever batch they come in."""
    key = keyed_random.image_keys(7, torch.arange(first, first + count))
    images = (keyed_random.uniform(key, side, 3, SIZE, SIZE).to(dtype) * 2 - 1 for side in "ab")
    return {**batch_like(name, *images, first), "key": key}


def tiny_engine(
    name: str, precision: str = "fp32", images: int = 1000, *, channels_last: bool = False, compiled: bool = False,
    **flags: Any,
) -> Engine:  # fmt: skip
    cfg = tiny_config(name, **flags)
    schedule = Schedule(per_epoch=10, epochs=0, decay_epochs=0, images=images)
    return Engine(
        METHODS[name](cfg), schedule, seed=cfg.seed, device=CPU, precision=PRECISIONS[precision],
        batch_size=cfg.batch_size, ema_half_life=cfg.ema_half_life, channels_last=channels_last, compiled=compiled,
        stages=METHODS[name].stages(replace(cfg, load_size=cfg.load_size or SIZE), images, images),
    )  # fmt: skip


def engine_batch(name: str, engine: Engine, parts: int = 1, count: int = 2) -> list[dict[str, torch.Tensor]]:
    """The micro-batches of the engine's next step, without the keys that the engine adds."""
    batch = tiny_batch(name, count, engine.images, engine.precision.weights)
    size = count // parts
    return [{k: v[i * size : (i + 1) * size] for k, v in batch.items() if k != "key"} for i in range(parts)]


def clocks() -> list[Clock]:
    """Moments of a run; one of each phase that a method may have lies among them."""
    return [Clock(images=2 * n, step=n, epoch=n // 5, progress=n / 1000) for n in range(8)]


def scheduled(method: Method, clock: Clock) -> dict[str, torch.Tensor]:
    """The method's scheduled values, as the engine gives them to a step."""
    device = next(method.parameters()).device if list(method.parameters()) else CPU
    return {name: torch.tensor(value, device=device) for name, value in method.scheduled_values(clock).items()}


class Tiny:
    """What the tests of this folder build with."""

    size = SIZE
    config = staticmethod(tiny_config)
    method = staticmethod(tiny_method)
    batch = staticmethod(tiny_batch)
    engine = staticmethod(tiny_engine)
    engine_batch = staticmethod(engine_batch)
    clocks = staticmethod(clocks)
    scheduled = staticmethod(scheduled)
    assert_equal_state = staticmethod(assert_equal_state)


@pytest.fixture
def tiny() -> type[Tiny]:
    return Tiny
