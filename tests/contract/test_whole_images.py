"""Training on whole images (`--preprocess none`), which have many sizes: every method trains on them or says that it cannot."""

import pytest
import torch

from translate import keyed_random
from translate.api.training_data import build_preprocessing
from translate.data.preprocessing import PREPROCESS
from translate.errors import UsageError
from translate.methods import METHODS
from translate.nn.losses import list_heads

FLAGS = {
    "cyclegan": {"pool_size": 0},
    "discogan": {"discriminator": "basic"},
    "dualgan": {"discriminator": "dualgan_patch", "adversarial": "lsgan"},
}
"""Settings that a method asks for with `--preprocess none`."""


@pytest.mark.parametrize("name", METHODS)
def test_whole_images_are_trained_on_or_refused(name, tiny):
    """The smallest and thinnest that the preprocessing makes, of other sizes in a and in b where the method takes that."""
    flags = {"preprocess": "none", "batch_size": METHODS[name].batch_multiple}
    if METHODS[name].layout not in ("paired", "unpaired", "photos") or METHODS[name].batch_multiple > 1:
        with pytest.raises(UsageError, match="--preprocess none"):
            tiny.config(name, **flags)
        return
    method = tiny.method(name, **flags, **FLAGS.get(name, {}))
    preprocessing = build_preprocessing(method.cfg, method)
    size_a, size_b = (PREPROCESS["none"](height, width, preprocessing) for height, width in ((1, 2), (70, 6)))
    if method.layout == "paired" or method.one_size:
        size_b = size_a
    key = keyed_random.image_keys(7, torch.arange(1))
    batch = {side: keyed_random.uniform(key, side, 3, *size) * 2 - 1 for side, size in (("a", size_a), ("b", size_b))}
    for clock in tiny.clocks():
        for _, losses in method.step({**batch, "key": key}, clock, {}):
            assert all(loss.isfinite() for loss in losses.values())
    method.eval()
    with torch.no_grad():
        assert all(x.isfinite().all() for x in method.preview({**batch, "key": key}).values())
        outputs = method.discriminator_outputs({**batch, "key": key}).values()
        assert all(x.isfinite().all() for logits in outputs for x in list_heads(logits))
