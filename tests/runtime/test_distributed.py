"""Collective operations of a single process; those of several: tests/contract/test_ranks.py, tests/training."""

import pytest
import torch
from torch import nn

from translate.runtime import distributed


def test_a_single_process_is_the_first_of_one():
    distributed.init_process_group(torch.device("cpu"))
    assert (distributed.rank(), distributed.local_rank(), distributed.world_size()) == (0, 0, 1)


def test_a_single_process_exchanges_with_itself():
    x, parameter = torch.arange(4.0), nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    distributed.broadcast([x])
    distributed.average_gradients([parameter])
    assert parameter.grad.tolist() == [3.0, 4.0]
    assert distributed.all_reduce_mean(x) is x
    assert distributed.all_reduce_max(3) == 3
    assert distributed.gather_object("a") == distributed.all_gather_object("a") == ["a"]
    assert distributed.broadcast_object(lambda: "a") == "a"
    assert torch.equal(distributed.local_shard(distributed.all_gather_batch(x)), x)


@pytest.mark.parametrize(
    ("error", "launched", "expected"),
    [
        (torch.distributed.DistBackendError("gone"), False, True),
        (RuntimeError("[../third_party/gloo/transport] Connection closed by peer"), True, True),
        (RuntimeError("[../third_party/gloo/transport] Connection closed by peer"), False, False),
        (RuntimeError("a bug"), True, False),
    ],
)
def test_the_loss_of_another_process_is_told_from_other_errors(error, launched, expected, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2" if launched else "1")
    assert distributed.is_lost_process(error) == expected
