"""The files of one draft, and how they grow. For the writer's thread only."""

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from audiohookd.protocol.duration import samples_to_duration
from audiohookd.spool.format.checksums import checksum_line
from audiohookd.spool.format.journal import JournalHeader, first_line
from audiohookd.spool.write.append_file import SYSCALLS, AppendFile, Syscalls
from audiohookd.spool.write.journal_writer import JournalWriter
from audiohookd.spool.write.wav_writer import WavWriter

#: Bytes of silence that make up for a loss, as far as one call of :meth:`DraftFiles.append` goes.
MAX_SILENCE_PER_COMMIT = 32 << 20
#: Bytes of audio that wait for a journal that is refused, about a minute of a call: more is worth more than what
#: tells of it.
MAX_HELD_AUDIO = 1 << 20


class DraftPaths:
    """Where the files of a draft are."""

    def __init__(self, directory: Path, recording_id: str) -> None:
        self.journal = directory / f"{recording_id}.jsonl"
        self.audio = directory / f"{recording_id}.wav"
        self.sidecar = directory / f"{recording_id}.json"
        #: The sidecar before all of it is written.
        self.partial_sidecar = directory / f"{recording_id}.json.tmp"


class NotAudio(OSError):
    """What was given is no audio of this recording."""


#: The caller's, for which the disk cannot be blamed. The second: another recording has this id.
CALLER_ERRORS = (NotAudio, FileExistsError)


class WriteResult(Struct, frozen=True, gc=False):
    """What became of what was to be written.

    ``fault`` is why not all was. What is not ``audio_taken``, or not ``lines_taken``, has to be given again.
    ``is_pending``: something is still to be written, even if nothing more is given. ``lost``: samples (per channel)
    that were given up with this call. ``grown``: the files that are larger now; ``directory``: where files were made.
    ``unmade``: what is wrong with a line that could not be made.
    """

    fault: OSError | None = None
    audio_taken: bool = True
    lines_taken: bool = True
    is_pending: bool = False
    lost: int = 0
    grown: tuple[Path, ...] = ()
    directory: Path | None = None
    unmade: str = ""


#: Nothing was to be written.
_IDLE = WriteResult()


