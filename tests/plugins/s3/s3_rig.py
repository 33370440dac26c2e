"""Ready recordings, and the plugin that carries them, without threads and without waiting."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.loaders import Loader
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from audiohookd.interfaces import IDaemon
from audiohookd.spool.shelf import Recording, look
from audiohookd.testing import CONVERSATION_ID, ORGANIZATION_ID, SESSION_ID, MemoryWorkers, clock_at_start
from audiohookd_plugins.s3 import S3Config, S3Plugin

MIB = 1 << 20
DAY = "2026-01-31"
STARTED_AT = "2026-01-31T12:34:56.789Z"
ABOUT: Mapping[str, Any] = {
    "session": SESSION_ID,
    "conversation": CONVERSATION_ID,
    "organization": ORGANIZATION_ID,
    "language": "en-US",
    "route": "/audiohook",
    "startedAt": STARTED_AT,
}


def spooled(directory: Path, audio: bytes | None = b"RIFF and so on", **about: Any) -> Recording:
    """A ready recording in the spool ``directory``; the sidecar says what is true unless ``about`` says otherwise."""
    day = directory / "ready" / DAY
    day.mkdir(parents=True, exist_ok=True)
    recording_id = str(uuid4())
    described = None
    if audio is not None:
        (day / f"{recording_id}.wav").write_bytes(audio)
        described = {
            "file": f"{recording_id}.wav",
            "bytes": len(audio),
            "sha256": hashlib.sha256(audio).hexdigest(),
        }
    sidecar = {"header": {}, "body": [], "recording": {**ABOUT, "audio": described, **about}}
    (day / f"{recording_id}.json").write_text(json.dumps(sidecar))
    return look(day, recording_id, ("wav", "json"))


@implementer(IDaemon)
class FakeDaemon:
    """Gives the plugin a clock, and a pool that works when it is told to."""

    spool = None

    def __init__(self) -> None:
        self.reactor: Clock = clock_at_start()
        self.pool = MemoryWorkers()
        self.asked: list[tuple[str, int, int]] = []

    def workers(self, name: str, threads: int, waiting: int) -> MemoryWorkers:
        self.asked.append((name, threads, waiting))
        return self.pool


class Carrier:
    """The plugin in its daemon."""

    def __init__(self, loader: Loader | None = None, **config: Any) -> None:
        self.daemon = FakeDaemon()
        self.plugin = S3Plugin(S3Config(**config), self.daemon, loader)

    def carry(self, recording: Recording) -> dict[str, Any]:
        """The receipt; raises what the plugin fails with."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.plugin.carry(recording)).addBoth(outcome.append)
        self.daemon.pool.run()
        (result,) = outcome
        if isinstance(result, dict):
            return result
        result.raiseException()
        raise AssertionError("a failure raises")

    def wait(self, seconds: float) -> None:
        self.daemon.reactor.advance(seconds)
