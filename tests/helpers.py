"""Every method with small networks and batches, by what the method itself says of its settings and data."""

from typing import Any

import torch
from torch import Tensor

from translate import config
from translate.methods import METHODS
from translate.nn.init import normal_
from translate.nn.losses import ADVERSARIAL
from translate.nn.networks import GENERATORS

SIZE = 32
SMALL = {
    "crop_size": SIZE, "load_size": SIZE, "g_width": 4, "d_width": 4, "generator": "resnet_3blocks", "pool_size": 3,
    "n_critic": 1,
}  # fmt: skip
LARGEST_BATCH = 2

TWO_DOMAINS = ("paired", "unpaired")
"""Layouts whose batches show a domain b."""


def distinct_methods() -> list[str]:
    """Return each method once: rows that are another row's class with other defaults are left out."""
    rows = set(METHODS.values())
    return [name for name, cls in METHODS.items() if rows.isdisjoint(cls.__mro__[1:])]


def own_settings(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    """Those of the flags that the method has, leaving out what only other methods have.

    With batch norm, a cost whose penalty does not go with it gives way to another.
    """
    own = set(config.setting_names(METHODS[name].Config))
    others = {key for cls in METHODS.values() for key in config.setting_names(cls.Config)} - own
    kept = {key: value for key, value in flags.items() if key not in others}
    if kept.get("norm") == "batch" and ADVERSARIAL[default(name, "adversarial")].penalty_weight:
        kept = {"adversarial": "lsgan", **kept}
    return kept


def small_settings(name: str, **flags: Any) -> dict[str, Any]:
    """Flags of the method that make it small, and those given; of one or two images a step, as its default is one or more."""
    small = {**SMALL, "batch_size": min(default(name, "batch_size"), LARGEST_BATCH)}
    if default(name, "generator") is None:
        small.pop("generator")  # there is none, or the method chooses it by the crop
    return own_settings(name, {**small, **flags})


def small_config(name: str, **flags: Any) -> Any:
    cls = METHODS[name]
    return cls.resolve_config(config.resolve(cls.Config, ("test", small_settings(name, **flags))))


def default(name: str, setting: str) -> Any:
    """The method's default of a setting; None if it has no such."""
    field = METHODS[name].Config.__dataclass_fields__.get(setting)
    return None if field is None else field.default


def batch_like(name: str, a: Tensor, b: Tensor, first: int = 0) -> dict[str, Tensor]:
    """A batch as the method's layout has it, of images (N, C, H, W): of domains, every other image is of the second.

    `first`: the number of its first image, which is of the first domain where that is even.
    """
    layout = METHODS[name].layout
    if layout in TWO_DOMAINS:
        return {"a": a, "b": b}
    return {"a": a, "label": torch.arange(first, first + len(a)) % 2} if layout == "domains" else {"a": a}


def assert_equal_state(left: Any, right: Any, where: str = "state") -> None:
    """Bit for bit, through nested dicts and lists."""
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), f"{where}: {(left - right).abs().max()}"
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal_state(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for i, (x, y) in enumerate(zip(left, right, strict=True)):
            assert_equal_state(x, y, f"{where}[{i}]")
    else:
        assert left == right, where


def small_generator(name, norm="instance", dropout=False, key=0):
    """Return a narrow generator in float64 whose weights are large enough to matter."""
    net = GENERATORS[name](3, 3, 4, norm, dropout).double()
    return normal_(net, key, gain=0.2)


def random_tensor(*shape, seed=0):
    """Return a float64 tensor of uniform numbers in [-1, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def on_meta(build, *args, **kwargs):
    """Build a network on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return build(*args, **kwargs)


def parameter_count(net):
    return sum(p.numel() for p in net.parameters())
