"""Free memory, within the limits of a control group, and errors that say that it has run out."""

from pathlib import Path

import pytest
import torch

from translate.data import layouts
from translate.data.loader import Loader, LoaderOptions
from translate.data.preprocessing import Preprocessing
from translate.runtime import memory

CPU = torch.device("cpu")
STAT = "anon 400\ninactive_file 200\nactive_file 100"


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Write a file of a fake control group; returns its folder."""
    root = tmp_path / "cgroup"

    def write(name: str, content: object) -> Path:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(f"{content}\n")
        return root

    monkeypatch.setattr(memory, "CGROUP_ROOT", root)
    return write


def test_free_memory_is_a_number_of_bytes():
    assert 1e7 < memory.free_memory(CPU) < 1e15


def test_the_limits_of_both_versions_of_control_groups(cgroup):
    root = cgroup("memory.max", "max")
    assert list(memory._cgroup_allowances(root / "missing")) == []
    cgroup("memory.current", 700)
    cgroup("memory.stat", STAT)
    assert list(memory._cgroup_allowances(root)) == []
    cgroup("memory.max", 1000)
    assert list(memory._cgroup_allowances(root)) == [1000 - (700 - 300)]
    cgroup("memory/memory.limit_in_bytes", 900)
    cgroup("memory/memory.usage_in_bytes", 650)
    cgroup("memory/memory.stat", "cache 1\ninactive_file 30\nactive_file 20")
    assert list(memory._cgroup_allowances(root)) == [600, 900 - 600]
    assert memory.free_memory(CPU) == 300


def test_the_data_loader_keeps_within_the_limit_of_its_container(cgroup, unpaired_root):
    """Images stay in memory while they take at most half of what the limit leaves."""
    split = layouts.find_split(unpaired_root, "unpaired")
    needed = (5 + 7) * 3 * 20 * 20
    cgroup("memory.current", 700)
    cgroup("memory.stat", STAT)
    for allowance, tier in ((2 * needed, "resident"), (2 * needed - 1, "stream")):
        cgroup("memory.max", 400 + allowance)
        loader = Loader(
            split, Preprocessing(20, 16, True, (3, 3)), LoaderOptions(batch_size=3, seed=0, tier="auto", workers=0),
            device=CPU, say=lambda line: None,
        )  # fmt: skip
        assert (loader.bytes_needed, loader.tier) == (needed, tier)


@pytest.mark.parametrize("read", [memory.peak_memory, memory.allocated_memory])
def test_a_process_holds_memory(read):
    held = torch.ones(1 << 22, dtype=torch.uint8)
    assert read(CPU) > len(held)


def test_emptying_the_cache_of_the_cpu_does_nothing():
    memory.empty_cache(CPU)


def test_an_allocation_that_fails_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out(error, expected):
    assert memory.is_out_of_memory(error) == expected
