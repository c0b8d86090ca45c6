"""Copies to a device, with the CPU as the device."""

import torch

from translate.runtime.transfer import BatchTransfer, to_device_async

CPU = torch.device("cpu")


def test_batches_arrive_as_they_were_sent():
    transfer = BatchTransfer(CPU, ring=2)
    for i in range(5):
        batch = {"a": torch.full((2, 3), float(i)), "b": torch.full((1,), -i)}
        received = transfer.receive(transfer.send(batch))
        assert received.keys() == batch.keys()
        assert all(torch.equal(received[name], x) for name, x in batch.items())


def test_a_tensor_arrives_as_it_was_sent():
    x = torch.arange(3)
    assert torch.equal(to_device_async(x, CPU), x)
