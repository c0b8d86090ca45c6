"""The factor of each method's adversarial losses, which health checks divide by."""

import pytest
import torch

from translate.methods import METHODS
from translate.methods.base import DISCRIMINATOR, GENERATOR
from translate.nn.adversarial_loss import AdversarialLoss
from translate.training.loss_names import LossNames
from translate.training.monitors.health_checks import chance_levels


@pytest.mark.parametrize("name", METHODS)
def test_a_cost_of_one_of_a_discriminator_is_logged_as_its_weight(name, tiny, monkeypatch):
    """Whatever a method makes of the cost, a sum over scales or over real and made images, its weight says it.

    Not so for generators, whose losses also have weights of the config.
    """
    monkeypatch.setattr(AdversarialLoss, "discriminator_loss", lambda *logits: torch.ones((), requires_grad=True))
    method = tiny.method(name)
    if all(update.role == GENERATOR for update in method.updates.values()):
        pytest.skip("it has no discriminator")
    if chance_levels(method.cfg) is None:
        pytest.skip("its cost has no level of chance, so that no check divides by it")
    names, clock, seen = LossNames.of(method), tiny.clocks()[0], 0
    for update, losses in method.step(tiny.batch(name), clock, tiny.scheduled(method, clock)):
        for loss, value in losses.items():
            if names.adversarial_domain(f"loss/{update}/{loss}", DISCRIMINATOR) is not None:
                assert value.detach() == method.adversarial_weight * method.discriminator_weight, loss
                seen += 1
    assert seen
