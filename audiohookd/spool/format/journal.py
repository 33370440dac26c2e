"""The format of a draft's journal: JSON lines, first a header with the facts of the recording, then the entries.

The journal and the audio are sufficient to finalize the recording, also after a crash.

An entry is ``{"timestamp": "PT1.5S", "type": ..., "data": ...}``. Its time counts from the start of the recording.
Entries become the ``body`` of the sidecar, in their order, except for three types that describe the recording itself.
The data of ``recording`` and ``finished`` (objects) become members of the sidecar's ``recording``. The data of each
``gap`` become an element of its ``gaps``. ``finished`` comes last; a journal without it was left behind by a crash.
Lines of the type ``checksum`` describe the audio on disk (:mod:`audiohookd.spool.format.checksums`) and are not
entries.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from audiohookd.protocol.media import Format, Media, RecordedChannel
from audiohookd.spool.format.checksums import ALGORITHM, is_checksum
from audiohookd.spool.safe_files import open_regular

#: Most bytes of a line in memory, far more than any entry has. A file that a crash filled with zeros has no line
#: break at all.
MAX_LINE = 1 << 20

#: Latest start time (the year 2286): datetime cannot represent times far beyond.
LATEST = 1e10


class JournalMedia(msgspec.Struct, frozen=True):
    """The format, channels and rate (Hz) of the recorded audio."""

    format: Format
    channels: Annotated[tuple[RecordedChannel, ...], Meta(min_length=1, max_length=2)]
    rate: Annotated[int, Meta(gt=0, le=1_000_000)]


class JournalHeader(msgspec.Struct, frozen=True, rename="camel"):
    """The facts of a recording that are known when it begins.

    ``started_at`` is in seconds since the epoch. ``checksum`` is the algorithm of the checksums in the journal, or
    None if there are none, as in earlier versions.
    """

    id: str
    started_at: Annotated[float, Meta(ge=0, le=LATEST)]
    media: JournalMedia | None
    checksum: str | None = None

    def wire_media(self) -> Media | None:
        """The media as the protocol describes it, or None without audio."""
        if self.media is None:
            return None
        return Media(self.media.format, self.media.channels, self.media.rate)


class Entry(NamedTuple):
    """An entry: its type, its data as JSON, and its whole line as the journal has it."""

    type: str
    data: bytes
    line: bytes


class _Entry(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw


#: Types of entries: their data become members of the sidecar's ``recording``.
ABOUT = ("recording", "finished")

#: Bytes that may surround an entry. A power loss leaves zero bytes in place of data that was not synced.
_BLANK = b" \t\r\n\0"

_facts = msgspec.json.Decoder(JournalHeader)
_entry = msgspec.json.Decoder(_Entry)
_members = msgspec.json.Decoder(dict[str, Any])


def journal_header(recording_id: str, started_at: float, media: Media | None) -> JournalHeader:
    """The header for a new recording."""
    recorded = JournalMedia(media.format, media.channels, media.rate) if media else None
    return JournalHeader(recording_id, started_at, recorded, ALGORITHM)


def first_line(facts: JournalHeader) -> bytes:
    """The first line of a journal, with its line break."""
    return msgspec.json.encode(facts) + b"\n"


def read_header(line: bytes) -> JournalHeader:
    """Parses the first line of a journal.

    :raises ValueError: the line is not a header.
    """
    return _facts.decode(line)


def finished_line(recording: Mapping[str, Any]) -> bytes:
    """The last line of a completed journal, without its line break."""
    return msgspec.json.encode({"timestamp": "PT0S", "type": "finished", "data": recording})


def read_lines(journal: Path) -> Iterator[bytes]:
    """Reads the lines of a journal on disk, the header first, one at a time. Blocks.

    Skips a last line that a crash cut off. A line of more than :data:`MAX_LINE` bytes comes in pieces of that size.
    """
    with open(open_regular(journal, os.O_RDONLY), "rb") as lines:
        while line := lines.readline(MAX_LINE):
            if line.endswith(b"\n") or len(line) == MAX_LINE:
                yield line


def is_torn(journal: Path) -> bool:
    """Whether a crash cut off the last line. Blocks."""
    with open(open_regular(journal, os.O_RDONLY), "rb") as file:
        file.seek(0, 2)
        if file.tell() == 0:
            return False
        file.seek(-1, 2)
        return file.read() != b"\n"


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Parses the entries in ``lines``, one at a time.

    A line that is not an entry (a plugin's bug) becomes an entry of type ``logger`` with the line as its message: its
    text is kept, and the sidecar stays valid.
    """
    for line in lines:
        text = line.strip(_BLANK)
        if text and not is_checksum(text):
            yield _read(text)


def members(entry: Entry) -> dict[str, Any]:
    """The data of an entry of type ``recording`` or ``finished``."""
    return _members.decode(entry.data)


def _read(text: bytes) -> Entry:
    try:
        decoded = _entry.decode(text)
        entry = Entry(decoded.type, bytes(decoded.data), text)
        text.decode("utf-8")  # msgspec does not validate the members that it skips
        if entry.type in ABOUT:
            members(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _as_log_line(text)
    return entry


def _as_log_line(text: bytes) -> Entry:
    data = msgspec.json.encode({"level": 40, "msg": text.decode("utf-8", "backslashreplace")})
    line = {"timestamp": "PT0S", "type": "logger", "data": msgspec.Raw(data)}
    return Entry("logger", data, msgspec.json.encode(line))
