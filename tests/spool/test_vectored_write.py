"""Writes of many pieces to one file, with short writes."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.spool.write.append_file import SYSCALLS, AppendFile, Syscalls

NOWHERE = Path("/nowhere/file")


class ReluctantDisk:
    """A disk with short writes of the given sizes. Rejects more pieces than the system takes in one call."""

    def __init__(self, portions: Sequence[int]) -> None:
        self.content = b""
        self.calls = 0
        self._portions = portions

    def file(self) -> AppendFile:
        return AppendFile(NOWHERE, Syscalls(open=lambda *_: -1, write=self._write))

    def _write(self, _file: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        assert 0 < len(pieces) <= 1024
        assert offset == len(self.content)
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
    file = disk.file()
    file.append(pieces)
    assert disk.content == b"".join(pieces)
    assert file.size == len(disk.content)


def test_more_pieces_than_one_system_call_takes_are_written(tmp_path: Path) -> None:
    pieces = [number.to_bytes(2, "big") for number in range(5000)]
    disk = ReluctantDisk([10**6])
    disk.file().append(pieces)
    assert disk.calls == 5
    file = AppendFile(tmp_path / "file", SYSCALLS)
    file.append(pieces[:3000])
    file.append(pieces[3000:])
    file.close()
    assert (tmp_path / "file").read_bytes() == disk.content == b"".join(pieces)


def test_pieces_are_not_modified() -> None:
    pieces = [b"abc", b"", b"defg"]
    ReluctantDisk([2]).file().append(pieces)
    assert pieces == [b"abc", b"", b"defg"]


def test_an_error_of_a_full_disk_has_the_path() -> None:
    disk = SYSCALLS._replace(open=lambda *_: os.open("/dev/full", os.O_WRONLY))
    file = AppendFile(NOWHERE, disk)
    with pytest.raises(OSError, match="No space left on device: '/nowhere/file'"):
        file.append([b"audio"])
    assert file.size == 0
    file.close()


def test_truncate_removes_the_rest(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "file", SYSCALLS)
    file.append([b"abcdef"])
    file.truncate(4)
    assert (tmp_path / "file").read_bytes() == b"abcd"
    file.append([b"g"])
    file.close()
    assert (tmp_path / "file").read_bytes() == b"abcdg"


def test_nothing_is_written_before_a_torn_end_is_truncated(tmp_path: Path) -> None:
    def refuse(_file: int, _size: int) -> None:
        raise OSError(errno.EIO, "no")

    stubborn = AppendFile(tmp_path / "file", SYSCALLS._replace(truncate=refuse))
    stubborn.append([b"abcdef"])
    stubborn.truncate(4)
    with pytest.raises(OSError, match="no: "):
        stubborn.append([b"g"])
    stubborn.close()
    assert (tmp_path / "file").read_bytes() == b"abcdef"


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match="file"):
        AppendFile(tmp_path / "file", SYSCALLS).append([b"audio"])
    assert (tmp_path / "file").read_bytes() == b"somebody's"


def test_an_error_of_close_has_the_path(tmp_path: Path) -> None:
    def close(file: int) -> None:
        os.close(file)
        raise OSError(errno.EIO, "late")

    file = AppendFile(tmp_path / "file", SYSCALLS._replace(close=close))
    file.append([b"audio"])
    with pytest.raises(OSError, match="late: "):
        file.close()
    file.close()
