"""Group commit of the drafts of many calls."""

import os
import resource
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from audiohookd.interfaces import IDraft, ISpool
from audiohookd.protocol.media import Media
from audiohookd.spool.format import wav
from audiohookd.spool.write.group_commit import GROUP, CommitLimits
from tests.spool.spool_rig import (
    FLUSH_INTERVAL,
    L16_STEREO,
    MONO,
    STEREO,
    SYNC_INTERVAL,
    SpoolRig,
    disk_that_takes,
    is_pending,
    result_of,
)

SMALL = CommitLimits(early=100, draft=1000, total=2500)


@pytest.fixture
def rig(tmp_path: Path) -> SpoolRig:
    return SpoolRig(tmp_path / "spool")


@pytest.fixture
def small(tmp_path: Path) -> SpoolRig:
    return SpoolRig(tmp_path / "spool", SMALL)


def test_spool_and_draft_provide_their_interfaces(rig: SpoolRig) -> None:
    assert verifyObject(ISpool, rig.spool)
    assert verifyObject(IDraft, rig.begin("a"))


class TestCommit:
    def test_nothing_is_written_before_the_interval_has_passed(self, rig: SpoolRig) -> None:
        draft = rig.begin("a")
        assert draft.audio(b"\x01\x02") is None
        rig.clock.advance(FLUSH_INTERVAL * 0.79)
        assert len(rig.writing) == 0
        rig.clock.advance(FLUSH_INTERVAL * 0.02)
        assert len(rig.writing) == 1
        assert rig.drafted() == set()

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.17])
    def test_audio_is_written_within_the_interval_while_commits_are_quick(self, rig: SpoolRig, share: float) -> None:
        """The time of a commit counts as part of the interval."""
        draft = rig.begin("a", MONO)
        step = FLUSH_INTERVAL / 50
        given: list[float] = []
        busy = 0  # steps
        for number in range(500):
            draft.audio(bytes([number % 256]))
            given.append(rig.clock.seconds())
            busy = busy + 1 if len(rig.writing) else 0
            if busy * step > share * FLUSH_INTERVAL:
                rig.writing.run()
            written = len(rig.drafted_audio("a", MONO)) if rig.drafted() else 0
            assert not given[written:] or given[written] >= rig.clock.seconds() - FLUSH_INTERVAL
            rig.clock.advance(step)
        assert rig.counters.value("slow_commits") == 0

    def test_a_slow_commit_is_counted(self, rig: SpoolRig) -> None:
        rig.begin("a").audio(b"\x01\x02")
        rig.clock.advance(FLUSH_INTERVAL)
        rig.clock.advance(FLUSH_INTERVAL / 2)
        rig.writing.run()
        assert rig.counters.value("slow_commits") == 1

    def test_very_many_drafts_are_committed_in_groups(self, rig: SpoolRig) -> None:
        """Otherwise the reactor would be busy with all of them at once."""
        drafts = [rig.begin(f"{number}") for number in range(2 * GROUP + 1)]
        rig.clock.advance(FLUSH_INTERVAL)
        written: list[int] = []
        for _ in range(3):
            for draft in drafts:
                draft.audio(b"\x01\x02")  # a draft that is dirty again waits for the others
            assert len(rig.writing) == 1
            rig.writing.run()
            written.append(len(rig.drafted()))
            rig.clock.advance(0)
        assert written == [2 * GROUP, 4 * GROUP, 4 * GROUP + 2]
        assert len(rig.writing) == 0
        assert [len(rig.drafted_audio(f"{number}")) for number in (0, GROUP, 2 * GROUP)] == [0, 2, 4]
        rig.commit()
        assert [len(rig.drafted_audio(f"{number}")) for number in (0, GROUP, 2 * GROUP)] == [6, 2, 4]

    def test_the_stop_writes_all_of_very_many_drafts(self, rig: SpoolRig) -> None:
        drafts = [rig.begin(f"{number}") for number in range(2 * GROUP + 1)]
        for draft in drafts:
            draft.audio(b"\x01\x02")
        stopped = rig.spool.stopService()
        assert is_pending(stopped)
        rig.writing.run()
        assert not is_pending(stopped)
        assert all(rig.drafted_audio(f"{number}", STEREO) == b"\x01\x02" for number in range(2 * GROUP + 1))

    def test_one_commit_writes_all_drafts(self, rig: SpoolRig) -> None:
        drafts = [rig.begin(str(number)) for number in range(20)]
        for number, draft in enumerate(drafts):
            draft.audio(bytes([number, number]))
            draft.add_entry(b'{"type":"x","data":%d}' % number)
        rig.clock.advance(FLUSH_INTERVAL)
        assert len(rig.writing) == 1
        rig.writing.run_one()
        for number in range(20):
            assert rig.drafted_audio(str(number)) == bytes([number, number])
            assert rig.drafted_entries(str(number)) == [b'{"type":"x","data":%d}' % number]

    def test_commits_never_overlap(self, rig: SpoolRig) -> None:
        draft = rig.begin("a")
        rig.clock.advance(FLUSH_INTERVAL)
        draft.audio(b"\x01\x02")
        rig.clock.advance(10 * FLUSH_INTERVAL)
        assert len(rig.writing) == 1
        rig.writing.run_one()
        rig.commit()
        assert rig.drafted_audio("a") == b"\x01\x02"

    def test_no_timer_runs_while_there_is_nothing_to_write(self, rig: SpoolRig) -> None:
        assert rig.clock.getDelayedCalls() == []
        draft = rig.begin("a")
        rig.commit()
        rig.clock.advance(SYNC_INTERVAL)
        rig.syncing.run()
        assert rig.clock.getDelayedCalls() == []
        draft.audio(b"\x01\x02")
        draft.audio(b"\x01\x02")
        assert len(rig.clock.getDelayedCalls()) == 1

    def test_a_large_draft_does_not_wait_for_the_interval(self, small: SpoolRig) -> None:
        draft = small.begin("a")
        draft.audio(bytes(100))
        assert len(small.writing) == 0
        draft.audio(bytes(2))
        assert len(small.writing) == 1
        small.writing.run()
        assert small.drafted_audio("a") == bytes(102)

    def test_after_a_large_draft_the_others_wait_for_the_interval_again(self, small: SpoolRig) -> None:
        small.begin("a").audio(bytes(102))
        other = small.begin("b")
        small.writing.run_one()
        assert len(small.writing) == 0
        other.audio(bytes(2))
        small.commit()
        assert small.drafted_audio("b") == bytes(2)

    def test_many_small_drafts_above_the_total_do_not_wait(self, small: SpoolRig) -> None:
        for number in range(25):
            small.begin(str(number)).audio(bytes(100))
        assert len(small.writing) == 0
        small.begin("last").audio(bytes(2))
        assert len(small.writing) == 1

    def test_a_new_draft_has_an_empty_wav_and_a_journal_header(self, rig: SpoolRig) -> None:
        rig.begin("a", L16_STEREO)
        rig.commit()
        assert rig.draft_file("a.wav").read_bytes() == wav.growing_header(L16_STEREO)
        assert rig.draft_file("a.jsonl").read_bytes() == (
            b'{"id":"a","startedAt":1767225599.25,'
            b'"media":{"format":"L16","channels":["internal","external"],"rate":8000},"checksum":"crc32"}\n'
        )

    def test_files_are_not_world_readable(self, rig: SpoolRig) -> None:
        rig.begin("a")
        rig.commit()
        for name in ("a.wav", "a.jsonl"):
            assert stat.S_IMODE(rig.draft_file(name).stat().st_mode) & ~0o640 == 0
        for name in ("draft", "ready"):
            assert stat.S_IMODE((rig.directory / name).stat().st_mode) & ~0o750 == 0

    def test_without_media_there_is_no_audio_file(self, rig: SpoolRig) -> None:
        rig.begin("a", None).add_entry(b"{}")
        rig.commit()
        assert rig.drafted() == {"a.jsonl"}

    def test_payloads_are_kept_by_reference(self, rig: SpoolRig) -> None:
        rig.commit()
        frame = bytes(1600)
        draft = rig.begin("a")
        draft.audio(frame)
        assert draft.take().audio[0] is frame

    def test_a_line_break_in_a_note_is_rejected(self, rig: SpoolRig) -> None:
        draft = rig.begin("a")
        with pytest.raises(ValueError, match="line break"):
            draft.add_entry(b'{"a":\n1}')
        rig.commit()
        assert rig.drafted_entries("a") == []


