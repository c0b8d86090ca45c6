"""Numbers that are not finite, and the first step that had them."""

import pytest
import torch

from translate.training.nonfinite import Divergence, NonFiniteTracker, all_finite

CPU = torch.device("cpu")
NAN, INF = float("nan"), float("inf")


def test_the_first_images_and_their_names_are_kept():
    tracker = NonFiniteTracker(CPU)
    tracker.record(["g/a", "g/b"], torch.tensor([1.0, 2.0]), 0)
    assert tracker.first() is None
    tracker.record(["g/a", "g/b"], torch.tensor([1.0, NAN]), 3)
    tracker.record(["d/a"], torch.tensor([INF]), torch.tensor(3))
    tracker.record(["g/a", "g/b"], torch.tensor([NAN, NAN]), 4)
    assert tracker.first() == (3, ("g/b", "d/a"))
    tracker.reset()
    assert tracker.first() is None


@pytest.mark.parametrize(("value", "finite"), [(1.0, True), (NAN, False), (-INF, False), (3e38, True)])
def test_tensors_are_searched(value, finite):
    assert all_finite([torch.ones(2), torch.tensor([1.0, value]), torch.empty(0), torch.tensor(7)]) == finite


def test_no_tensors_are_finite():
    assert all_finite([torch.tensor([1, 2])])


def test_a_divergence_in_words():
    assert str(Divergence(8, 7, ("g/adv",))) == "g/adv was not finite in step 8 (after 7 images)"
