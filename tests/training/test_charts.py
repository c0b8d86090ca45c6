"""Which scalars share a chart."""

import pytest

from translate.training.charts import chart_layout, discriminator_scalar, scalar_stem

CYCLEGAN = [
    "loss/g/adv_ab", "loss/g/adv_ba", "loss/g/cycle_a", "loss/g/cycle_b", "loss/g/identity_a", "loss/g/identity_b",
    "loss/d/adv_a", "loss/d/adv_b", "grad/g", "grad/d",
    "watch/inversion_b", "watch/d_gap_b", "watch/inversion_a",
    "judge/real_a", "judge/fake_a", "judge/real_b", "judge/fake_b",
    "lr/g", "lr/d", "epoch", "progress", "time/images_per_second", "time/data_wait", "memory/gib",
]  # fmt: skip
PIX2PIX = ["loss/d/adv", "loss/g/adv", "loss/g/l1", "watch/error_b", "judge/real", "judge/fake"]


def test_what_belongs_together_is_drawn_together():
    assert chart_layout(CYCLEGAN) == {
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
    assert chart_layout(PIX2PIX) == {
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
    assert scalar_stem(name) == about


def test_only_what_discriminators_say_of_real_images_and_their_losses_are_in_their_own_file():
    found = {name: own for name in [*CYCLEGAN, *PIX2PIX] if (own := discriminator_scalar(name))}
    assert found == {
        "loss/d/adv_a": "discriminator/adv_a", "loss/d/adv_b": "discriminator/adv_b", "loss/d/adv": "discriminator/adv",
        "judge/real_a": "discriminator/real_a", "judge/real_b": "discriminator/real_b", "judge/real": "discriminator/real",
    }  # fmt: skip
