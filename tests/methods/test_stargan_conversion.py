"""StarGAN in conversion: targets, domains, and the sample grid."""

import pytest
import torch

from translate.errors import UsageError

from .helpers import COUNT, NAMES, SIZE, labelled_batch, small_stargan


@pytest.mark.parametrize(
    ("exclusive", "to", "label"),
    [
        (True, "summer", [0, 1, 0]),
        (False, "summer", [0, 1, 0]),
        (False, "winter,autumn", [1, 0, 1]),
        (False, "autumn, winter", [1, 0, 1]),
        (False, "none", [0, 0, 0]),
    ],
)
def test_a_target_is_a_label(exclusive, to, label):
    method, batch = small_stargan(exclusive=exclusive).double(), labelled_batch()
    assert method.target_label(to).tolist() == label
    assert method.target_domains(to) == (to,)
    planes = torch.tensor(label, dtype=torch.float64).view(1, 3, 1, 1).expand(COUNT, 3, SIZE, SIZE)
    assert torch.equal(method.translate(batch["a"], to), method.g(torch.cat([batch["a"], planes], 1)))


@pytest.mark.parametrize(
    ("exclusive", "to", "wrong"),
    [
        (True, "b", "b"),
        (True, "none", "none"),
        (True, "summer,winter", "summer,winter"),
        (False, "summer,spring", "spring"),
        (False, "", ""),
    ],
)
def test_other_targets_are_refused_with_those_that_there_are(exclusive, to, wrong):
    with pytest.raises(UsageError, match=rf"autumn, summer, winter.*, not to '{wrong}'$") as error:
        small_stargan(exclusive=exclusive).target_domains(to)
    assert "\n" not in str(error.value)


def test_all_is_every_domain_in_turn():
    assert small_stargan().target_domains("all") == NAMES


def test_domains_are_alike_and_made_by_one_generator():
    method = small_stargan(input_channels=1, output_channels=1, range_a="0:4095")
    assert set(method.generator_names.values()) == {"g"}
    assert tuple(method.domains) == tuple(method.generator_names) == NAMES
    assert {(domain.channels, domain.range) for domain in method.domains.values()} == {(1, "0:4095")}
    assert [method.source_domain(name) for name in NAMES] == list(NAMES)
    assert method.generator_for("summer,winter") is method.g
    assert method.translate(torch.zeros(1, 1, SIZE, SIZE), "summer").shape == (1, 1, SIZE, SIZE)


def test_the_grid_shows_the_input_in_every_domain_and_the_way_back():
    method, batch = small_stargan().double().eval(), labelled_batch()
    columns = method.preview(batch)
    assert list(columns) == ["input", "to autumn", "to summer", "to winter", "cycle"]
    assert torch.equal(columns["to winter"], method.translate(batch["a"], "winter"))
    own = method.label_vectors(batch["label"], torch.float64)
    assert torch.equal(columns["cycle"], method.generate(columns["to autumn"], own))


def test_of_attributes_the_grid_changes_one_at_a_time():
    method, batch = small_stargan(exclusive=False).double().eval(), labelled_batch(exclusive=False)
    columns = method.preview(batch)
    assert list(columns) == ["input", "autumn changed", "summer changed", "winter changed", "cycle"]
    changed = batch["label"].double()
    changed[:, 1] = 1 - changed[:, 1]
    assert torch.equal(columns["summer changed"], method.generate(batch["a"], changed))


def test_the_grid_shows_five_domains_at_most():
    method = small_stargan(tuple("pqrstuv")).double().eval()
    assert list(method.preview(labelled_batch(kinds=7))) == ["input", *(f"to {name}" for name in "pqrst"), "cycle"]


def test_the_judge_sees_real_images_and_ones_made_in_the_label_of_another():
    method, batch = small_stargan().double().eval(), labelled_batch(count=2)
    logits = method.discriminator_outputs(batch)
    assert torch.equal(logits["real"], method.d(batch["a"]))
    first, second = (NAMES[i] for i in batch["label"].tolist())
    fakes = torch.cat([method.translate(batch["a"][:1], second), method.translate(batch["a"][1:], first)])
    torch.testing.assert_close(logits["fake"], method.d(fakes), rtol=0, atol=1e-12)
