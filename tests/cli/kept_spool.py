"""A spool in a directory, with recordings in all states, made by the real spool."""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from audiohookd.cli.main import main
from audiohookd.protocol.media import Media
from audiohookd.spool import paths
from audiohookd.spool.lock import Lock
from audiohookd.spool.paths import SpoolPaths
from tests.spool.spool_rig import STEREO, SpoolRig, result_of

NOON = 1_769_860_800.0  # 2026-01-31T12:00:00Z
DAY = "2026-01-31"


def id_of(number: int) -> str:
    return f"{number:08x}-53e2-487c-977d-96989bf5c99d"


class Said(NamedTuple):
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]


def audiohookctl(*arguments: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


class KeptSpool:
    """A spool with numbered recordings. :func:`id_of` gives the id of a number."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layout = SpoolPaths(directory)
        self._rig: SpoolRig | None = SpoolRig(directory)

    @property
    def rig(self) -> SpoolRig:
        assert self._rig is not None, "the daemon has stopped"
        return self._rig

    def stop(self) -> "KeptSpool":
        """Stops the daemon, which releases the lock."""
        stopped = self.rig.spool.stopService()
        self.rig.writing.run()
        self.rig.finishing.run()
        result_of(stopped)
        self._rig = None
        return self

    def draft(self, number: int, audio: bytes = b"\x7f" * 16_000, media: Media | None = STEREO) -> str:
        draft = self.rig.spool.begin(id_of(number), NOON + number, media)
        if media is not None:
            draft.audio(audio)
        draft.add_entry(b'{"timestamp":"PT0S","type":"recording","data":{"startPosition":0,"session":"s"}}')
        self.rig.commit()
        return draft.id

    def ready(self, number: int, audio: bytes = b"\x7f" * 16_000, media: Media | None = STEREO, days: int = 0) -> str:
        """Makes a ready recording: by default one second of two channels."""
        draft = self.rig.spool.begin(id_of(number), NOON + number + 86_400 * days, media)
        if media is not None:
            draft.audio(audio)
        draft.add_entry(b'{"timestamp":"PT0S","type":"recording","data":{"startPosition":0}}')
        self.rig.finish(draft, closeReason="end")
        return draft.id

    def mark(self, recording_id: str, suffix: str, content: str = "{}") -> None:
        (self.layout.ready / DAY / f"{recording_id}.{suffix}").write_text(content)

    def stored(self, recording_id: str, name: str = "store") -> None:
        self.mark(
            recording_id, paths.stored_suffix(name), json.dumps({"bucket": "calls", "at": "2026-01-31T12:01:00Z"})
        )

    def carried_away(self, recording_id: str, name: str = "store") -> None:
        self.stored(recording_id, name)
        (self.layout.ready / DAY / f"{recording_id}.wav").unlink()

    def bury(self, recording_id: str, reason: str = "2026-01-31T12:02:00Z s3: no such bucket") -> None:
        self._move(recording_id, self.layout.dead)
        (self.layout.dead / DAY / f"{recording_id}.{paths.REASON}").write_text(f"{reason}\n")

    def settle(self, recording_id: str) -> None:
        self._move(recording_id, self.layout.done)

    def break_(self, number: int) -> str:
        self.layout.broken.mkdir(exist_ok=True)
        (self.layout.broken / f"{id_of(number)}.wav").write_bytes(b"noise")
        (self.layout.broken / f"{id_of(number)}.{paths.REASON}").write_text("there is no journal\n")
        return id_of(number)

    def files(self) -> dict[str, bytes]:
        """The content of all files of recordings, by path."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in sorted(self.directory.rglob("*"))
            if path.is_file() and path not in (self.layout.lock, self.layout.wake)
        }

    def ctl(self, action: str, *arguments: object) -> Said:
        return audiohookctl("spool", action, "--spool", self.directory, *arguments)

    def _move(self, recording_id: str, shelf: Path) -> None:
        (shelf / DAY).mkdir(parents=True, exist_ok=True)
        for path in (self.layout.ready / DAY).glob(f"{recording_id}.*"):
            path.rename(shelf / DAY / path.name)


def take_and_release(spool: KeptSpool) -> None:
    """Takes and releases the lock, as a daemon does.

    :raises OSError: another process holds the lock.
    """
    lock = Lock(spool.layout)
    lock.hold()
    lock.release()


def of_all_states(directory: Path) -> KeptSpool:
    """A spool with recordings in all states.

    1 is a draft, 2 is ready, 3 is partly delivered, 4 is uploaded, 5 is dead, 6 is done, 7 is broken, 8 has no audio.
    """
    spool = KeptSpool(directory)
    spool.draft(1)
    for number in (2, 3, 4, 5, 6):
        spool.ready(number)
    spool.ready(8, media=None)
    spool.stored(id_of(3))
    spool.carried_away(id_of(4))
    spool.bury(id_of(5))
    spool.settle(id_of(6))
    spool.break_(7)
    return spool


def python(*arguments: str) -> list[str]:
    """The command line of another Python process with the same warning options as this one."""
    return [sys.executable, "-W", "error", *arguments]


ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}
