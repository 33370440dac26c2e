"""A ready recording, for tests of carriers and notifiers."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import finished_line, journal_header
from audiohookd.spool.format.sidecar import AudioFile, compose
from audiohookd.testing.constants import (
    CONVERSATION_ID,
    CORRELATION_ID,
    ORGANIZATION_ID,
    PARTICIPANT,
    PATH,
    SESSION_ID,
    START,
    STEREO,
)

#: A WAV file of one second of silence, as the recorder writes it.
WAV = wav.header(STEREO, STEREO.rate * STEREO.frame_bytes) + STEREO.silence(STEREO.rate)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class FakeRecording(Recording):
    """A ready recording for tests of carriers and notifiers. Its files are written below ``spool / "ready"``.

    :param spool: the directory of the spool.
    :param audio: the content of the audio file, any bytes. The sidecar has their size and digest, and otherwise
        describes :data:`WAV`. None for a recording without audio.
    :param about: overrides members of the sidecar's ``recording``.
    :param receipts: receipts of the carriers that have stored it, by the names of their tables.
    :param recording_id: UUID; a random one by default.
    """

    def __init__(
        self,
        spool: Path,
        audio: bytes | None = WAV,
        about: Mapping[str, Any] = _NOTHING,
        receipts: Mapping[str, Mapping[str, Any]] = _NOTHING,
        recording_id: str | None = None,
    ) -> None:
        recording_id = recording_id or str(uuid4())
        file = None if audio is None else _described(f"{recording_id}.wav", audio)
        sidecar = _sidecar(recording_id, file)
        sidecar["recording"] |= about
        files = {paths.SIDECAR: json.dumps(sidecar).encode()}
        files |= {} if audio is None else {paths.AUDIO: audio}
        files |= {paths.stored_suffix(name): json.dumps(receipt).encode() for name, receipt in receipts.items()}
        day = paths.SpoolPaths(spool).ready / sidecar["recording"]["startedAt"][:10]
        super().__init__(day, recording_id, frozenset(files))
        day.mkdir(parents=True, exist_ok=True)
        for suffix, content in files.items():
            self.path(suffix).write_bytes(content)


def _described(name: str, content: bytes) -> AudioFile:
    return AudioFile(name, len(content), hashlib.sha256(content).hexdigest())


def _sidecar(recording_id: str, audio: AudioFile | None) -> Any:
    """The sidecar that the recorder writes for one second of silence, or for a call without audio."""
    about = {
        "session": SESSION_ID,
        "conversation": CONVERSATION_ID,
        "organization": ORGANIZATION_ID,
        "correlation": CORRELATION_ID,
        "route": PATH,
        "participant": PARTICIPANT,
        "language": "en-US",
        "startPosition": 0,
        "closeReason": "end",
    }
    facts = journal_header(recording_id, START, STEREO if audio else None)
    samples = STEREO.rate if audio else 0
    return json.loads(b"".join(compose(facts, samples, audio, False, lambda: [finished_line(about)])))
