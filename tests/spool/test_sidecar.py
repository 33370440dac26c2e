"""Composing sidecars from journals."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.verify.sidecar import inconsistencies, read
from audiohookd.protocol.media import Media
from audiohookd.spool.format.journal import (
    MAX_LINE,
    JournalHeader,
    finished_line,
    first_line,
    journal_header,
    read_header,
    read_lines,
)
from audiohookd.spool.format.sidecar import AudioFile, compose
from tests.spool.spool_rig import L16_STEREO, MONO, STARTED_AT

SHA256 = "ab" * 32

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
entries = st.fixed_dictionaries(
    {"timestamp": st.just("PT1S"), "type": st.sampled_from(["audiohook", "logger", "gap"]), "data": json_values},
    optional={"line": st.text()},
)


def sidecar(
    lines: list[bytes],
    recording: dict[str, object] | None = None,
    media: Media | None = MONO,
    samples: int = 0,
    *,
    is_torn: bool = False,
    finished: bool = True,
) -> dict[str, Any]:
    audio = AudioFile("id.wav", 60, SHA256) if media else None
    facts = journal_header("id", STARTED_AT, media)
    journal = [*lines, finished_line(recording or {})] if finished else lines
    return json.loads(b"".join(compose(facts, samples, audio, is_torn, lambda: journal)))


def line(kind: str, data: object) -> bytes:
    return msgspec.json.encode({"timestamp": "PT1.5S", "type": kind, "data": data}) + b"\n"


@given(st.lists(entries, max_size=8))
def test_the_body_has_every_entry_once_in_order(noted: list[dict[str, Any]]) -> None:
    made = sidecar([msgspec.json.encode(entry) + b"\n" for entry in noted])
    assert made["body"] == [entry for entry in noted if entry["type"] != "gap"]
    gaps = [entry["data"] for entry in noted if entry["type"] == "gap"]
    assert sorted(map(json.dumps, made["recording"]["gaps"])) == sorted(map(json.dumps, gaps))


@given(st.lists(st.binary(max_size=60).filter(lambda text: b"\n" not in text), max_size=8))
def test_the_sidecar_is_json_for_any_journal(lines: list[bytes]) -> None:
    made = sidecar(lines)
    assert len(made["body"]) <= len(lines)


def test_the_header_has_time_and_id() -> None:
    assert sidecar([])["header"] == {"timestamp": "2025-12-31T23:59:59.250Z", "id": "id"}


def test_the_recording_describes_the_files_on_disk() -> None:
    recording = sidecar([], media=L16_STEREO, samples=12_000)["recording"]
    assert recording == {
        "startedAt": "2025-12-31T23:59:59.250Z",
        "media": {"format": "L16", "channels": ["internal", "external"], "rate": 8000},
        "samples": 12_000,
        "duration": "PT1.5S",
        "audio": {"file": "id.wav", "bytes": 60, "sha256": SHA256},
        "gaps": [],
    }


def test_a_recording_without_media_has_no_audio() -> None:
    recording = sidecar([], media=None)["recording"]
    assert (recording["media"], recording["audio"], recording["samples"]) == (None, None, 0)


def test_later_entries_win_and_the_disk_wins_over_all() -> None:
    lines = [
        line("recording", {"session": "s", "language": "en", "samples": 5}),
        line("recording", {"language": "de", "closeReason": "unknown"}),
    ]
    made = sidecar(lines, {"closeReason": "end", "samples": 6}, samples=7)
    assert made["body"] == []
    assert made["recording"]["session"] == "s"
    assert made["recording"]["language"] == "de"
    assert made["recording"]["closeReason"] == "end"
    assert made["recording"]["samples"] == 7


def test_a_line_that_is_no_entry_is_kept_as_a_log_line() -> None:
    odd = [
        b"{}",
        b'{"type":"recording","data":5}',
        b'{"type":"x","data":{"a":"cut o',
        b'{"type":"x","data":0,"y":"\xff"}',
    ]
    body = sidecar([line("logger", {"msg": "good"}), *odd])["body"]
    assert body[0]["data"] == {"msg": "good"}
    assert [entry["type"] for entry in body[1:]] == ["logger"] * 4
    assert [entry["data"]["msg"] for entry in body[1:]] == [text.decode(errors="backslashreplace") for text in odd]


def test_the_sidecar_is_composed_line_by_line() -> None:
    """The journal of a long call is never in memory as a whole."""
    facts = journal_header("id", STARTED_AT, MONO)
    lines_read: list[int] = []

    def read_lines() -> Iterator[bytes]:
        for number in range(1000):
            lines_read.append(number)
            yield line("logger", number)

    pieces = compose(facts, 0, AudioFile("id.wav", 60, SHA256), False, read_lines)
    for _ in range(10):
        next(pieces)
    assert len(lines_read) < 12


@given(st.sampled_from([MONO, L16_STEREO, None]), st.floats(0, 1e10))
def test_facts_survive_the_journal(media: Media | None, started_at: float) -> None:
    facts: JournalHeader = read_header(first_line(journal_header("id", started_at, media)))
    assert (facts.id, facts.started_at, facts.wire_media()) == ("id", started_at, media)


def gap(offset: int, samples: int, *, filled: bool, start: int | None = None) -> bytes:
    place = {} if start is None else {"start": start}
    cause = "disk" if start is None else "paused"
    return line("gap", {**place, "samples": samples, "filled": filled, "offset": offset, "cause": cause})


class TestGaps:
    def test_a_gap_of_the_writer_gets_its_position_in_the_call(self) -> None:
        lines = [
            line("recording", {"startPosition": 100}),
            gap(10, 5, filled=False, start=110),
            gap(40, 7, filled=True, start=145),
            gap(20, 3, filled=True),  # after the first, before the second
            gap(60, 4, filled=True),
        ]
        gaps = sidecar(lines, samples=80)["recording"]["gaps"]
        assert [(one["offset"], one["start"], one["samples"]) for one in gaps] == [
            (10, 110, 5),
            (20, 125, 3),
            (40, 145, 7),
            (60, 165, 4),
        ]

    @given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.booleans(), st.booleans()), max_size=12))
    def test_every_gap_has_its_position_in_the_call(self, steps: list[tuple[int, int, bool, bool]]) -> None:
        """Compares with a model of the call, sample by sample."""
        lines, position, offset, wanted = [line("recording", {"startPosition": 100})], 100, 0, []
        for heard, samples, filled, by_disk in steps:
            position, offset = position + heard, offset + heard
            fills = filled or by_disk
            wanted.append((offset, position, samples))
            lines.append(gap(offset, samples, filled=fills, start=None if by_disk else position))
            position += samples
            offset += samples if fills else 0
        gaps = sidecar(lines, samples=offset)["recording"]["gaps"]
        assert [(one["offset"], one["start"], one["samples"]) for one in gaps] == wanted

    @pytest.mark.parametrize("finished", [True, False])
    def test_a_pause_within_abandoned_audio_is_listed(self, finished: bool) -> None:
        """The disk took 3000 samples and none of the next 2500; the client paused after 5000."""
        lines = [
            line("recording", {"startPosition": 100}),
            gap(5000, 800, filled=False, start=5100),
            gap(5500, 60, filled=False, start=6400),
            gap(3000, 2500, filled=False),
        ]
        made = sidecar(lines, samples=3000, finished=finished)
        gaps = made["recording"]["gaps"]
        assert [(one["cause"], one["offset"], one["start"], one["samples"]) for one in gaps] == [
            ("disk", 3000, 3100, 2500),
            ("paused", 5000, 5100, 800),
            ("paused", 5500, 6400, 60),
        ]
        assert list(inconsistencies(made, read(made))) == []
        if not finished:
            assert made["recording"]["recovered"]["missingFrom"] == 100 + 3000 + 2500 + 800 + 60

    def test_a_pause_after_the_audio_of_a_crash_is_not_listed(self) -> None:
        lines = [
            gap(5000, 800, filled=False, start=5000),
            gap(3500, 1000, filled=False),  # a pause in audio that the crash cut off
        ]
        recording = sidecar(lines, samples=3000, finished=False)["recording"]
        assert recording["gaps"] == []
        assert recording["recovered"]["missingFrom"] == 3000

    def test_an_unknown_gap_of_a_plugin_is_copied(self) -> None:
        assert sidecar([line("gap", "odd"), line("gap", {"samples": "many"})])["recording"]["gaps"] == [
            "odd",
            {"samples": "many"},
        ]


class TestWithoutAnEnd:
    """Sidecars of recordings that a crash ended."""

    def heard(self, position: str, direction: str = "in") -> bytes:
        return line("audiohook", {"dir": direction, "message": {"type": "ping", "position": position}})

    def test_missing_from_is_the_end_of_the_audio(self) -> None:
        lines = [line("recording", {"startPosition": 800}), gap(10, 50, filled=False, start=810)]
        recording = sidecar(lines, samples=8000, finished=False)["recording"]
        assert recording["closeReason"] == "crash"
        assert recording["recovered"] == {"missingFrom": 800 + 8000 + 50, "journalCut": False}
        assert "missingSamples" not in recording

    def test_missing_samples_follow_from_client_positions(self) -> None:
        lines = [self.heard("PT0.5S"), self.heard("PT2S"), self.heard("PT9S", "out"), self.heard("soon")]
        recording = sidecar(lines, samples=8000, finished=False)["recording"]
        assert recording["missingSamples"] == 8000

    def test_a_torn_journal_is_recorded(self) -> None:
        recording = sidecar([], is_torn=True, finished=False)["recording"]
        assert recording["recovered"] == {"missingFrom": 0, "journalCut": True}

    def test_a_finished_recording_has_no_crash_fields(self) -> None:
        recording = sidecar([self.heard("PT9S")], {"closeReason": "end"})["recording"]
        assert recording["closeReason"] == "end"
        assert "recovered" not in recording

    def test_without_media_nothing_is_missing(self) -> None:
        recording = sidecar([self.heard("PT9S")], media=None, finished=False)["recording"]
        assert recording["closeReason"] == "crash"
        assert "missingSamples" not in recording


def test_a_journal_without_line_breaks_is_read_in_pieces(tmp_path: Path) -> None:
    """A crash may replace all bytes of the file by zeros."""
    journal = tmp_path / "id.jsonl"
    journal.write_bytes(first_line(journal_header("id", STARTED_AT, MONO)) + bytes(5 * MAX_LINE // 2) + b"\n")
    lines = list(read_lines(journal))
    assert [len(line) for line in lines[1:]] == [MAX_LINE, MAX_LINE, MAX_LINE // 2 + 1]
    assert sidecar(lines[1:])["body"] == []
