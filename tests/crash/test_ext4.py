"""Drafts on an ext4 that loses its power after the ``fsync`` of another call has committed its journal."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiohookd.protocol.media import Format, Media
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import journal_header
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import repair_drafts
from audiohookd.spool.write.draft_files import DraftFiles, DraftPaths
from tests.crash.ext4 import Ext4, needs_ext4

MEDIA = Media(Format.PCMU, ("external", "internal"))
CALLS = 40


class Call:
    """A draft and the audio of its call."""

    def __init__(self, spool: SpoolPaths, number: int) -> None:
        name = f"{number:08x}-2222-3333-4444-555555555555"
        self.voice = hashlib.shake_128(name.encode()).digest(40_000)
        self.written = self.synced = 0
        self.paths = DraftPaths(spool.draft, name)
        self.files = DraftFiles(self.paths, journal_header(name, 1_767_225_599.0, MEDIA))

    def commit(self, size: int) -> None:
        end = self.written + size
        assert self.files.append([self.voice[self.written : end]], []).fault is None
        self.written = end


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Ext4]:
    needs_ext4()
    with Ext4(tmp_path / "image", tmp_path / "disk") as disk:
        yield disk


def test_every_byte_of_a_recording_is_one_that_was_sent(disk: Ext4) -> None:
    spool = SpoolPaths(disk.mount / "spool")
    for directory in (spool.directory, spool.draft, spool.ready):
        directory.mkdir()
    calls = [Call(spool, number) for number in range(CALLS)]
    for call in calls:
        call.commit(6000)
    os.sync()
    for number, call in enumerate(calls):
        call.synced = call.written
        for size in (1000, 2 * number + 2, 1000, 3000):
            call.commit(size)
    with (disk.mount / "another").open("wb") as another:
        another.write(bytes(5000))
        another.flush()
        os.fsync(another)
    disk.cut_power()
    for call in calls:
        call.files.append([], [], is_final=True)  # closes the files
    disk.restart()
    start = wav.header_bytes(MEDIA)
    longer = [call for call in calls if call.paths.audio.stat().st_size > start + call.synced]
    for call, result in zip(calls, repair_drafts(spool), strict=True):
        assert result.path is not None
        audio = result.path.read_bytes()[start:]
        assert call.voice.startswith(audio)
        assert len(audio) >= call.synced
    assert longer  # otherwise this kernel does not write sizes before data, and the test proves nothing
