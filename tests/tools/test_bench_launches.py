"""Operations of a training step: no more than docs/benchmarks.md says, and counted as said there."""

import re
from pathlib import Path

import bench_launches
import pytest
import torch

DOCS = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
ROWS = {
    name: tuple(int(cell) if cell.strip() else None for cell in cells.split("|"))
    for name, cells in re.findall(r"^\| (\w+) \| ([\d ]*\|[\d ]+\|[\d ]+) \|$", DOCS, flags=re.MULTILINE)
}


def test_operations_are_counted_and_views_and_allocations_are_not():
    """A product, its sum and its gradient: mul, sum; ones_like, mul. The view, the expansion and empty do not count."""
    x = torch.ones(2, 3, device="meta", requires_grad=True)
    with bench_launches.LaunchCounter() as counter:
        (x * 2).sum()
        x.view(3, 2).t().expand(4, 2, 3)
        torch.empty(5, device="meta")
    assert counter.count == 2
    with bench_launches.LaunchCounter() as counter:
        (x * 2).sum().backward()
    assert counter.count == 4


def test_fused_adam_is_two_operations_and_foreach_more():
    """Its steps, and the rest; numbers of the foreach form that stay on the host do not count."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(9)]
    given = torch.optim.Adam(parameters)
    assert bench_launches.optimizer_launches(given, lambda p: torch.optim.Adam(p, fused=True)) == 2
    foreach = bench_launches.optimizer_launches(given, lambda p: torch.optim.Adam(p, foreach=True), axes=1)
    assert 5 < foreach < len(parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pix2pix", "dcgan", "stargan"])
def test_a_step_launches_no_more_than_the_documentation_says(name):
    """A step that needs more is slower on a GPU: lower the number again, or write down the new one with the reason."""
    measured = bench_launches.measure(name)
    for count, written in zip(measured, ROWS[name], strict=True):
        assert (count is None) == (written is None)
        assert written is None or count <= written
    assert measured[2] < measured[1] / 5


def test_the_table_has_a_row_for_each_method():
    assert ROWS.keys() == set(bench_launches.METHODS)
