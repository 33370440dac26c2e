"""The journal of a draft: JSON lines, the first with the facts of the recording, then one for each entry.

Together with the audio it is enough to make the recording, whoever wrote it and however that ended.

An entry is ``{"timestamp": "PT1.5S", "type": ..., "data": ...}``, its time counted from the start of the recording.
Entries become the ``body`` of the sidecar, in their order, but for three types that are about the recording itself:
the data of ``recording`` and ``finished`` (objects) become members of the sidecar's ``recording``, and those of
``gap`` one element of its ``gaps``. ``finished`` comes last; a journal without it was left behind by a crash.
Lines of the type ``checksum`` are about the audio on disk (:mod:`audiohookd.spool.format.checksums`), and no entries.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from audiohookd.protocol.media import Channel, Format, Media
from audiohookd.spool.format.checksums import ALGORITHM, is_checksum
from audiohookd.spool.safe_files import open_regular

#: Bytes of a line that are held at a time: far more than any entry has. A file that a crash filled with zeros has no
#: line break at all.
MAX_LINE = 1 << 20

#: The year 2286: nothing can be computed with what lies far beyond.
LATEST = 1e10


class JournalMedia(msgspec.Struct, frozen=True):
    """The medium that is recorded."""

    format: Format
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=2)]
    rate: Annotated[int, Meta(gt=0, le=1_000_000)]


class JournalHeader(msgspec.Struct, frozen=True, rename="camel"):
    """What is known of a recording when it begins; ``started_at`` in seconds since the epoch.

    ``checksum`` is the algorithm of the checksums in the journal; None when there are none, as in earlier versions.
    """

    id: str
    started_at: Annotated[float, Meta(ge=0, le=LATEST)]
    media: JournalMedia | None
    checksum: str | None = None

    def wire_media(self) -> Media | None:
        """The medium as the rest of the program knows it."""
        if self.media is None:
            return None
        return Media(self.media.format, self.media.channels, self.media.rate)


class Entry(NamedTuple):
    """An entry: its type, its data as JSON, and all of it as it stands in the journal."""

    type: str
    data: bytes
    line: bytes


class _Entry(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw


#: The types of entries whose data become members of the sidecar's ``recording``.
ABOUT = ("recording", "finished")

#: What may stand around an entry: a loss of power leaves zero bytes in place of what was not on the disk.
_BLANK = b" \t\r\n\0"

_facts = msgspec.json.Decoder(JournalHeader)
_entry = msgspec.json.Decoder(_Entry)
_members = msgspec.json.Decoder(dict[str, Any])


def journal_header(recording_id: str, started_at: float, media: Media | None) -> JournalHeader:
    """The facts of a recording that begins."""
    recorded = JournalMedia(media.format, media.channels, media.rate) if media else None
    return JournalHeader(recording_id, started_at, recorded, ALGORITHM)


def first_line(facts: JournalHeader) -> bytes:
    """The line that a journal begins with."""
    return msgspec.json.encode(facts) + b"\n"


def read_header(line: bytes) -> JournalHeader:
    """The facts in the first line.

    :raises ValueError: it is not such a line.
    """
    return _facts.decode(line)


def finished_line(recording: Mapping[str, Any]) -> bytes:
    """The last line of a recording that came to its end, without the line break."""
    return msgspec.json.encode({"timestamp": "PT0S", "type": "finished", "data": recording})


def read_lines(journal: Path) -> Iterator[bytes]:
    """The lines on disk, the facts first, one held at a time. A line that a crash cut off is passed over. Blocks.

    A line above :data:`MAX_LINE` comes in pieces of that size.
    """
    with open(open_regular(journal, os.O_RDONLY), "rb") as lines:
        while line := lines.readline(MAX_LINE):
            if line.endswith(b"\n") or len(line) == MAX_LINE:
                yield line


def is_torn(journal: Path) -> bool:
    """A crash cut off the last line. Blocks."""
    with open(open_regular(journal, os.O_RDONLY), "rb") as file:
        file.seek(0, 2)
        if file.tell() == 0:
            return False
        file.seek(-1, 2)
        return file.read() != b"\n"


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries in ``lines``, one held at a time.

    A line that is no entry (a plugin's mistake) comes as a log line: nothing of what was noted gets lost, and it
    cannot spoil the sidecar.
    """
    for line in lines:
        text = line.strip(_BLANK)
        if text and not is_checksum(text):
            yield _read(text)


def members(entry: Entry) -> dict[str, Any]:
    """What an entry of type ``recording`` or ``finished`` says."""
    return _members.decode(entry.data)


def _read(text: bytes) -> Entry:
    try:
        decoded = _entry.decode(text)
        entry = Entry(decoded.type, bytes(decoded.data), text)
        text.decode("utf-8")  # what was skipped while decoding was not looked into
        if entry.type in ABOUT:
            members(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _as_log_line(text)
    return entry


def _as_log_line(text: bytes) -> Entry:
    data = msgspec.json.encode({"level": 40, "msg": text.decode("utf-8", "backslashreplace")})
    line = {"timestamp": "PT0S", "type": "logger", "data": msgspec.Raw(data)}
    return Entry("logger", data, msgspec.json.encode(line))
