"""The files of one draft, and how they grow. For the writer's thread only."""

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from audiohookd.protocol.position import samples_to_duration
from audiohookd.spool import growing
from audiohookd.spool.checksums import checksum_line
from audiohookd.spool.growing import DISK, Disk, GrowingFile
from audiohookd.spool.journal import Facts, first_line
from audiohookd.spool.lines import Lines
from audiohookd.spool.track import Track

FILE_MODE = growing.FILE_MODE
DIRECTORY_MODE = 0o750

#: Bytes of silence that make up for a loss, as far as one call of :meth:`DraftFiles.append` goes.
SILENCE = 32 << 20
#: Bytes of audio that wait for a journal that is refused, about a minute of a call: more is worth more than what
#: tells of it.
PATIENCE = 1 << 20


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
MISTAKES = (NotAudio, FileExistsError)


class Outcome(Struct, frozen=True, gc=False):
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
_IDLE = Outcome()


class DraftFiles:
    """Audio and journal of one draft, made when first written to.

    The journal comes first, with whose call it is: audio without that could not be told what it is after a crash.
    Later, too, entries come before the audio that they may speak of, so what they say of gaps can go beyond its end.
    What the disk refuses, be it to make a file, costs only the audio that could not be written: it becomes silence as
    soon as it takes something again (see :class:`Track`), and an entry of type ``gap`` tells where and why; when the
    same gap has grown, another one with the same offset. Other entries wait for the disk (see :class:`Lines`).
    After the audio comes its checksum, by which a repair tells it from what a loss of power left in its place.
    """

    def __init__(self, paths: DraftPaths, facts: Facts, disk: Disk = DISK) -> None:
        media = facts.wire_media()
        self._lines = Lines(paths.journal, first_line(facts), disk)
        self._track = None if media is None else Track(paths.audio, media, disk)
        self._files: list[GrowingFile] = [self._lines.file]
        if self._track is not None:
            self._files.append(self._track.file)
        self._rate = 0 if media is None else media.rate
        self._foreign: FileExistsError | None = None
        self._grown = Outcome(grown=tuple([file.path for file in self._files]))

    def append(
        self,
        audio: list[bytes],
        journal: Sequence[bytes],
        end: bytes | None = None,
        is_final: bool = False,
        silence: int = SILENCE,
    ) -> Outcome:
        """Writes as much as the disk takes.

        :param end: the last line of the journal; nothing follows, and the files are closed once all is written.
        :param is_final: they are closed now, whatever becomes of it: there will be no other try.
        :param silence: bytes that may be written at most for what was lost before.
        """
        if self._foreign is not None:
            return Outcome(self._foreign)
        if not journal and end is None and not is_final and self._is_even():
            return self._append_alone(audio)
        sizes = [file.size for file in self._files]
        fault = self._make_up(silence)
        if fault is None and self._owes_audio():
            return replace(self._outcome(sizes, None), audio_taken=False, lines_taken=False, is_pending=True)
        refused = self._append_lines(journal)
        if self._may_wait(fault, refused, audio) and not is_final:
            return replace(self._outcome(sizes, refused), audio_taken=False, is_pending=True)
        fault = self._append_audio(audio, fault if self._lines.is_begun else refused) or refused
        given_up = self._give_up() if is_final else []
        last = None if self._owes_audio() else end
        refused = self._append_last_lines(given_up, last)
        fault = fault or refused
        if isinstance(fault, FileExistsError):
            self._foreign = fault  # for good: later it could eat what the other one left behind
        if is_final or self._foreign is not None or (last is not None and refused is None):
            return self._outcome(sizes, self._close() or fault)
        is_pending = end is not None or refused is not None or self._owes_audio() or self._lines.is_owed
        return replace(self._outcome(sizes, fault), is_pending=is_pending)

    def _is_even(self) -> bool:
        """Nothing is missing of what was given before, and both files are there: nearly always."""
        track, lines = self._track, self._lines
        return track is not None and track.is_begun and not track.is_owed and not lines.is_owed

    def _append_alone(self, audio: list[bytes]) -> Outcome:
        """Some more audio, and nothing else: most of the work of a call."""
        fault = self._append_audio(audio, None)
        refused = self._append_last_lines()
        if fault is None and refused is None:
            return self._grown if audio else _IDLE
        lost = 0 if self._track is None else self._track.lost()
        is_pending = refused is not None or self._owes_audio()
        return Outcome(fault or refused, is_pending=is_pending, lost=lost, grown=self._grown.grown)

    def _make_up(self, silence: int) -> OSError | None:
        if self._track is None or not self._track.is_owed:
            return None
        try:
            if not self._lines.is_begun:
                self._lines.append([])
            self._track.make_up(silence, self._tell)
        except OSError as fault:
            return fault
        return None

    def _tell(self, gap: Mapping[str, Any]) -> None:
        """Not kept when it is refused: what is lost until the next try belongs to the same gap."""
        self._lines.append([], _gap_line(gap, self._rate))

    def _append_audio(self, audio: list[bytes], fault: OSError | None) -> OSError | None:
        """``fault``: why it cannot even be tried."""
        if self._track is None:
            return NotAudio(errno.EBADF, "a recording without media takes no audio") if any(audio) else None
        if fault is not None:
            self._track.lose(audio, fault)
            return fault
        try:
            self._track.append(audio)
        except OSError as refused:
            return refused
        except (TypeError, ValueError) as mistake:
            return NotAudio(errno.EINVAL, f"not written: {mistake}")
        return None

    def _append_lines(self, journal: Sequence[bytes]) -> OSError | None:
        try:
            self._lines.append(journal)
        except OSError as fault:
            return fault
        return None

    def _append_last_lines(self, journal: Sequence[bytes] = (), end: bytes | None = None) -> OSError | None:
        """``journal``, the checksum of the audio that has none yet, and ``end``."""
        checksum = None if self._track is None else self._track.checksum()
        line = b"" if checksum is None else checksum_line(checksum)
        try:
            self._lines.append(journal, line + (end or b""))
        except OSError as fault:
            return fault
        if self._track is not None and checksum is not None:
            self._track.checksum_written(checksum)
        return None

    def _give_up(self) -> list[bytes]:
        gaps = [] if self._track is None else self._track.give_up()
        return [_gap_line(gap, self._rate) for gap in gaps]

    def _owes_audio(self) -> bool:
        return self._track is not None and self._track.is_owed

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
        is_alone = fault is None and refused is not None and self._lines.is_begun
        return is_alone and sum(map(len, audio)) < PATIENCE

    def _outcome(self, sizes: Sequence[int], fault: OSError | None) -> Outcome:
        grown = tuple([file.path for file, before in zip(self._files, sizes, strict=True) if file.size > before])
        directory = self._lines.file.path.parent if grown and 0 in sizes else None
        lost = 0 if self._track is None else self._track.lost()
        return Outcome(fault, lost=lost, grown=grown, directory=directory)


def _gap_line(gap: Mapping[str, Any], rate: int) -> bytes:
    since_start = samples_to_duration(gap["offset"], rate)
    return msgspec.json.encode({"timestamp": since_start, "type": "gap", "data": gap}) + b"\n"
