"""Properties of recordings with random disk errors: only the listed gaps are lost."""

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from audiohookd.protocol.media import Media
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.write.draft_files import DraftPaths
from audiohookd.spool.write.group_commit import CommitLimits
from tests.spool.faulty_disk import FaultyRig, Recorded, raised_by
from tests.spool.spool_rig import L16_STEREO, MONO, STEREO, result_of

FAULTS = [errno.ENOSPC, errno.EIO, errno.EMFILE]

STEPS = st.one_of(
    st.tuples(st.just("audio"), st.integers(0, 60)),
    st.tuples(st.just("note"), st.integers(0, 99)),
    st.tuples(st.just("commit"), st.integers(1, 3)),
    st.tuples(
        st.just("refuse"),
        st.tuples(
            st.sampled_from(FAULTS),
            st.sets(st.sampled_from(["open", "write", "truncate"]), min_size=1),
            st.integers(0, 150),
            st.sampled_from(["", "wav", "jsonl"]),
        ),
    ),
    st.tuples(st.just("heal"), st.none()),
)


class Played:
    """A recording that was written to a disk with random errors."""

    def __init__(self, directory: str, media: Media, portion: int) -> None:
        self.rig = FaultyRig(Path(directory), CommitLimits(early=400, draft=1 << 20, total=1 << 20, silence=100))
        self.rig.disk.portion = portion
        self.media = media
        self.draft = self.rig.begin("a", media)
        self.given = b""
        self.noted: list[int] = []
        self.refusals = 0

    def step(self, what: str, about: Any) -> None:
        match what:
            case "audio":
                frame = b"".join(self._frame(number) for number in range(about))
                self.given += frame
                raised_by(lambda: self.draft.audio(frame))
            case "note":
                self.noted.append(about)
                raised_by(lambda: self.draft.add_entry(b'{"timestamp":"PT0S","type":"x","data":%d}' % about))
            case "commit":
                self.rig.commit(about)
            case "refuse":
                fault, calls, room, suffix = about
                self.refusals += 1
                self.rig.disk.refuse(fault, *calls, room=room, suffix=suffix)
            case "heal":
                self.rig.disk.heal()

    def kill(self, room: int) -> Recorded | None:
        """Simulates a kill after ``room`` more written bytes, and repairs the draft, if there is one."""
        self.rig.disk.refuse(errno.EIO, "open", "write", "truncate", "close", room=room)
        self.rig.commit(2)
        left_behind = self.rig.draft.with_name("left_behind")
        shutil.copytree(self.rig.draft, left_behind)
        try:
            recorded = Recorded(finalize_draft(DraftPaths(self.rig.draft, "a"), self.rig.ready))
        except (FileNotFoundError, ValueError):
            return None
        apart = self.rig.ready.with_name("verified")
        apart.mkdir()
        self.verified = Recorded(finalize_draft(DraftPaths(left_behind, "a"), apart, is_left_behind=True))
        return recorded

    def _frame(self, number: int) -> bytes:
        """One sample of each channel, different from its neighbours and from silence."""
        code = 1 + (len(self.given) + number * self.media.frame_bytes) % 250
        return bytes([code] * self.media.frame_bytes)

    def end(self, is_healed: bool) -> Recorded:
        if is_healed:
            self.rig.disk.heal()
        finished = self.draft.finish({"closeReason": "end"})
        self.rig.commit(len(self.given) // 100 + 5)
        return Recorded(result_of(finished))

    def expected(self, recorded: Recorded) -> bytes:
        """The added audio, with silence in the filled gaps, and without the audio of gaps that are not filled."""
        frame, expected = self.media.frame_bytes, bytearray(self.given)
        for gap in recorded.gaps:
            start, end = gap["offset"] * frame, (gap["offset"] + gap["samples"]) * frame
            assert end <= len(self.given)
            if gap["filled"]:
                expected[start:end] = self.media.silence(gap["samples"])
            else:
                assert end == len(self.given)
                del expected[start:]
        return bytes(expected)


def assert_gaps_are_apart(gaps: list[dict[str, Any]]) -> None:
    end = 0
    for gap in gaps:
        assert gap["cause"] == "disk"
        assert gap["start"] == gap["offset"] >= end
        assert gap["samples"] > 0
        end = gap["offset"] + gap["samples"]


@settings(deadline=None, max_examples=200)
@given(st.lists(STEPS, max_size=30), st.sampled_from([MONO, STEREO, L16_STEREO]), st.sampled_from([1 << 30, 37, 1]))
@example([("refuse", (28, {"write"}, 101, "")), ("audio", 60), ("commit", 1), ("heal", None)], STEREO, 37)
def test_a_recovering_disk_loses_only_the_gaps(steps: list[tuple[str, Any]], media: Media, portion: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        played = Played(directory, media, portion)
        for step in steps:
            played.step(*step)
        recorded = played.end(is_healed=True)
        assert len(recorded.audio) == len(played.given)
        assert recorded.audio == played.expected(recorded)
        assert_gaps_are_apart(recorded.gaps)
        assert all(gap["filled"] for gap in recorded.gaps)
        assert recorded.entries("x") == played.noted
        assert recorded.about["closeReason"] == "end"
        assert "recovered" not in recorded.about
        lost = sum(gap["samples"] for gap in recorded.gaps)
        assert played.rig.counters.value("disk_lost_samples") == lost
        # No more is lost than the disk refused: of the accepted audio, only torn samples are missing.
        missed = played.rig.disk.accepted - (len(played.given) - lost * media.frame_bytes)
        assert 0 <= missed < media.frame_bytes * max(1, 3 * len(steps))
        assert (played.draft.waiting, played.rig.writer.waiting, played.rig.writer.fault) == (0, 0, None)
        assert played.rig.clock.getDelayedCalls() == []


@settings(deadline=None, max_examples=100)
@given(st.lists(STEPS, max_size=30), st.sampled_from([MONO, STEREO, L16_STEREO]))
def test_a_stop_on_a_failing_disk_loses_only_the_gaps(steps: list[tuple[str, Any]], media: Media) -> None:
    with tempfile.TemporaryDirectory() as directory:
        played = Played(directory, media, 37)
        for step in steps:
            played.step(*step)
        draft = played.rig.draft
        finished = played.draft.finish({"closeReason": "end"})
        played.rig.stop()
        assert finished.called
        assert (played.draft.waiting, played.rig.writer.waiting, played.rig.writer.fault) == (0, 0, None)
        assert played.rig.clock.getDelayedCalls() == []
        try:
            recorded = Recorded(result_of(finished))
        except (FileNotFoundError, ValueError):  # the disk did not even take the first line of the journal
            assert {path.name for path in draft.iterdir()} <= {"a.jsonl"}
            assert not any(b"\n" in path.read_bytes() for path in draft.iterdir())
            return
        if "recovered" in recorded.about:
            assert played.noted[: len(recorded.entries("x"))] == recorded.entries("x")
        else:
            assert recorded.audio == played.expected(recorded)
            assert recorded.entries("x") == played.noted
        assert len(recorded.audio) % media.frame_bytes == 0


@settings(deadline=None, max_examples=300)
@given(st.lists(STEPS, max_size=30), st.sampled_from([MONO, STEREO, L16_STEREO]), st.integers(0, 400))
@example([("commit", 1), ("refuse", (28, {"write"}, 0, "")), ("audio", 9), ("commit", 1), ("heal", None)], MONO, 80)
def test_a_kill_at_any_instant_loses_only_the_gaps(steps: list[tuple[str, Any]], media: Media, room: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        played = Played(directory, media, 37)
        for step in [("note", 100), *steps]:
            played.step(*step)
        recorded = played.kill(room)
        if recorded is None:
            assert not any(b"\n" in path.read_bytes() for path in played.rig.draft.glob("*.jsonl"))
            assert not [path for path in played.rig.draft.glob("*.wav") if path.stat().st_size]
            return
        audio = recorded.audio
        assert audio == played.expected(recorded)[: len(audio)]  # every silence has a gap
        assert_gaps_are_apart(recorded.gaps)
        assert all(gap["offset"] + gap["samples"] <= recorded.about["samples"] for gap in recorded.gaps)
        assert played.noted[: len(recorded.entries("x"))] == recorded.entries("x")
        assert not audio or recorded.entries("x")[0] == 100  # the journal identifies the call
        verified = played.verified.audio  # the checksums cut off no audio, except silence that looks like zero bytes
        assert audio.startswith(verified)
        assert audio[len(verified) :].strip(media.format.silence[:1] if media is L16_STEREO else b"") == b""
