"""A spool in a directory, with a test clock and in-memory worker pools."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from audiohookd.observe.counters import Counters
from audiohookd.protocol.media import Format, Media
from audiohookd.spool.draft import Draft
from audiohookd.spool.format import wav
from audiohookd.spool.format.checksums import is_checksum
from audiohookd.spool.spool import Spool
from audiohookd.spool.write.group_commit import CommitLimits, Intervals, Pools
from audiohookd.testing import MemoryWorkers

T = TypeVar("T")
STARTED_AT = 1_767_225_599.25  # 2025-12-31T23:59:59.250Z
FLUSH_INTERVAL = 0.5
SYNC_INTERVAL = 5.0

MONO = Media(Format.PCMU, ("external",))
STEREO = Media(Format.PCMU, ("external", "internal"))
L16_MONO = Media(Format.L16, ("internal",))
L16_STEREO = Media(Format.L16, ("internal", "external"))
ALL_MEDIA = [MONO, STEREO, L16_MONO, L16_STEREO]


def shape(media: Media) -> str:
    """The name of ``media`` in test ids."""
    return f"{media.format}-{len(media.channels)}"


class SpoolRig:
    def __init__(self, directory: Path, limits: CommitLimits | None = None) -> None:
        self.clock = Clock()
        self.writing = MemoryWorkers()
        self.finishing = MemoryWorkers()
        self.syncing = MemoryWorkers()
        self.counters = Counters()
        self.directory = directory
        pools = Pools(self.writing, self.finishing, self.syncing)
        intervals = Intervals(FLUSH_INTERVAL, SYNC_INTERVAL)
        self.spool = Spool(self.clock, directory, pools, intervals, self.counters.count, limits)
        self.spool.prepare()
        self.spool.startService()
        self.finishing.run()  # repairs

    def begin(self, name: str, media: Media | None = STEREO) -> Draft:
        return self.spool.begin(name, STARTED_AT, media)

    def commit(self) -> None:
        """Advances the clock by the flush interval and runs the writer."""
        self.clock.advance(FLUSH_INTERVAL)
        self.writing.run()

    def finish(self, draft: Draft, **recording: object) -> Path:
        """Finishes and finalizes the draft."""
        finished = draft.finish(recording)
        self.commit()
        self.finishing.run()
        return result_of(finished)

    def draft_file(self, name: str) -> Path:
        return self.directory / "draft" / name

    def drafted_audio(self, name: str, media: Media = STEREO) -> bytes:
        return self.draft_file(f"{name}.wav").read_bytes()[wav.header_bytes(media) :]

    def drafted_entries(self, name: str) -> list[bytes]:
        lines = self.draft_file(f"{name}.jsonl").read_bytes().splitlines()[1:]
        return [line for line in lines if not is_checksum(line)]

    def drafted(self) -> set[str]:
        return {path.name for path in (self.directory / "draft").iterdir()}

    def ready(self) -> set[str]:
        ready = self.directory / "ready"
        return {str(path.relative_to(ready)) for path in ready.rglob("*") if path.is_file()}


def result_of(deferred: "Deferred[T] | None") -> T:
    """The result of a Deferred that has fired. Raises its error if it failed."""
    outcomes: list[T] = []
    failures: list[Failure] = []
    assert deferred is not None
    deferred.addCallbacks(outcomes.append, failures.append)
    if failures:
        failures[0].raiseException()
    assert outcomes, "has not fired"
    return outcomes[0]


def is_pending(deferred: "Deferred[Any] | None") -> bool:
    assert deferred is not None
    return not deferred.called


@contextmanager
def disk_that_takes(file_size: int) -> Iterator[None]:
    """Makes the kernel reject writes beyond ``file_size``, also in the middle of a piece."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
