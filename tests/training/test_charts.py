"""Which scalars share a chart."""

import pytest

from translate.methods.base import DISCRIMINATOR, GENERATOR
from translate.training.charts import chart_layout, discriminator_scalar
from translate.training.loss_names import LossNames

CYCLEGAN = [
    "loss/g/adv_ab", "loss/g/adv_ba", "loss/g/cycle_a", "loss/g/cycle_b", "loss/g/identity_a", "loss/g/identity_b",
    "loss/d/adv_a", "loss/d/adv_b", "grad/g", "grad/d",
    "watch/inversion_b", "watch/d_gap_b", "watch/inversion_a",
    "judge/real_a", "judge/fake_a", "judge/real_b", "judge/fake_b",
    "lr/g", "lr/d", "epoch", "progress", "time/images_per_second", "time/data_wait", "memory/gib",
]  # fmt: skip
PIX2PIX = ["loss/d/adv", "loss/g/adv", "loss/g/l1", "watch/error_b", "judge/real", "judge/fake"]


def test_what_belongs_together_is_drawn_together():
    assert chart_layout(CYCLEGAN, LossNames()) == {
        "Generators against discriminators": {
            "d/adv_a · g/adv_ba": ["loss/d/adv_a", "loss/g/adv_ba"],
            "d/adv_b · g/adv_ab": ["loss/d/adv_b", "loss/g/adv_ab"],
        },
        "Discriminator outputs": {
            "real_a · fake_a": ["judge/real_a", "judge/fake_a"],
            "real_b · fake_b": ["judge/real_b", "judge/fake_b"],
        },
        "Other losses": {
            "cycle": ["loss/g/cycle_a", "loss/g/cycle_b"],
            "identity": ["loss/g/identity_a", "loss/g/identity_b"],
        },
        "Sentinels": {"inversion": ["watch/inversion_b", "watch/inversion_a"], "d_gap": ["watch/d_gap_b"]},
        "Gradients and learning rates": {"grad": ["grad/g", "grad/d"], "lr": ["lr/g", "lr/d"]},
        "Speed and memory": {name: [name] for name in ("time/images_per_second", "time/data_wait", "memory/gib")},
    }
    assert chart_layout(PIX2PIX, LossNames()) == {
        "Generators against discriminators": {"d/adv · g/adv": ["loss/d/adv", "loss/g/adv"]},
        "Discriminator outputs": {"real · fake": ["judge/real", "judge/fake"]},
        "Other losses": {"l1": ["loss/g/l1"]},
        "Sentinels": {"error": ["watch/error_b"]},
    }


@pytest.mark.parametrize(
    ("name", "about"),
    [("loss/g/cycle_a", "cycle"), ("watch/d_gap_b", "d_gap"), ("watch/d_gap", "d_gap"), ("loss/g/l1", "l1")],
)
def test_what_a_scalar_is_about(name, about):
    assert LossNames().stem(name) == about


def test_only_what_discriminators_say_of_real_images_and_their_losses_are_in_their_own_file():
    found = {name: own for name in [*CYCLEGAN, *PIX2PIX] if (own := discriminator_scalar(name, LossNames()))}
    assert found == {
        "loss/d/adv_a": "discriminator/adv_a", "loss/d/adv_b": "discriminator/adv_b", "loss/d/adv": "discriminator/adv",
        "judge/real_a": "discriminator/real_a", "judge/real_b": "discriminator/real_b", "judge/real": "discriminator/real",
    }  # fmt: skip


def test_roles_and_not_names_tell_the_sides_apart_and_names_may_hold_digits():
    """Domains x1 and x2; the updates are called by other letters, and the second discriminator has one loss alone."""
    losses = LossNames({"paint": GENERATOR, "image": DISCRIMINATOR, "code": DISCRIMINATOR}, ("x1", "x2"))
    names = [
        "loss/paint/adv_image_x1",
        "loss/paint/adv_code",
        "loss/paint/cycle_x1",
        "loss/paint/cycle_x2",
        "loss/paint/l1",
    ]
    names += ["loss/image/adv_x1", "loss/code/adv", "loss/code/penalty"]
    assert chart_layout(names, losses) == {
        "Generators against discriminators": {
            "image/adv_x1 · paint/adv_image_x1": ["loss/image/adv_x1", "loss/paint/adv_image_x1"],
            "code/adv · paint/adv_code": ["loss/code/adv", "loss/paint/adv_code"],
        },
        "Other losses": {
            "cycle": ["loss/paint/cycle_x1", "loss/paint/cycle_x2"],
            "l1": ["loss/paint/l1"],
            "penalty": ["loss/code/penalty"],
        },
    }
    assert discriminator_scalar("loss/image/adv_x1", losses) == "discriminator/adv_image_x1"
    assert discriminator_scalar("loss/code/adv", losses) == "discriminator/adv_code"
    assert discriminator_scalar("loss/paint/adv_code", losses) is None