class TestBackPressure:
    def test_a_draft_above_its_limit_gets_backpressure_until_written(self, small: SpoolRig) -> None:
        draft = small.begin("a")
        assert draft.audio(bytes(1000)) is None
        held = draft.audio(bytes(2))
        assert is_pending(held)
        small.writing.run()
        assert result_of(held) is None
        assert draft.audio(bytes(2)) is None

    def test_bytes_of_a_running_commit_count(self, small: SpoolRig) -> None:
        draft = small.begin("a")
        draft.audio(bytes(1000))
        assert len(small.writing) == 1
        assert draft.waiting == 1000
        assert is_pending(draft.audio(bytes(2)))

    def test_above_the_total_drafts_above_their_share_get_backpressure(self, small: SpoolRig) -> None:
        large = [small.begin(name) for name in ("a", "b", "c")]
        for draft in large:
            assert draft.audio(bytes(800)) is None
        modest = small.begin("d")
        assert modest.audio(bytes(102)) is None
        assert modest.audio(bytes(2)) is None
        held = [draft.audio(bytes(2)) for draft in large]
        assert all(map(is_pending, held))
        small.writing.run()
        assert [result_of(one) for one in held] == [None] * 3

    def test_a_large_draft_does_not_slow_another(self, small: SpoolRig) -> None:
        large, other = small.begin("a"), small.begin("b")
        assert is_pending(large.audio(bytes(1002)))
        assert other.audio(bytes(2)) is None

    def test_default_limits_are_8_and_256_mib(self) -> None:
        assert CommitLimits() == CommitLimits(early=1 << 20, draft=8 << 20, total=256 << 20, silence=32 << 20)

    def test_no_bytes_wait_when_all_is_written(self, small: SpoolRig) -> None:
        draft = small.begin("a")
        held = draft.audio(bytes(1002))
        draft.add_entry(b"{}")
        small.writing.run()
        assert (draft.waiting, len(small.writing), held.called) == (0, 0, True)


