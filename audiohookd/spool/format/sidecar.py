"""The sidecar of a recording: one JSON object, composed from the journal line by line (pure).

``header`` and ``body`` have the shape that tools for AudioHook recordings expect: start time and id, then the
entries, each with its time since the start. ``recording`` is specific to audiohookd. It describes the audio file and
its call:

- ``media`` is the format, the channels in the order in which they are interleaved, and the rate; null without audio;
- ``samples`` is the number of samples in the file, per channel, and ``duration`` is their time;
- ``startPosition`` is the position in the call, in samples, of the first sample of the file;
- ``gaps`` are the stretches of the call without audio. Each has ``start`` (position in the call), ``samples``,
  ``cause``, ``filled`` (whether the file has silence for it), and ``offset`` (its first sample in the file). A gap
  with the cause ``disk`` is audio that was received but could not be written. It may overlap other gaps. If such a
  gap at the end is not filled, the ``offset`` of the next one counts it as if it were;
- ``audio`` is the name, the size in bytes and the SHA-256 of the whole audio file; null without audio;
- ``recovered`` exists if a crash ended the recording, or if a power loss destroyed the end of its audio.
  ``missingFrom`` is the position in the call after which audio may be missing. ``journalCut`` says whether the last
  line of the journal was cut off.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from audiohookd.protocol.duration import samples_to_duration
from audiohookd.spool.format.crash_fields import CRASH, crash_fields
from audiohookd.spool.format.gaps import extent, has_start, left_out, located
from audiohookd.spool.format.journal import ABOUT, Entry, JournalHeader, entries, members


class AudioFile(msgspec.Struct, frozen=True):
    """Name, size and SHA-256 of the audio file on disk."""

    file: str
    bytes: int
    sha256: str


def compose(
    facts: JournalHeader,
    samples: int,
    audio: AudioFile | None,
    is_torn: bool,
    read_lines: Callable[[], Iterable[bytes]],
    written: int = 0,
) -> Iterator[bytes]:
    """Composes the sidecar, in pieces of at most one line.

    :param samples: samples in the audio file, per channel.
    :param is_torn: whether a crash cut off the last line of the journal.
    :param read_lines: iterates over the journal after its first line; called several times.
    :param written: samples that were written according to the journal; samples beyond ``samples`` were lost.
    """

    def read(*types: str) -> Iterator[Entry]:
        return (entry for entry in entries(read_lines()) if entry.type in types)

    header = {"timestamp": start_time(facts), "id": facts.id}
    yield b'{"header":' + msgspec.json.encode(header) + b',\n"body":[\n'
    yield from _joined(entry.line for entry in entries(read_lines()) if entry.type not in ("gap", *ABOUT))
    about = _merged(read(*ABOUT))
    start, known = _start_position(about), extent(read("gap"), samples)
    is_finished = any(read("finished"))
    if not is_finished:
        about["closeReason"] = CRASH
    if not is_finished or written > samples:
        end = start + samples + left_out(read("gap"), known)
        reached = start + written + left_out(read("gap"), extent(read("gap"), written))
        about |= crash_fields(read("audiohook"), end, reached, _rate(facts))
        about["recovered"]["journalCut"] = is_torn
    about |= _on_disk(facts, samples, audio)
    yield b'\n],\n"recording":' + msgspec.json.encode(about)[:-1] + b',"gaps":['
    of_recorder = (entry for entry in read("gap") if has_start(entry))
    of_writer = (entry for entry in read("gap") if not has_start(entry))
    yield from _joined(located(of_recorder, of_writer, start, known))
    yield b"]}}\n"


def start_time(facts: JournalHeader) -> str:
    """The start time of the recording in ISO 8601, UTC, with milliseconds."""
    start = datetime.fromtimestamp(facts.started_at, UTC)
    return start.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _on_disk(facts: JournalHeader, samples: int, audio: AudioFile | None) -> dict[str, Any]:
    return {
        "startedAt": start_time(facts),
        "media": facts.media,
        "samples": samples,
        "duration": samples_to_duration(samples, facts.media.rate) if facts.media else "PT0S",
        "audio": audio,
    }


def _start_position(about: Mapping[str, Any]) -> int:
    start = about.get("startPosition")
    return start if isinstance(start, int) else 0


def _rate(facts: JournalHeader) -> int:
    """The sample rate, or 0 without audio: then no audio can be missing."""
    return facts.media.rate if facts.media else 0


def _merged(noted: Iterable[Entry]) -> dict[str, Any]:
    """The members of ``recording`` in the journal's entries. A later value replaces an earlier one."""
    about: dict[str, Any] = {}
    for entry in noted:
        about |= members(entry)
    return about


def _joined(values: Iterable[bytes]) -> Iterator[bytes]:
    separator = b""
    for value in values:
        yield separator + value
        separator = b",\n"
