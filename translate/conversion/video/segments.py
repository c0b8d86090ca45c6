"""Segments of a video that were encoded already: kept on the disk until the video is whole, so that a conversion resumes.

A segment is a file of packets and a line in the journal of its folder, written after the file is synced. Lines and files of
another input, model or setting are removed.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from translate import atomic, records
from translate.videos import EncodedPacket, Position

JOURNAL_NAME = "segments.jsonl"


@dataclass(frozen=True)
class Segment:
    """Line of the journal."""

    number: int
    frames: int
    """Frames in all segments up to this one."""
    packets: list[tuple[int, int, int, bool]]
    """Timestamp, duration, size in bytes, and True for a key frame, of each packet."""
    parameters: str
    """Parameter sets of the encoder in base64."""
    position: Position
    """Last input frame."""
    facts: dict[str, Any]
    """Sums over the frames up to this one, such as those of the flicker."""


class SegmentStore:
    """Folder of the segments of one video. OSError if it cannot be read or written.

    Args:
        folder: Folder, which is made.
        key: All that decides the packets, as an object of JSON.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder, self.segments = folder, list[Segment]()
        self.key = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self._journal = folder / JOURNAL_NAME
        if not self._read():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            atomic.write(self._journal, self._line({"key": self.key}))

    def _read(self) -> bool:
        """Read the segments that are whole; False if there are none of this key."""
        try:
            lines = self._journal.read_bytes().splitlines(keepends=True)
            if records.parse_json(lines[0]) != {"key": self.key}:
                return False
            for line in lines[1:]:
                found = records.parse_json(line)
                packets = [(int(pts), int(time), int(size), bool(key)) for pts, time, size, key in found.pop("packets")]
                segment = Segment(packets=packets, position=Position(*found.pop("position")), **found)
                if self._file(segment.number).stat().st_size != sum(size for _, _, size, _ in packets):
                    break
                self.segments.append(segment)
        except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):  # half a line of a killed run
            pass
        if not self.segments:
            return False
        kept = b"".join([self._line({"key": self.key}), *(self._encoded(segment) for segment in self.segments)])
        atomic.write(self._journal, kept)  # without what comes after the last whole segment
        return True

    @property
    def frames(self) -> int:
        """Number of frames in the segments."""
        return self.segments[-1].frames if self.segments else 0

    def add(
        self,
        packets: Sequence[EncodedPacket],
        parameters: bytes,
        position: Position,
        facts: dict[str, Any],
        state: Sequence[np.ndarray],
    ) -> None:
        """Write a segment and its line. `state`: arrays that the next segment starts from, of this one alone."""
        number = len(self.segments)
        listed = [(packet.pts, packet.duration, len(packet.data), packet.is_key) for packet in packets]
        encoded = base64.b64encode(parameters).decode()
        segment = Segment(number, self.frames + len(packets), listed, encoded, position, facts)
        with atomic.open_for_writing(self._file(number)) as file:
            for packet in packets:
                file.write(packet.data)
        if state:
            with atomic.open_for_writing(self._state(number)) as file:
                np.savez(file, *state)
        with open(self._journal, "ab") as file:
            file.write(self._encoded(segment))
            atomic.sync(file)
        self.segments.append(segment)
        self._state(number - 1).unlink(missing_ok=True)

    def state(self) -> list[np.ndarray]:
        """Return the arrays of the last segment, in their order; none without one."""
        path = self._state(len(self.segments) - 1)
        if not path.exists():
            return []
        with np.load(path) as found:
            return [found[name] for name in found.files]

    def packets(self) -> Iterator[EncodedPacket]:
        """Yield the packets of all segments in order, of which one at a time is read."""
        for segment in self.segments:
            with open(self._file(segment.number), "rb") as file:
                for pts, duration, size, is_key in segment.packets:
                    yield EncodedPacket(file.read(size), pts, duration, is_key)

    def parameters(self) -> bytes:
        """Return the parameter sets of the encoder."""
        return base64.b64decode(self.segments[-1].parameters)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.packets"

    def _state(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"

    def _encoded(self, segment: Segment) -> bytes:
        return self._line({**vars(segment), "position": list(segment.position)})

    def _line(self, values: Mapping[str, Any]) -> bytes:
        return json.dumps(values).encode() + b"\n"
