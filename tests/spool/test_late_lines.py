"""Lazy journal entries, which the writer thread renders."""

import errno
from pathlib import Path

import msgspec
import pytest
from twisted.logger import LogLevel, capturedLogs
from zope.interface import implementer
from zope.interface.verify import verifyObject

from audiohookd.interfaces import IJournalEntry
from audiohookd.spool.write.group_commit import CommitLimits
from tests.spool.faulty_disk import SPEECH, FaultyRig, raised_by
from tests.spool.spool_rig import SpoolRig


@implementer(IJournalEntry)
class Late:
    """A lazy entry that renders ``data``, or raises it."""

    def __init__(self, data: object, size: int = 20) -> None:
        self.data = data
        self.size = size
        self.asked = 0

    def __len__(self) -> int:
        return self.size

    def __call__(self) -> bytes:
        self.asked += 1
        if isinstance(self.data, BaseException):
            raise self.data
        return self.data  # type: ignore[return-value]  # a mistake


@pytest.fixture
def rig(tmp_path: Path) -> SpoolRig:
    return SpoolRig(tmp_path / "spool")


def test_lazy_lines_are_rendered_with_the_commit_in_order(rig: SpoolRig) -> None:
    draft, late = rig.begin("a"), Late(b'{"b":2}')
    assert verifyObject(IJournalEntry, late)
    draft.add_entry(b'{"a":1}')
    draft.add_entry(late)
    draft.add_entry(b'{"c":3}')
    assert late.asked == 0
    rig.commit()
    assert rig.drafted_entries("a") == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    assert late.asked == 1


def test_the_declared_length_counts_as_waiting_until_written(rig: SpoolRig) -> None:
    draft = rig.begin("a")
    rig.commit()
    draft.add_entry(Late(b"{}", 1000))
    draft.add_entry(b"{}")
    assert draft.waiting == 1003
    rig.commit()
    assert draft.waiting == 0


class Silent(Exception):
    """An exception with a failing repr."""

    def __repr__(self) -> str:
        raise RuntimeError


MISTAKES = [RuntimeError("of mine"), Silent(), SystemExit(), b'{"a":\n1}', {"a": 1}, None]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: type(mistake).__name__)
def test_a_line_that_cannot_be_rendered_becomes_a_log_entry(rig: SpoolRig, mistake: object) -> None:
    draft, other = rig.begin("a"), rig.begin("b")
    draft.audio(b"\x01\x02")
    other.audio(b"\x03\x04")
    draft.add_entry(Late(mistake))
    draft.add_entry(b'{"c":3}')
    rig.commit()
    assert [rig.drafted_audio("a"), rig.drafted_audio("b")] == [b"\x01\x02", b"\x03\x04"]
    said, last = rig.drafted_entries("a")
    entry = msgspec.json.decode(said)
    assert entry["type"] == "logger"
    assert "could not be rendered" in entry["data"]["msg"]
    assert last == b'{"c":3}'
    assert rig.counters.value("journal_entry_errors") == 1
    assert draft.waiting == other.waiting == 0


def test_the_same_error_is_logged_once_and_counted_each_time(rig: SpoolRig) -> None:
    drafts = [rig.begin(name) for name in "abc"]
    with capturedLogs() as logged:
        for draft in drafts * 2:
            draft.add_entry(Late(RuntimeError()))
            rig.commit()
    assert rig.counters.value("journal_entry_errors") == 6
    (line,) = [event for event in logged if event["log_level"] is LogLevel.error]
    assert line["why"] == "Late: RuntimeError"


@pytest.mark.parametrize("line", ["{}", None, 7])
def test_an_object_that_is_no_line_is_rejected(rig: SpoolRig, line: object) -> None:
    draft = rig.begin("a")
    with pytest.raises(TypeError):
        draft.add_entry(line)  # type: ignore[arg-type]
    rig.commit()
    assert rig.drafted_entries("a") == []
    assert draft.waiting == 0


def test_a_line_without_a_length_is_rejected(rig: SpoolRig) -> None:
    draft = rig.begin("a")
    with pytest.raises(ValueError, match="__len__"):
        draft.add_entry(Late(b"{}", -1))
    rig.commit()
    assert rig.drafted_entries("a") == []


def test_lines_are_written_when_the_disk_recovers(tmp_path: Path) -> None:
    rig = FaultyRig(tmp_path)
    draft, late = rig.begin(), Late(b'{"timestamp":"PT1S","type":"late","data":{}}')
    rig.commit()
    rig.disk.refuse(errno.ENOSPC)
    draft.add_entry(late)
    rig.commit(3)
    rig.disk.heal()
    recorded = rig.end(draft)
    assert recorded.entries("late") == [{}]
    assert late.asked == 1
    assert draft.waiting == 0


def test_lines_that_wait_for_silence_are_rendered_once_in_order(tmp_path: Path) -> None:
    rig = FaultyRig(tmp_path, CommitLimits(silence=100))
    draft = rig.begin()
    rig.commit()
    rig.disk.refuse(errno.ENOSPC)
    draft.audio(SPEECH)
    rig.commit()
    rig.disk.heal()
    lines = [Late(b'{"timestamp":"PT1S","type":"late","data":%d}' % number, 1000) for number in range(3)]
    raised_by(lambda: draft.add_entry(lines[0]))
    rig.commit()
    assert draft.waiting == 1000  # silence comes first, in portions
    for line in lines[1:]:
        draft.add_entry(line)
    rig.commit(2)
    assert draft.waiting == 3000
    recorded = rig.end(draft, commits=4)
    assert recorded.entries("late") == [0, 1, 2]
    assert [line.asked for line in lines] == [1, 1, 1]
    assert draft.waiting == 0
