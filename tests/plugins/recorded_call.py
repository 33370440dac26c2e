"""A recorded session with a fake daemon: no sockets, no threads, no waiting."""

import inspect
import json
import struct
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from audiohookd.interfaces import IDaemon
from audiohookd.observe.counters import Counters
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.messages import Participant
from audiohookd.protocol.product import Product
from audiohookd.spool.spool import Spool
from audiohookd.spool.write.group_commit import Intervals, Pools
from audiohookd.testing import FakeSession, MemoryWorkers
from audiohookd_plugins.recorder import Recorder, RecorderConfig, RecorderPlugin

STARTED_AT = 1_767_225_599.25
DAY = "2025-12-31"
MONO = Media(Format.PCMU, ("external",))
STEREO = Media(Format.PCMU, ("external", "internal"))
L16 = Media(Format.L16, ("external", "internal"))
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU"


def a_session(media: Media | None) -> FakeSession:
    """A call between two invented participants, with an upgrade request full of secrets."""
    session = FakeSession(media)
    session.position = session.start_position = 4000
    session.started_at = STARTED_AT
    session.participant = Participant(
        "883efee8-3d6c-4537-b500-6d7ca4b92fa0", "+1-555-555-1234", "Doe", "+1-800-555-6789"
    )
    session.request = {
        "uri": "/audiohook/v1?bot=7",
        "peer": "192.0.2.7",
        "headers": {
            "host": "audiohook.example.com",
            "User-Agent": "GenesysCloud-AudioHook-Client",
            "audiohook-session-id": session.id,
            "Audiohook-Organization-Id": session.organization_id,
            "X-API-KEY": SECRET,
            "signature": f"sig1=:{SECRET}:",
            "Signature-Input": f'sig1=("x");nonce="{SECRET}"',
            "authorization": f"Basic {SECRET}",
            "cookie": f"key={SECRET}",
            "x-amzn-oidc-data": SECRET,
        },
    }
    return session


@implementer(IDaemon)
class FakeDaemon:
    def __init__(self, directory: Path) -> None:
        self.reactor = Clock()
        self.clock_change = 0.0
        self.writing, self.finishing = MemoryWorkers(), MemoryWorkers()
        self.counters = Counters()
        pools = Pools(self.writing, self.finishing, MemoryWorkers())
        self.spool = Spool(self.reactor, directory, pools, Intervals(0.5, 0.0), self.counters.count)
        self.spool.prepare()

    def now(self) -> float:
        return STARTED_AT + self.reactor.seconds() + self.clock_change

    def workers(self, name: str, threads: int, waiting: int) -> MemoryWorkers:
        raise NotImplementedError

    def claim(self, resource: str) -> None:
        raise NotImplementedError


class Call:
    """A recorded session, and the recording that results from it."""

    def __init__(
        self,
        directory: Path,
        media: Media | None = STEREO,
        product: Product = Product.MONITOR,
        **options: Any,
    ) -> None:
        self.directory = directory
        self.daemon = FakeDaemon(directory)
        self.session = a_session(media)
        self.session.product = product
        self.logged = self.session.logged
        self.plugin = RecorderPlugin(RecorderConfig(**options), self.daemon)
        self.sink: Recorder = self.plugin.observe(self.session)
        self.sink.opened()

    def gap(self, samples: int, cause: GapCause = GapCause.PAUSED, start: int = 4000) -> "Deferred[None]":
        result: Any = self.sink.gap(Gap(start, samples, cause))
        return Deferred.fromCoroutine(result) if inspect.iscoroutine(result) else result

    def commit(self) -> None:
        self.daemon.reactor.advance(0.5)
        self.daemon.writing.run()

    def close(self, reason: str = "end") -> None:
        outcomes: list[Any] = []
        self.sink.closed(reason).addBoth(outcomes.append)
        for _ in range(2):  # a commit may be in progress
            self.commit()
        self.daemon.finishing.run()
        assert outcomes == [None]

    def ready(self) -> list[Path]:
        return sorted(path for path in (self.directory / "ready").rglob("*") if path.is_file())

    def sidecar(self) -> dict[str, Any]:
        (path,) = (self.directory / "ready" / DAY).glob("*.json")
        return json.loads(path.read_bytes())

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.sidecar()["body"] if entry["type"] == kind]

    def audio(self) -> bytes:
        """The data of the WAV file, as its header delimits it."""
        (path,) = (self.directory / "ready" / DAY).glob("*.wav")
        whole = path.read_bytes()
        start = whole.index(b"data") + 8
        (size,) = struct.unpack("<L", whole[start - 4 : start])
        assert len(whole) == start + size + size % 2
        return whole[start : start + size]
