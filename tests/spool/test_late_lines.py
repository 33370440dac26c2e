"""Lines of a journal that are made when they are written."""

import errno
from pathlib import Path

import msgspec
import pytest
from faulty_disk import FaultyRig
from spool_rig import SpoolRig
from zope.interface import implementer
from zope.interface.verify import verifyObject

from audiohookd.interfaces import ILine


@implementer(ILine)
class Late:
    """Says ``data``, or raises it."""

    def __init__(self, data: bytes | Exception, size: int = 20) -> None:
        self.data = data
        self.size = size
        self.asked = 0

    def __len__(self) -> int:
        return self.size

    def __call__(self) -> bytes:
        self.asked += 1
        if isinstance(self.data, Exception):
            raise self.data
        return self.data


@pytest.fixture
def rig(tmp_path: Path) -> SpoolRig:
    return SpoolRig(tmp_path / "spool")


def test_they_are_made_with_the_commit_and_stand_in_order(rig: SpoolRig) -> None:
    draft, late = rig.begin("a"), Late(b'{"b":2}')
    assert verifyObject(ILine, late)
    draft.note(b'{"a":1}')
    draft.note(late)
    draft.note(b'{"c":3}')
    assert late.asked == 0
    rig.commit()
    assert rig.drafted_entries("a") == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    assert late.asked == 1


def test_what_they_say_of_their_length_counts_as_waiting_until_they_are_written(rig: SpoolRig) -> None:
    draft = rig.begin("a")
    rig.commit()
    draft.note(Late(b"{}", 1000))
    draft.note(b"{}")
    assert draft.waiting == 1003
    rig.commit()
    assert draft.waiting == 0


@pytest.mark.parametrize("mistake", [RuntimeError("of mine"), b'{"a":\n1}'], ids=["raises", "breaks-the-line"])
def test_one_that_cannot_be_made_says_so_and_costs_nothing_else(rig: SpoolRig, mistake: Exception | bytes) -> None:
    draft = rig.begin("a")
    draft.audio(b"\x01\x02")
    draft.note(Late(mistake))
    draft.note(b'{"c":3}')
    rig.commit()
    assert rig.drafted_audio("a") == b"\x01\x02"
    said, last = rig.drafted_entries("a")
    entry = msgspec.json.decode(said)
    assert entry["type"] == "logger"
    assert "could not be made" in entry["data"]["msg"]
    assert last == b'{"c":3}'


def test_what_the_disk_refuses_comes_when_it_takes_something_again(tmp_path: Path) -> None:
    rig = FaultyRig(tmp_path)
    draft = rig.begin()
    rig.commit()
    rig.disk.refuse(errno.ENOSPC)
    draft.note(Late(b'{"timestamp":"PT1S","type":"late","data":{}}'))
    rig.commit(3)
    rig.disk.heal()
    recorded = rig.end(draft)
    assert recorded.entries("late") == [{}]
    assert draft.waiting == 0
