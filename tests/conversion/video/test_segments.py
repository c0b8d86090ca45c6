"""Segments on the disk: what a kill leaves behind is kept as far as it is whole."""

from pathlib import Path

import numpy as np
import pytest

from translate.conversion.video.segments import JOURNAL_NAME, SegmentStore
from translate.videos import EncodedPacket, Position

KEY = {"model": "a"}


def filled(folder: Path, count: int) -> SegmentStore:
    store = SegmentStore(folder, KEY)
    for number in range(len(store.segments), count):
        packets = [EncodedPacket(bytes([number, frame]) * 5, 10 * number + frame, 1, frame == 0) for frame in range(3)]
        store.add(
            packets, b"parameters", Position(3 * number + 2, 7, 99), {"n": number}, [np.full(4, number), np.zeros(2)]
        )
    return store


def test_segments_survive_the_process(tmp_path: Path) -> None:
    made = filled(tmp_path / "s", 3)
    found = SegmentStore(tmp_path / "s", KEY)
    assert found.segments == made.segments
    assert list(found.packets()) == list(made.packets())
    assert (found.frames, found.parameters(), found.segments[-1].facts) == (9, b"parameters", {"n": 2})
    assert found.segments[-1].position == Position(8, 7, 99)
    assert [array.tolist() for array in found.state()] == [[2, 2, 2, 2], [0, 0]]
    assert len(list((tmp_path / "s").glob("*.npz"))) == 1  # the state of the last one alone


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_half_a_line_of_a_killed_run_is_dropped(tmp_path: Path, kept: int) -> None:
    whole = filled(tmp_path / "s", 3)
    journal = tmp_path / "s" / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: 1 + kept]) + lines[1 + kept][:20])
    assert SegmentStore(tmp_path / "s", KEY).segments == whole.segments[:kept]
    again = filled(tmp_path / "s", 3)
    assert list(again.packets()) == list(whole.packets())


def test_a_segment_whose_packets_are_not_whole_is_dropped_with_those_after_it(tmp_path: Path) -> None:
    whole = filled(tmp_path / "s", 3)
    (tmp_path / "s" / "000001.packets").write_bytes(b"short")
    assert SegmentStore(tmp_path / "s", KEY).segments == whole.segments[:1]


def test_segments_of_another_model_are_removed(tmp_path: Path) -> None:
    filled(tmp_path / "s", 3)
    store = SegmentStore(tmp_path / "s", {"model": "b"})
    assert store.segments == []
    assert [path.name for path in (tmp_path / "s").iterdir()] == [JOURNAL_NAME]
