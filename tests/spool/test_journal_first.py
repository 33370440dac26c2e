"""Errors of the journal only: audio waits for the journal, but not for ever."""

import errno
from pathlib import Path

import pytest

from audiohookd.spool.draft import LOGGED_RETRIES, MAX_RETRIES
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.write.draft_files import MAX_HELD_AUDIO, DraftPaths
from tests.spool.faulty_disk import SPEECH, FaultyRig, Recorded, raised_by
from tests.spool.spool_rig import is_pending, result_of


@pytest.fixture
def rig(tmp_path: Path) -> FaultyRig:
    return FaultyRig(tmp_path / "spool")


def pause(samples: int, offset: int) -> bytes:
    start = f'"start":{offset},"samples":{samples},"cause":"paused","filled":true,"offset":{offset}'
    return b'{"timestamp":"PT0S","type":"gap","data":{%s}}' % start.encode()


class TestAudio:
    def test_audio_waits_and_is_not_lost(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, suffix="jsonl")
        draft.add_entry(pause(200, 0))
        draft.audio(b"\xff" * 400)
        draft.audio(SPEECH)
        rig.commit(3)
        assert rig.drafted_audio() == b""
        assert draft.waiting == 800
        rig.disk.heal()
        recorded = rig.end(draft)
        assert recorded.audio == b"\xff" * 400 + SPEECH
        assert [gap["cause"] for gap in recorded.gaps] == ["paused"]

    def test_a_kill_leaves_no_silence_without_a_gap_entry(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, suffix="jsonl")
        draft.add_entry(pause(200, 200))
        draft.audio(b"\xff" * 400)
        raised_by(lambda: draft.audio(SPEECH))
        rig.commit(3)
        recorded = Recorded(finalize_draft(DraftPaths(rig.draft, "a"), rig.ready))
        assert (recorded.audio, recorded.gaps) == (SPEECH, [])

    def test_audio_does_not_wait_for_ever(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        rig.disk.refuse(errno.EIO, suffix="jsonl")
        draft.add_entry(b"{}")
        given = 0
        while given < MAX_HELD_AUDIO:
            raised_by(lambda: draft.audio(SPEECH * 100))
            given += 40_000
            rig.commit()
        assert rig.drafted_audio() == SPEECH * (given // len(SPEECH))
        assert draft.waiting == 0


class TestEnd:
    def test_the_end_gives_up_if_only_this_draft_fails(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.refuse(errno.EIO, suffix="a.wav")
        draft.audio(SPEECH)
        finished = draft.finish({"closeReason": "end"})
        rig.commit(MAX_RETRIES)
        assert is_pending(finished)
        rig.commit()
        recorded = Recorded(result_of(finished))
        assert recorded.audio == SPEECH
        assert [(gap["offset"], gap["samples"], gap["filled"]) for gap in recorded.gaps] == [(200, 200, False)]
        assert rig.clock.getDelayedCalls() == []

    def test_the_end_waits_while_other_drafts_fail_too(self, rig: FaultyRig) -> None:
        ending, going_on = rig.begin("a"), rig.begin("b")
        rig.disk.refuse(errno.ENOSPC)
        ending.audio(SPEECH)
        going_on.audio(SPEECH)
        finished = ending.finish({"closeReason": "end"})
        rig.commit(MAX_RETRIES + LOGGED_RETRIES)
        assert is_pending(finished)
        rig.disk.heal()
        rig.commit()
        assert Recorded(result_of(finished)).about["closeReason"] == "end"
