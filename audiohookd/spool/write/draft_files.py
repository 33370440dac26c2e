"""Writes the audio file and the journal of one draft. Only for the writer thread."""

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

#: Most bytes of silence that one call of :meth:`DraftFiles.append` writes for lost audio.
MAX_SILENCE_PER_COMMIT = 32 << 20
#: Most bytes of audio that wait while writes of the journal fail, about a minute of a call. More audio is written
#: without waiting: losing it would be worse than losing the entries about it.
MAX_HELD_AUDIO = 1 << 20


class DraftPaths:
    """The paths of the files of a draft."""

    def __init__(self, directory: Path, recording_id: str) -> None:
        self.journal = directory / f"{recording_id}.jsonl"
        self.audio = directory / f"{recording_id}.wav"
        self.sidecar = directory / f"{recording_id}.json"
        #: The sidecar until it is complete.
        self.partial_sidecar = directory / f"{recording_id}.json.tmp"


class NotAudio(OSError):
    """The data is not valid audio for this recording."""


#: Errors of the caller, not of the disk. FileExistsError: another recording has the same id.
CALLER_ERRORS = (NotAudio, FileExistsError)


class WriteResult(Struct, frozen=True, gc=False):
    """The result of a write.

    :param fault: the error, if not everything was written.
    :param audio_taken: False if the caller must pass the audio again.
    :param lines_taken: False if the caller must pass the lines again.
    :param is_pending: more must be written, even if nothing is added.
    :param lost: samples (per channel) lost in this call.
    :param grown: the files that have grown.
    :param directory: the directory in which files were created.
    :param unmade: the error of a line that could not be rendered.
    """

    fault: OSError | None = None
    audio_taken: bool = True
    lines_taken: bool = True
    is_pending: bool = False
    lost: int = 0
    grown: tuple[Path, ...] = ()
    directory: Path | None = None
    unmade: str = ""


#: The result when there was nothing to write.
_IDLE = WriteResult()


