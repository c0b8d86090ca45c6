"""What methods with two generators show and are judged by: `d_a` judges domain a, `d_b` domain b."""

from torch import Tensor

from translate.methods.base import Batch, Method


def preview(method: Method, batch: Batch) -> dict[str, Tensor]:
    """Each domain's images, their translation, and the way back."""
    a, b, key = batch["a"], batch["b"], batch["key"]
    fake_b, fake_a = method.translate(a, "b", key), method.translate(b, "a", key)
    return {
        "real a": a,
        "fake b": fake_b,
        "cycle a": method.translate(fake_b, "a", key),
        "real b": b,
        "fake a": fake_a,
        "cycle b": method.translate(fake_a, "b", key),
    }


def discriminator_outputs(method: Method, batch: Batch) -> dict[str, Tensor]:
    """Raw outputs of both discriminators."""
    a, b, key = batch["a"], batch["b"], batch["key"]
    d_a, d_b = method.get_submodule("d_a"), method.get_submodule("d_b")
    return {
        "real_a": d_a(a),
        "fake_a": d_a(method.translate(b, "a", key)),
        "real_b": d_b(b),
        "fake_b": d_b(method.translate(a, "b", key)),
    }