class DraftFiles:
    """Audio and journal of one draft, made when first written to.

    The journal comes first, with whose call it is: audio without that could not be told what it is after a crash.
    Later, too, entries come before the audio that they may speak of, so what they say of gaps can go beyond its end.
    What the disk refuses, be it to make a file, costs only the audio that could not be written: it becomes silence as
    soon as it takes something again (see :class:`Track`), and an entry of type ``gap`` tells where and why; when the
    same gap has grown, another one with the same offset. Other entries wait for the disk (see :class:`Lines`).
    After the audio comes its checksum, by which a repair tells it from what a loss of power left in its place.
    """

    def __init__(self, paths: DraftPaths, facts: JournalHeader, disk: Syscalls = SYSCALLS) -> None:
        media = facts.wire_media()
        self._journal = JournalWriter(paths.journal, first_line(facts), disk)
        self._wav = None if media is None else WavWriter(paths.audio, media, disk)
        self._files: list[AppendFile] = [self._journal.file]
        if self._wav is not None:
            self._files.append(self._wav.file)
        self._rate = 0 if media is None else media.rate
        self._foreign_file: FileExistsError | None = None
        self._grown = WriteResult(grown=tuple([file.path for file in self._files]))

    def append(
        self,
        audio: list[bytes],
        journal: Sequence[bytes],
        end: bytes | None = None,
        is_final: bool = False,
        silence: int = MAX_SILENCE_PER_COMMIT,
    ) -> WriteResult:
        """Writes as much as the disk takes.

        :param end: the last line of the journal; nothing follows, and the files are closed once all is written.
        :param is_final: they are closed now, whatever becomes of it: there will be no other try.
        :param silence: bytes that may be written at most for what was lost before.
        """
        if self._foreign_file is not None:
            return WriteResult(self._foreign_file)
        if not journal and end is None and not is_final and self._is_aligned():
            return self._append_audio_only(audio)
        sizes = [file.size for file in self._files]
        fault = self._write_silence(silence)
        if fault is None and self._has_pending_silence():
            return replace(self._outcome(sizes, None), audio_taken=False, lines_taken=False, is_pending=True)
        refused = self._append_lines(journal)
        if self._may_wait(fault, refused, audio) and not is_final:
            return replace(self._outcome(sizes, refused), audio_taken=False, is_pending=True)
        fault = self._append_audio(audio, fault if self._journal.is_begun else refused) or refused
        given_up = self._abandon_gap() if is_final else []
        last = None if self._has_pending_silence() else end
        refused = self._append_last_lines(given_up, last)
        fault = fault or refused
        if isinstance(fault, FileExistsError):
            self._foreign_file = fault  # for good: later it could eat what the other one left behind
        if is_final or self._foreign_file is not None or (last is not None and refused is None):
            return self._outcome(sizes, self._close() or fault)
        is_pending = (
            end is not None or refused is not None or self._has_pending_silence() or self._journal.has_pending
        )
        return replace(self._outcome(sizes, fault), is_pending=is_pending)

    def _is_aligned(self) -> bool:
        """Nothing is missing of what was given before, and both files are there: nearly always."""
        track, lines = self._wav, self._journal
        return track is not None and track.is_begun and not track.has_pending_silence and not lines.has_pending

    def _append_audio_only(self, audio: list[bytes]) -> WriteResult:
        """Some more audio, and nothing else: most of the work of a call."""
        fault = self._append_audio(audio, None)
        refused = self._append_last_lines()
        if fault is None and refused is None:
            return self._grown if audio else _IDLE
        lost = 0 if self._wav is None else self._wav.lost()
        is_pending = refused is not None or self._has_pending_silence()
        return WriteResult(fault or refused, is_pending=is_pending, lost=lost, grown=self._grown.grown)

    def _write_silence(self, silence: int) -> OSError | None:
        if self._wav is None or not self._wav.has_pending_silence:
            return None
        try:
            if not self._journal.is_begun:
                self._journal.append([])
            self._wav.write_silence(silence, self._note_gap)
        except OSError as fault:
            return fault
        return None

    def _note_gap(self, gap: Mapping[str, Any]) -> None:
        """Not kept when it is refused: what is lost until the next try belongs to the same gap."""
        self._journal.append([], _gap_line(gap, self._rate))

    def _append_audio(self, audio: list[bytes], fault: OSError | None) -> OSError | None:
        """``fault``: why it cannot even be tried."""
        if self._wav is None:
            return NotAudio(errno.EBADF, "a recording without media takes no audio") if any(audio) else None
        if fault is not None:
            self._wav.record_loss(audio, fault)
            return fault
        try:
            self._wav.append(audio)
        except OSError as refused:
            return refused
        except (TypeError, ValueError) as mistake:
            return NotAudio(errno.EINVAL, f"not written: {mistake}")
        return None

    def _append_lines(self, journal: Sequence[bytes]) -> OSError | None:
        try:
            self._journal.append(journal)
        except OSError as fault:
            return fault
        return None

    def _append_last_lines(self, journal: Sequence[bytes] = (), end: bytes | None = None) -> OSError | None:
        """``journal``, the checksum of the audio that has none yet, and ``end``."""
        checksum = None if self._wav is None else self._wav.checksum()
        line = b"" if checksum is None else checksum_line(checksum)
        try:
            self._journal.append(journal, line + (end or b""))
        except OSError as fault:
            return fault
        if self._wav is not None and checksum is not None:
            self._wav.checksum_written(checksum)
        return None

    def _abandon_gap(self) -> list[bytes]:
        gaps = [] if self._wav is None else self._wav.abandon()
        return [_gap_line(gap, self._rate) for gap in gaps]

    def _has_pending_silence(self) -> bool:
        return self._wav is not None and self._wav.has_pending_silence

    def _close(self) -> OSError | None:
        faults: list[OSError] = []
        for file in self._files:
            try:
                file.close()
            except OSError as fault:
                faults.append(fault)
        return faults[0] if faults else None

    def _may_wait(self, fault: OSError | None, refused: OSError | None, audio: Sequence[bytes]) -> bool:
        """Only the journal is refused: for a time the audio waits for what tells of it."""
        is_alone = fault is None and refused is not None and self._journal.is_begun
        return is_alone and sum(map(len, audio)) < MAX_HELD_AUDIO

    def _outcome(self, sizes: Sequence[int], fault: OSError | None) -> WriteResult:
        grown = tuple([file.path for file, before in zip(self._files, sizes, strict=True) if file.size > before])
        directory = self._journal.file.path.parent if grown and 0 in sizes else None
        lost = 0 if self._wav is None else self._wav.lost()
        return WriteResult(fault, lost=lost, grown=grown, directory=directory)


def _gap_line(gap: Mapping[str, Any], rate: int) -> bytes:
    since_start = samples_to_duration(gap["offset"], rate)
    return msgspec.json.encode({"timestamp": since_start, "type": "gap", "data": gap}) + b"\n"
