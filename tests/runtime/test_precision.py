"""Precisions by name. How each agrees with float32 in training: tests/contract."""

import pytest
import torch

from translate.errors import UsageError
from translate.runtime.precision import PRECISIONS, cudnn_benchmark, resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_precision_is_found_by_its_name(name):
    assert resolve_precision(name, CPU) is PRECISIONS[name]
    assert PRECISIONS[name].name == name


def test_auto_is_float32_on_the_cpu():
    assert resolve_precision("auto", CPU).name == "fp32"


def test_an_unknown_precision_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"--precision fp8: .*fp32"):
        resolve_precision("fp8", CPU)


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp64", torch.float64)]
)
def test_products_have_the_type_that_autocast_computes_in(name, dtype):
    precision = PRECISIONS[name]
    x = torch.ones(2, 2, dtype=precision.weights)
    with precision.autocast(CPU):
        assert (x @ x).dtype == dtype


def test_the_benchmark_mode_of_cudnn_ends_with_its_block(monkeypatch):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: False)
    before = torch.backends.cudnn.benchmark
    with pytest.raises(KeyError), cudnn_benchmark(torch.device("cuda")):
        assert torch.backends.cudnn.benchmark is True
        raise KeyError
    assert torch.backends.cudnn.benchmark == before
