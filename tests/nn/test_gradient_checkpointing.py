"""Gradient checkpointing changes memory and time, and nothing else."""

import copy

import pytest
import torch
from torch import nn

from translate.nn import base
from translate.nn.init import normal_
from translate.nn.losses import gradient_penalty
from translate.nn.networks import GENERATORS
from translate.nn.networks.resnet import ResnetGenerator
from translate.runtime.precision import PRECISIONS

from ..helpers import random_batch, same_tensors

CPU = torch.device("cpu")
SMALL = ["resnet_3blocks", "unet_32", "resize_unet_3levels_2blocks"]


def pair(name, norm="batch", dropout=True):
    """A network, and an equal one that recomputes."""
    net = normal_(GENERATORS[name](3, 3, 4, norm, dropout), 0, gain=0.2)
    recomputing = copy.deepcopy(net)
    recomputing.gradient_checkpointing = True
    return net, recomputing


def backward(net, precision="fp32"):
    """Output and gradients for the same image and the same draws."""
    torch.manual_seed(7)
    with PRECISIONS[precision].autocast(CPU):
        out = net(random_batch())
        loss = out.float().square().mean()
    draws = torch.get_rng_state()
    loss.backward(inputs=list(net.parameters()))
    assert torch.equal(draws, torch.get_rng_state()), "the backward pass must not use up draws"
    return [out.detach(), *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("name", SMALL)
def test_output_gradients_and_running_statistics_are_the_same_to_the_bit(name, norm, precision):
    net, recomputing = pair(name, norm)
    assert same_tensors(backward(net, precision), backward(recomputing, precision))
    kept, recomputed = net.state_dict(), recomputing.state_dict()
    assert list(kept) == list(recomputed)
    assert same_tensors(list(kept.values()), list(recomputed.values()))
    counts = [x.item() for key, x in recomputed.items() if key.endswith("num_batches_tracked")]
    assert set(counts) == ({1} if norm == "batch" else set())


@pytest.mark.parametrize("name", SMALL)
def test_maps_are_computed_again_in_the_backward_pass(name):
    calls = []
    for net in pair(name):
        calls.append(0)
        for layer in net.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.register_forward_hook(lambda *_: calls.__setitem__(-1, calls[-1] + 1))
        backward(net)
    assert calls[0] < calls[1] <= 2 * calls[0]


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_and_no_grad_take_the_layers_as_they_are(name, monkeypatch):
    monkeypatch.setattr(base, "checkpoint_layers", None)
    net, recomputing = pair(name, dropout=False)
    with torch.no_grad():
        assert torch.equal(net(random_batch()), recomputing(random_batch()))
    assert torch.equal(net.eval()(random_batch()), recomputing.eval()(random_batch()))


@pytest.mark.parametrize("name", SMALL)
def test_gradients_may_be_differentiated_again(name):
    grads = []
    for net in pair(name, "instance", dropout=False):
        gradient_penalty(net, random_batch(), -random_batch(), torch.arange(2)).backward(inputs=list(net.parameters()))
        grads.append([p.grad for p in net.parameters()])
    assert same_tensors(*grads)
    assert any(grad.abs().max() > 0 for grad in grads[0])


@pytest.mark.parametrize("blocks", [1, 2, 6, 9, 10])
def test_the_segments_of_a_resnet_are_its_layers_in_order(blocks):
    net = ResnetGenerator(3, 3, 2, blocks=blocks)
    assert [layer for segment in net.segments for layer in segment] == list(net.model.children())
    assert len(net.segments) <= 2 + blocks**0.5 + 1
