"""Sidecars, composed from journals."""

import json
from collections.abc import Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from spool_rig import L16_STEREO, MONO, STARTED_AT

from audiohookd.protocol.media import Media
from audiohookd.spool.journal import Facts, facts_of, first_line, read_facts
from audiohookd.spool.sidecar import AudioFile, compose

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
    lines: list[bytes], recording: dict[str, object] | None = None, media: Media | None = MONO, samples: int = 0
) -> dict:
    audio = AudioFile("id.wav", 60, "ab") if media else None
    facts = facts_of("id", STARTED_AT, media)
    return json.loads(b"".join(compose(facts, samples, audio, recording or {}, lambda: lines)))


def line(kind: str, data: object) -> bytes:
    return msgspec.json.encode({"timestamp": "PT1.5S", "type": kind, "data": data}) + b"\n"


@given(st.lists(entries, max_size=8))
def test_every_entry_stands_in_it_once_and_in_order(noted: list[dict]) -> None:
    made = sidecar([msgspec.json.encode(entry) + b"\n" for entry in noted])
    assert made["body"] == [entry for entry in noted if entry["type"] != "gap"]
    assert made["recording"]["gaps"] == [entry["data"] for entry in noted if entry["type"] == "gap"]


@given(st.lists(st.binary(max_size=60).filter(lambda text: b"\n" not in text), max_size=8))
def test_is_json_whatever_stands_in_the_journal(lines: list[bytes]) -> None:
    made = sidecar(lines)
    assert len(made["body"]) <= len(lines)


def test_header_says_when_and_what() -> None:
    assert sidecar([])["header"] == {"timestamp": "2025-12-31T23:59:59.250Z", "id": "id"}


def test_what_is_known_from_the_disk() -> None:
    recording = sidecar([], media=L16_STEREO, samples=12_000)["recording"]
    assert recording == {
        "startedAt": "2025-12-31T23:59:59.250Z",
        "media": {"format": "L16", "channels": ["internal", "external"], "rate": 8000},
        "samples": 12_000,
        "duration": "PT1.5S",
        "audio": {"file": "id.wav", "bytes": 60, "sha256": "ab"},
        "gaps": [],
    }


def test_without_media() -> None:
    recording = sidecar([], media=None)["recording"]
    assert (recording["media"], recording["audio"], recording["samples"]) == (None, None, 0)


def test_what_came_later_counts_and_the_disk_counts_most() -> None:
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


def test_is_made_a_line_at_a_time() -> None:
    """A long call's journal is never held in memory as a whole."""
    facts = facts_of("id", STARTED_AT, MONO)
    read: list[int] = []

    def read_lines() -> Iterator[bytes]:
        for number in range(1000):
            read.append(number)
            yield line("logger", number)

    pieces = compose(facts, 0, AudioFile("id.wav", 60, "ab"), {}, read_lines)
    for _ in range(10):
        next(pieces)
    assert len(read) < 12


@given(st.sampled_from([MONO, L16_STEREO, None]), st.floats(0, 2**40))
def test_facts_survive_the_journal(media: Media | None, started_at: float) -> None:
    facts: Facts = read_facts(first_line(facts_of("id", started_at, media)))
    assert (facts.id, facts.started_at, facts.wire_media()) == ("id", started_at, media)