class TestRefusedByTheKernel:
    """Errors of the real kernel. ``test_disk_faults`` injects errors."""

    def test_an_error_of_one_draft_does_not_affect_others(self, rig: SpoolRig) -> None:
        before, refused, after = rig.begin("a"), rig.begin("b"), rig.begin("c")
        rig.commit()
        before.audio(bytes(100))
        refused.audio(bytes(8000))
        after.audio(bytes(200))
        with disk_that_takes(4096):
            rig.commit()
        assert rig.drafted_audio("a") == bytes(100)
        assert rig.drafted_audio("c") == bytes(200)
        with pytest.raises(OSError, match=r"File too large: .*b\.wav"):
            refused.audio(bytes(2))
        assert before.audio(bytes(2)) is None

    def test_a_partial_write_stays_and_silence_replaces_the_rest(self, rig: SpoolRig) -> None:
        draft = rig.begin("a", L16_STEREO)
        draft.audio(b"\x01\x02\x03\x04" * 2000)
        room = 4099 - wav.header_bytes(L16_STEREO)
        with disk_that_takes(4099):
            rig.commit()
        kept = room - room % 4
        assert rig.drafted_audio("a", L16_STEREO) == (b"\x01\x02\x03\x04" * 2000)[:kept]
        path = rig.finish(draft)
        assert path.read_bytes().endswith(b"\x03\x04" + bytes(8000 - kept))

    def test_an_error_holds_no_memory(self, rig: SpoolRig) -> None:
        draft = rig.begin("a")
        draft.audio(bytes(8000))
        with disk_that_takes(4096):
            rig.clock.advance(FLUSH_INTERVAL)
            draft.audio(bytes(3000))
            rig.writing.run()
            assert draft.waiting == 3000
            rig.commit()
            assert draft.waiting == 0

    def test_an_error_releases_backpressure(self, small: SpoolRig) -> None:
        draft = small.begin("a")
        held = draft.audio(bytes(8000))
        with disk_that_takes(4096):
            small.writing.run()
        assert result_of(held) is None
        with pytest.raises(OSError, match="File too large"):
            draft.audio(b"")
        assert draft.audio(b"") is None

    def test_too_many_open_files_lose_audio_until_there_are_fewer(self, rig: SpoolRig) -> None:
        draft = rig.begin("a")
        draft.audio(b"\x01\x02")
        with no_more_files():
            rig.commit()
        assert rig.drafted() == set()
        with pytest.raises(OSError, match="Too many open files"):
            draft.audio(b"\x03\x04")
        assert rig.finish(draft).read_bytes().endswith(b"\xff\xff\x03\x04")


