"""Stalls: writes that neither succeed nor fail."""

import errno
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from audiohookd.spool.write.group_commit import STALL_TIMEOUT, CommitLimits
from tests.spool.faulty_disk import FaultyRig, raised_by
from tests.spool.spool_rig import FLUSH_INTERVAL, is_pending, result_of

SPEECH = bytes(range(1, 101)) * 4
STALLED = f"nothing was written for {STALL_TIMEOUT:g} s"


@pytest.fixture
def rig(tmp_path: Path) -> FaultyRig:
    return FaultyRig(tmp_path / "spool")


def stall(rig: FaultyRig) -> None:
    """Starts a commit that does not return before the timeout."""
    rig.clock.advance(FLUSH_INTERVAL)
    assert len(rig.writing) == 1
    rig.clock.advance(STALL_TIMEOUT)


def test_a_stall_begins_exactly_at_the_timeout(rig: FaultyRig) -> None:
    rig.begin()
    rig.clock.advance(FLUSH_INTERVAL)
    rig.clock.advance(STALL_TIMEOUT - 0.01)
    assert rig.writer.fault is None
    rig.clock.advance(0.01)
    assert rig.writer.fault == f"disk write timed out: {STALLED}"


def test_a_quick_disk_never_stalls_however_long_the_call(rig: FaultyRig) -> None:
    draft = rig.begin()
    for _ in range(200):
        draft.audio(SPEECH)
        rig.commit()
    assert rig.writer.fault is None
    assert rig.counters.items() == []


def test_a_stall_is_raised_once_to_every_draft(rig: FaultyRig) -> None:
    idle = rig.begin("idle")
    rig.commit()
    writing = rig.begin("writing")
    rig.clock.advance(FLUSH_INTERVAL)
    waiting = rig.begin("waiting")
    rig.clock.advance(STALL_TIMEOUT)
    new = rig.begin("new")
    for draft in (idle, writing, waiting, new):
        assert raised_by(*[lambda draft=draft: draft.audio(SPEECH)] * 3) == [STALLED, None, None]
        assert raised_by(lambda draft=draft: draft.add_entry(b"{}")) == [None]  # type: ignore[misc]


def test_a_stall_that_ends_loses_no_audio(rig: FaultyRig) -> None:
    draft = rig.begin()
    draft.audio(SPEECH)
    stall(rig)
    raised_by(lambda: draft.audio(SPEECH))
    draft.add_entry(b'{"type":"x","data":1}')
    rig.writing.run()
    assert rig.writer.fault is None
    recorded = rig.end(draft)
    assert recorded.audio == SPEECH * 2
    assert recorded.gaps == []
    assert rig.counters.items() == [("disk_errors", "stalled", 1), ("slow_commits", "", 1)]


def test_a_stall_keeps_the_limits_of_backpressure(tmp_path: Path) -> None:
    rig = FaultyRig(tmp_path, CommitLimits(early=100, draft=1000, total=2500))
    draft = rig.begin()
    stall(rig)
    raised_by(lambda: draft.audio(bytes(1000)))
    held = draft.audio(bytes(2))
    assert is_pending(held)
    rig.writing.run()
    assert result_of(held) is None


def test_a_stall_logs_one_line_at_its_start_and_end(rig: FaultyRig) -> None:
    for name in "abc":
        rig.begin(name)
    with capturedLogs() as logged:
        stall(rig)
        rig.clock.advance(12)
        rig.writing.run()
    assert [event["log_format"].format(**event) for event in logged] == [
        "disk write timed out: nothing was written for 30 s, 3 calls wait; check the disk",
        "disk recovered: a write returned after 42.0 s",
    ]


def test_a_second_stall_is_raised_again(rig: FaultyRig) -> None:
    draft = rig.begin()
    for _ in range(2):
        stall(rig)
        rig.writing.run_one()
        assert raised_by(lambda: draft.audio(SPEECH), lambda: draft.audio(SPEECH)) == [STALLED, None]
    assert rig.counters.value("disk_errors", "stalled") == 2


def test_a_stall_may_end_with_a_disk_error(rig: FaultyRig) -> None:
    draft = rig.begin()
    rig.disk.refuse(errno.EIO)
    stall(rig)
    rig.writing.run()
    assert rig.writer.fault == "cannot write recordings: Input/output error"
    assert rig.counters.value("disk_errors", "EIO") == 1
    rig.disk.heal()
    rig.commit()
    assert rig.writer.fault is None
    assert raised_by(lambda: draft.audio(SPEECH)) == ["Input/output error"]


def test_a_stall_delays_the_end_of_a_recording(rig: FaultyRig) -> None:
    draft = rig.begin()
    draft.audio(SPEECH)
    finished = draft.finish({"closeReason": "end"})
    stall(rig)
    assert is_pending(finished)
    rig.writing.run()
    assert result_of(finished).name == "a.wav"
