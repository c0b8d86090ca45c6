"""Choice of the device, and the environment of the last bits."""

import pytest
import torch

from translate.errors import UsageError
from translate.runtime import devices

CPU = torch.device("cpu")


def test_the_cpu_is_always_there():
    assert devices.resolve_device("cpu") == CPU


def test_auto_takes_what_the_machine_has():
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert devices.resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "xpu", ""])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(UsageError, match=f"--device {name}: "):
        devices.resolve_device(name)


def test_no_metal_device_elsewhere(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device mps"):
        devices.resolve_device("mps")


def test_changes_of_the_environment_are_named():
    now = devices.numerical_environment(CPU)
    assert {"torch", "processes", "device", "threads", "deterministic"} == now.keys()
    assert devices.environment_changes(now, now) == []
    assert devices.environment_changes({**now, "threads": 99}, now) == [f"threads {now['threads']} instead of 99"]
    assert devices.environment_changes({}, now) == []  # a state that recorded none
