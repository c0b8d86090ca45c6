"""Messages of a training that diverged or ran out of memory."""

from pathlib import Path

from translate.training import recovery
from translate.training.nonfinite import Divergence


def test_the_files_of_a_divergence_are_named_up_to_a_limit():
    divergence = Divergence(8, 7, ("g/adv",))
    assert "come from 'a.png', 'b.png'" in recovery.describe_divergence(divergence, [Path("a.png"), Path("b.png")])
    many = recovery.describe_divergence(divergence, [Path(f"{n}.png") for n in range(20)])
    assert "'15.png' and 4 more" in many
    assert "'16.png'" not in many


def test_the_remedies_are_flags_that_take_less_memory():
    assert "--accumulate 2 or --auto-batch on" in recovery.out_of_memory_remedy(2)
    assert "--crop-size" in recovery.out_of_memory_remedy(None)
