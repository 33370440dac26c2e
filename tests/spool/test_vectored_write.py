"""Many pieces to one file, as a disk would have it."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.spool.files import write_all


class ReluctantDisk:
    """Takes as much at a time as it likes, and never more pieces than the system does."""

    def __init__(self, portions: Sequence[int]) -> None:
        self.content = b""
        self.calls = 0
        self._portions = portions

    def writev(self, _file: int, pieces: Sequence[bytes | memoryview]) -> int:
        assert 0 < len(pieces) <= 1024
        portion = self._portions[self.calls % len(self._portions)]
        self.calls += 1
        taken = b"".join(pieces)[:portion]
        self.content += taken
        return len(taken)


@given(
    st.lists(st.binary(max_size=20), max_size=40),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
)
def test_short_writes_lose_nothing_and_repeat_nothing(pieces: list[bytes], portions: list[int]) -> None:
    disk = ReluctantDisk(portions)
    write_all(-1, pieces, disk.writev)
    assert disk.content == b"".join(pieces)


def test_more_pieces_than_one_call_takes(tmp_path: Path) -> None:
    pieces = [number.to_bytes(2, "big") for number in range(5000)]
    disk = ReluctantDisk([10**6])
    write_all(-1, pieces, disk.writev)
    assert disk.calls == 5
    path = tmp_path / "file"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    write_all(file, pieces)
    os.close(file)
    assert path.read_bytes() == disk.content == b"".join(pieces)


def test_pieces_stay_as_they_were() -> None:
    pieces = [b"abc", b"", b"defg"]
    write_all(-1, pieces, ReluctantDisk([2]).writev)
    assert pieces == [b"abc", b"", b"defg"]


def test_a_full_disk_is_told() -> None:
    file = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            write_all(file, [b"audio"])
    finally:
        os.close(file)