class DraftFiles:
    """The audio and the journal of one draft. The first write creates the files.

    The journal is written first, because its header identifies the call: after a crash, audio without it could not be
    attributed. Each later write also puts entries before audio, so entries for gaps may refer to a position beyond
    the end of the audio.

    A disk error costs only the audio that could not be written. When the disk recovers, silence replaces that audio
    (see :class:`WavWriter`), and an entry of type ``gap`` says where and why. If the same gap grows, another entry
    with the same offset follows. Other entries wait for the disk (see :class:`JournalWriter`).

    A checksum follows the audio. With it, a repair detects audio that a power loss damaged.
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
        """Writes as much as possible.

        :param end: the last line of the journal. The files are closed when everything is written.
        :param is_final: the files are closed now, even after an error: there is no further retry.
        :param silence: most bytes of silence to write for audio that was lost before.
        """
        if self._foreign_file is not None:
            return WriteResult(self._foreign_file)
        if not journal and end is None and not is_final and self._is_aligned():
            return self._append_audio_only(audio)
        sizes = [file.size for file in self._files]
        error = self._write_silence(silence)
        if error is None and self._has_pending_silence():
            return replace(self._outcome(sizes, None), audio_taken=False, lines_taken=False, is_pending=True)
        journal_error = self._append_lines(journal)
        if self._may_wait(error, journal_error, audio) and not is_final:
            return replace(self._outcome(sizes, journal_error), audio_taken=False, is_pending=True)
        error = self._append_audio(audio, error if self._journal.is_begun else journal_error) or journal_error
        given_up = self._abandon_gap() if is_final else []
        last = None if self._has_pending_silence() else end
        journal_error = self._append_last_lines(given_up, last)
        error = error or journal_error
        if isinstance(error, FileExistsError):
            self._foreign_file = error  # for good: a retry could overwrite the other recording after its repair
        if is_final or self._foreign_file is not None or (last is not None and journal_error is None):
            return self._outcome(sizes, self._close() or error)
        is_pending = (
            end is not None or journal_error is not None or self._has_pending_silence() or self._journal.has_pending
        )
        return replace(self._outcome(sizes, error), is_pending=is_pending)

    def _is_aligned(self) -> bool:
        """Whether everything was written so far and both files exist: nearly always."""
        track, lines = self._wav, self._journal
        return track is not None and track.is_begun and not track.has_pending_silence and not lines.has_pending

    def _append_audio_only(self, audio: list[bytes]) -> WriteResult:
        """Appends audio when there is nothing else to write: most commits of a call."""
        error = self._append_audio(audio, None)
        journal_error = self._append_last_lines()
        if error is None and journal_error is None:
            return self._grown if audio else _IDLE
        lost = 0 if self._wav is None else self._wav.lost()
        is_pending = journal_error is not None or self._has_pending_silence()
        return WriteResult(error or journal_error, is_pending=is_pending, lost=lost, grown=self._grown.grown)

    def _write_silence(self, silence: int) -> OSError | None:
        if self._wav is None or not self._wav.has_pending_silence:
            return None
        try:
            if not self._journal.is_begun:
                self._journal.append([])
            self._wav.write_silence(silence, self._note_gap)
        except OSError as error:
            return error
        return None

    def _note_gap(self, gap: Mapping[str, Any]) -> None:
        """Writes the entry for a gap. Not kept after an error: audio lost until the next retry extends this gap."""
        self._journal.append([], _gap_line(gap, self._rate))

    def _append_audio(self, audio: list[bytes], earlier: OSError | None) -> OSError | None:
        """Appends audio.

        :param earlier: an earlier error because of which the audio is lost without a write.
        """
        if self._wav is None:
            return NotAudio(errno.EBADF, "rejected audio: the recording has no media") if any(audio) else None
        if earlier is not None:
            self._wav.record_loss(audio, earlier)
            return earlier
        try:
            self._wav.append(audio)
        except OSError as error:
            return error
        except (TypeError, ValueError) as error:
            return NotAudio(errno.EINVAL, f"not written: {error}")
        return None

    def _append_lines(self, journal: Sequence[bytes]) -> OSError | None:
        try:
            self._journal.append(journal)
        except OSError as error:
            return error
        return None

    def _append_last_lines(self, journal: Sequence[bytes] = (), end: bytes | None = None) -> OSError | None:
        """Writes ``journal``, the checksum of the audio since the last one, and ``end``."""
        checksum = None if self._wav is None else self._wav.checksum()
        line = b"" if checksum is None else checksum_line(checksum)
        try:
            self._journal.append(journal, line + (end or b""))
        except OSError as error:
            return error
        if self._wav is not None and checksum is not None:
            self._wav.checksum_written(checksum)
        return None

    def _abandon_gap(self) -> list[bytes]:
        gaps = [] if self._wav is None else self._wav.abandon()
        return [_gap_line(gap, self._rate) for gap in gaps]

    def _has_pending_silence(self) -> bool:
        return self._wav is not None and self._wav.has_pending_silence

    def _close(self) -> OSError | None:
        errors: list[OSError] = []
        for file in self._files:
            try:
                file.close()
            except OSError as error:
                errors.append(error)
        return errors[0] if errors else None

    def _may_wait(self, error: OSError | None, journal_error: OSError | None, audio: Sequence[bytes]) -> bool:
        """Whether the audio waits for the journal: only writes of the journal fail, and there is little audio."""
        is_journal_only = error is None and journal_error is not None and self._journal.is_begun
        return is_journal_only and sum(map(len, audio)) < MAX_HELD_AUDIO

    def _outcome(self, sizes: Sequence[int], error: OSError | None) -> WriteResult:
        grown = tuple([file.path for file, before in zip(self._files, sizes, strict=True) if file.size > before])
        directory = self._journal.file.path.parent if grown and 0 in sizes else None
        lost = 0 if self._wav is None else self._wav.lost()
        return WriteResult(error, lost=lost, grown=grown, directory=directory)


def _gap_line(gap: Mapping[str, Any], rate: int) -> bytes:
    since_start = samples_to_duration(gap["offset"], rate)
    return msgspec.json.encode({"timestamp": since_start, "type": "gap", "data": gap}) + b"\n"
