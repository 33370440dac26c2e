"""The sidecar of a recording: one JSON object, composed from the journal line by line (pure).

``header`` and ``body`` have the shape that tools for AudioHook recordings know: start time and id; then the entries,
each with its time since the start. ``recording`` is ours: what the audio file holds and whose it is. In it

- ``media`` is the format, the channels in the order in which they are interleaved, and the rate; null without audio;
- ``samples`` counts what lies in the file, per channel, and ``duration`` is that as a time;
- ``startPosition`` is the position in the call, in samples, of the first sample of the file;
- ``gaps`` are the stretches of the call without audio: ``start`` (position in the call) and ``samples``; ``cause``;
  ``filled``, that is, whether silence stands in the file for it; and ``offset``, the sample of the file where;
- ``audio`` is name, size in bytes and SHA-256 of the audio file, all of it; null without audio.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from audiohookd.protocol.position import samples_to_duration
from audiohookd.spool.journal import Entry, Facts, entries, members


class AudioFile(msgspec.Struct, frozen=True):
    """The audio file as it lies on disk."""

    file: str
    bytes: int
    sha256: str


def compose(
    facts: Facts,
    samples: int,
    audio: AudioFile | None,
    recording: Mapping[str, Any],
    read_lines: Callable[[], Iterable[bytes]],
) -> Iterator[bytes]:
    """The sidecar in pieces of at most a line.

    :param recording: further members of ``recording``; they count more than those in the journal.
    :param read_lines: reads the journal after its first line, from there on each time it is called.
    """
    header = {"timestamp": start_time(facts), "id": facts.id}
    yield b'{"header":' + msgspec.json.encode(header) + b',\n"body":[\n'
    yield from _joined(entry.line for entry in entries(read_lines()) if entry.type not in ("gap", "recording"))
    about = _noted(entries(read_lines())) | dict(recording) | _on_disk(facts, samples, audio)
    yield b'\n],\n"recording":' + msgspec.json.encode(about)[:-1] + b',"gaps":['
    yield from _joined(entry.data for entry in entries(read_lines()) if entry.type == "gap")
    yield b"]}}\n"


def start_time(facts: Facts) -> str:
    """When the recording starts, in ISO 8601, UTC, with milliseconds."""
    start = datetime.fromtimestamp(facts.started_at, UTC)
    return start.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _on_disk(facts: Facts, samples: int, audio: AudioFile | None) -> dict[str, Any]:
    return {
        "startedAt": start_time(facts),
        "media": facts.media,
        "samples": samples,
        "duration": samples_to_duration(samples, facts.media.rate) if facts.media else "PT0S",
        "audio": audio,
    }


def _noted(noted: Iterable[Entry]) -> dict[str, Any]:
    """The members of ``recording`` in the journal; what came later counts."""
    about: dict[str, Any] = {}
    for entry in noted:
        if entry.type == "recording":
            about |= members(entry)
    return about


def _joined(values: Iterable[bytes]) -> Iterator[bytes]:
    separator = b""
    for value in values:
        yield separator + value
        separator = b",\n"
