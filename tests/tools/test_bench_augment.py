"""The tool that measures what translations are worth to a classifier: its data, its draws, its table, and how it resumes."""

import json
from collections import Counter

import bench_augment as tool
import numpy as np
import pytest
import torch


def test_a_garment_is_opaque_and_the_ground_is_the_images_own():
    garment = np.zeros((32, 32), np.uint8)
    garment[8:24, 8:24] = 200
    first, again, other = (tool.textured(garment, seed) for seed in (0, 0, 1))
    assert (first[8:24, 8:24] == 200).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:8], other[:8])


def test_parts_of_the_set_share_no_image():
    labels = np.arange(100) % 10
    parts = [tool.first_of_each_class(labels, start, 3) for start in (0, 3, 6)]
    assert len(np.unique(np.concatenate(parts))) == 90
    assert all(Counter(labels[part]) == dict.fromkeys(range(10), 3) for part in parts)


def test_fewer_labels_are_among_more():
    labels = np.arange(100) % 10
    few, more, other = (
        set(tool.choose_labelled(labels, count, seed).tolist()) for count, seed in ((2, 0), (5, 0), (2, 1))
    )
    assert few < more
    assert few != other
    assert Counter(labels[[*few]]) == dict.fromkeys(range(10), 2)


def test_all_faces_are_other_persons_and_only_those_of_the_source_have_dark_hair():
    options = tool.face_options()
    rows = [(part, label, face) for part, faces in options.items() for label, face in faces]
    assert len({face["seed"] for _, _, face in rows}) == len(rows) == 1500
    assert all([tool.EYEBROWS[label]] == face["eyebrows"] for _, label, face in rows)
    assert {part: {face["hairColor"][0] for _, face in faces} for part, faces in options.items()} == {
        "source": {"2c1b18"}, "pool": {"d6b370"}, "test": {"d6b370"},
    }  # fmt: skip


def test_plain_augmentation_keeps_the_range_and_is_drawn():
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    first, again, other = (tool.augment_plainly(x, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == x.shape
    assert first.abs().max() <= 1


def test_half_of_a_batch_is_of_the_few_labels():
    few, extra = ((torch.full((3, 1), value), torch.full((3,), value)) for value in (0, 1))
    x, labels = next(tool.batches(1, few, extra, torch.Generator().manual_seed(0)))
    assert x[:, 0].tolist() == labels.tolist() == [0] * (tool.BATCH // 2) + [1] * (tool.BATCH // 2)
    assert next(tool.batches(1, few, None, torch.Generator()))[1].tolist() == [0] * tool.BATCH


def test_results_are_computed_once(tmp_path, monkeypatch):
    parts = {name: (torch.zeros(20, 1), torch.arange(20) % 10) for name in ("pool", "test", *tool.EXTRAS[1:])}
    computed = []
    monkeypatch.setattr(tool, "accuracy", lambda *given: computed.append(given) or 50.0)
    tool.measure(tmp_path, parts, "x", tool.cells(150, [1], 1, False))
    assert len(computed) == 8
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:20])  # killed while it wrote the last
    results = tool.measure(tmp_path, parts, "x", tool.cells(150, [1], 1, False))
    assert (len(computed), len(results)) == (9, 8)
    assert [json.loads(line) for line in path.read_text().splitlines()] == results
    tool.measure(tmp_path, parts, "another translator", tool.cells(150, [1], 1, True))
    assert len(computed) == 14  # without plain augmentation beside other images


def test_the_table_has_the_mean_over_seeds():
    results = [
        {"labels": 5, "extra": "source", "plain": True, "seed": seed, "accuracy": value}
        for seed, value in enumerate((60.0, 62.0, 64.0))
    ]
    (row,) = tool.table(results)
    assert "source, plain augmentation" in row
    assert row.endswith("62.0 ± 5.0 %  (3 seeds)")  # 4.303 · 2 / √3 = 4.97


@pytest.mark.slow
def test_a_classifier_learns():
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    x = torch.randn(200, 3, 32, 32, generator=draws) * 0.1 + (labels.float() / 5 - 0.9)[:, None, None, None]
    assert tool.accuracy(150, (x, labels), None, (x, labels), plain=False, seed=0) > 60
