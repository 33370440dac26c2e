"""Internal errors and failing pools affect only one commit, and lose no audio."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from audiohookd.spool.draft import Draft
from audiohookd.spool.write.fsync import Syncer
from audiohookd.spool.write.group_commit import GroupWriter
from tests.spool.spool_rig import FLUSH_INTERVAL, STEREO, SYNC_INTERVAL, SpoolRig


@pytest.fixture
def rig(tmp_path: Path) -> SpoolRig:
    return SpoolRig(tmp_path / "spool")


def raises(*_: Any) -> Any:
    raise RuntimeError("can't start new thread")


def refuses(_: Any) -> "Deferred[Any]":
    return fail(RuntimeError("can't start new thread"))


@pytest.mark.parametrize("do", [raises, refuses], ids=["raises", "fails"])
def test_a_pool_without_threads_costs_no_audio(rig: SpoolRig, do: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = rig.begin("call")
    draft.audio(b"\x01\x02" * 100)
    monkeypatch.setattr(rig.writing, "do", do)
    rig.clock.pump([FLUSH_INTERVAL] * 4)
    monkeypatch.undo()
    draft.audio(b"\x03\x04" * 100) if draft.waiting == 0 else None
    rig.clock.pump([FLUSH_INTERVAL] * 2)
    rig.writing.run()
    assert rig.drafted_audio("call", STEREO)[:200] == b"\x01\x02" * 100


@pytest.mark.parametrize("method", ["_update_disk_state", "_begin_round", "_end_round", "_record_errors"])
def test_a_bug_in_one_commit_loses_no_audio_and_no_later_commit(
    rig: SpoolRig, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = rig.begin("call")
    rig.commit()
    draft.audio(b"\x01\x02" * 100)
    with monkeypatch.context() as patched:
        patched.setattr(GroupWriter, method, raises)
        rig.commit()
    draft.audio(b"\x03\x04" * 100)
    for _ in range(4):
        rig.commit()
    assert rig.drafted_audio("call", STEREO) == b"\x01\x02" * 100 + b"\x03\x04" * 100
    assert draft.waiting == 0


@pytest.mark.parametrize("method", ["take", "committed"])
def test_a_bug_in_one_draft_does_not_affect_the_audio_of_others(
    rig: SpoolRig, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = rig.begin("bad"), rig.begin("good")
    rig.commit()
    whole = getattr(Draft, method)

    def act(draft: Draft, *arguments: Any) -> Any:
        return raises() if draft is bad else whole(draft, *arguments)

    monkeypatch.setattr(Draft, method, act)
    for number in range(4):
        bad.audio(bytes((number, 0)))
        good.audio(bytes((number, 1)))
        rig.commit()
    assert rig.drafted_audio("good", STEREO) == b"\x00\x01\x01\x01\x02\x01\x03\x01"
    assert rig.counters.value("internal_errors") > 0


def test_a_bug_in_one_round_of_syncing_does_not_stop_later_rounds(
    rig: SpoolRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.begin("call")
    rig.commit()
    with monkeypatch.context() as patched:
        patched.setattr(Syncer, "_report", raises)
        rig.clock.pump([0.5] * round(SYNC_INTERVAL / 0.5))
        assert len(rig.syncing) == 1
        rig.syncing.run()
    assert rig.counters.value("loop_failures", "spool-syncer") == 1
    rig.begin("another")
    rig.commit()
    rig.clock.pump([0.5] * round(SYNC_INTERVAL / 0.5))
    assert len(rig.syncing) == 1