@contextmanager
def no_more_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class TestPoolThatHasStopped:
    def test_a_stopped_pool_leaves_data_waiting_and_raises_to_the_caller(self, rig: SpoolRig) -> None:
        for _ in range(1000):
            rig.writing.do(int)
        draft = rig.begin("a")
        rig.clock.advance(FLUSH_INTERVAL)
        with pytest.raises(OSError, match="not written"):
            draft.audio(b"\x01\x02")
        rig.clock.advance(FLUSH_INTERVAL)
        assert draft.waiting == 2
        rig.writing.run()
        rig.commit()
        assert rig.drafted_audio("a") == b"\x01\x02"
        assert draft.waiting == 0

    def test_a_stopped_pool_does_not_block_the_end_at_the_stop(self, rig: SpoolRig) -> None:
        for _ in range(1000):
            rig.writing.do(int)
        draft = rig.begin("a")
        draft.audio(b"\x01\x02")
        finished = draft.finish({})
        rig.clock.pump([FLUSH_INTERVAL] * 3)
        rig.spool.stopService()
        rig.finishing.run()
        with pytest.raises(OSError, match="a"):
            result_of(finished)
        assert draft.waiting == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.integers(0, 2), st.binary(max_size=200)),
        st.tuples(st.just("note"), st.integers(0, 2), st.integers(0, 10**6)),
        st.tuples(st.sampled_from(["advance", "write"]), st.just(0), st.none()),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps, st.lists(st.sampled_from([MONO, STEREO]), min_size=3, max_size=3))
def test_files_have_all_data_in_any_order_of_calls(steps: list[Any], media: list[Media]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        rig = SpoolRig(Path(directory) / "spool", SMALL)
        drafts = [rig.begin(str(number), form) for number, form in enumerate(media)]
        audio = [b"", b"", b""]
        journal: list[list[bytes]] = [[], [], []]
        for what, which, data in steps:
            if what == "audio":
                drafts[which].audio(data)
                audio[which] += data
            elif what == "note":
                drafts[which].add_entry(b'{"data":%d}' % data)
                journal[which].append(b'{"data":%d}' % data)
            elif what == "advance":
                rig.clock.advance(FLUSH_INTERVAL / 2)
            elif len(rig.writing):
                rig.writing.run_one()
        stopped = rig.spool.stopService()
        rig.writing.run()
        result_of(stopped)
        for number, form in enumerate(media):
            assert rig.drafted_audio(str(number), form) == audio[number]
            assert rig.drafted_entries(str(number)) == journal[number]
            assert drafts[number].waiting == 0
            finished = drafts[number].finish({})
        rig.commit()
        rig.finishing.run()
        result_of(finished)
