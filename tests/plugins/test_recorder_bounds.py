"""Limits on what a session may add to its recording besides audio."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from audiohookd.cli.verify.checking import check
from audiohookd.protocol.events import GapCause
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import repair_drafts
from audiohookd_plugins import recorder
from tests.plugins.recorded_call import L16, STARTED_AT, STEREO, Call

MESSAGE = json.dumps({"type": "zzz", "parameters": {"x": "y" * 60_000}}).encode()

MakeCall = Callable[..., Call]


@pytest.fixture
def call(tmp_path: Path) -> MakeCall:
    return lambda *given, **options: Call(tmp_path / "spool", *given, **options)


def say(made: Call, count: int) -> None:
    for number in range(count):
        made.sink.message(False, MESSAGE, STARTED_AT + number)
        made.daemon.writing.run()


def test_messages_above_the_limit_are_counted_and_not_kept(call: MakeCall) -> None:
    made = call(STEREO, max_messages_size=1 << 20)
    say(made, 100)
    made.daemon.reactor.advance(3)
    made.sink.round_trip(5_000_000)
    made.close()
    (path,) = (made.directory / "ready").rglob("*.json")
    assert path.stat().st_size < (1 << 20) + 4096
    kept = len(made.entries("audiohook"))
    assert made.entries("statistics") == []
    size = (100 - kept) * (len(MESSAGE) + 64) + 64
    omitted = made.sidecar()["recording"]["omittedEntries"]
    assert omitted == {"since": "PT0S", "count": 101 - kept, "bytes": size}
    assert made.entries("end") != []
    assert [event["log_level"].name for event in made.logged].count("warn") == 1


def test_a_sidecar_with_omitted_entries_is_verified(call: MakeCall) -> None:
    made = call(STEREO, max_messages_size=1 << 20)
    made.sink.audio(b"\x01\x02" * 800)
    say(made, 30)
    made.close()
    (path,) = (made.directory / "ready").rglob("*.wav")
    with path.open("rb") as audio:
        assert check(made.sidecar(), audio) == []


def test_after_a_crash_the_sidecar_says_since_when_entries_are_omitted(call: MakeCall) -> None:
    made = call(STEREO, max_messages_size=1 << 20)
    made.sink.audio(b"\x01\x02" * 800)
    say(made, 30)
    made.commit()
    assert [mended.outcome for mended in repair_drafts(SpoolPaths(made.directory))] == ["ready"]
    assert made.sidecar()["recording"]["omittedEntries"] == {"since": "PT0S", "count": 0, "bytes": 0}


@pytest.mark.parametrize("gaps", ["silence", "omit"])
def test_gaps_above_the_limit_are_silence_in_the_file_and_counted(
    call: MakeCall, gaps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_GAPS", 3)
    made = call(L16, gaps=gaps)
    position = 4000
    for number in range(10):
        made.sink.audio(bytes([number, 0, 0, 0]))
        made.gap(2, GapCause.PAUSED, position + 1)
        position += 3
    made.session.position = position
    made.close()
    recording = made.sidecar()["recording"]
    assert len(recording["gaps"]) == 3
    assert recording["omittedGaps"] == {"since": "PT0S", "count": 7, "samples": 14}
    assert "missingSamples" not in recording
    assert recording["samples"] == (30 if gaps == "silence" else 24)
    (path,) = (made.directory / "ready").rglob("*.wav")
    with path.open("rb") as audio:
        assert check(made.sidecar(), audio) == []
