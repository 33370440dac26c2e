"""Ready recordings, and the plugin that uploads them, without threads and without waiting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from botocore.loaders import Loader
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from audiohookd.interfaces import IRecording, Undeliverable
from audiohookd.testing import FakeDaemon, FakeRecording
from audiohookd_plugins.s3 import S3Config, S3Plugin
from tests.stores.memory_store import MemoryStore

MIB = 1 << 20
DAY = "2026-01-31"
STARTED_AT = "2026-01-31T12:34:56.789Z"
#: The most attempts that a recording may take.
ATTEMPTS = 3

Stores = Callable[..., MemoryStore]


class Moto(NamedTuple):
    """The server, and a client for it."""

    port: int
    client: Any


def spooled(directory: Path, audio: bytes | None = b"RIFF and so on", **about: Any) -> FakeRecording:
    """A ready recording in the spool ``directory``; its sidecar is correct unless ``about`` overrides it."""
    return FakeRecording(directory, audio, {"startedAt": STARTED_AT, **about})


class Carrier:
    """The plugin in its daemon."""

    def __init__(self, loader: Loader | None = None, **config: Any) -> None:
        self.daemon = FakeDaemon()
        self.plugin = S3Plugin(S3Config(**config), self.daemon, loader)

    def carry(self, recording: IRecording) -> dict[str, Any]:
        """The receipt; raises the plugin's error."""
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

    def start(self) -> list[str]:
        """Starts the plugin as the daemon does, and returns the lines that it logs."""
        with capturedLogs() as events:
            self.plugin.startService()
            self.wait(0)
            self.daemon.pool.run()
        return [str(formatEvent(event)) for event in events]


def carry(carrier: Carrier, recording: Any) -> list[str]:
    """The lines logged until the recording was stored."""
    with capturedLogs() as events:
        for attempt in range(ATTEMPTS):
            try:
                carrier.carry(recording)
                break
            except Undeliverable:
                raise
            except Exception:
                if attempt == ATTEMPTS - 1:
                    raise
    return [str(formatEvent(event)) for event in events]
