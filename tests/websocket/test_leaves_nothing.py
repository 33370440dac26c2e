"""A call that has ended is gone from memory at once: nothing of it waits for the collector of cycles."""

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionLost

from audiohookd.interfaces import ISession
from audiohookd.testing import PATH, SESSION_ID
from audiohookd_plugins.recorder import Recorder, RecorderConfig, RecorderPlugin
from tests.plugins.recorded_call import FakeDaemon
from tests.websocket.websocket_rig import Peer, Server, binary, frame, text

CLOSE = (
    b'{"version":"2","id":"%s","type":"close","seq":2,"serverseq":1,"position":"PT0.2S","parameters":{"reason":"end"}}'
    % SESSION_ID.encode()
)


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def polite(peer: Peer) -> None:
    peer.opened().send(binary(b"\xd5" * 3_200) + text(CLOSE) + frame(8, b"\x03\xe8"))
    peer.lose()


def abrupt(peer: Peer) -> None:
    peer.opened().send(binary(b"\xd5" * 3_200))
    peer.lose(ConnectionLost())


def in_the_middle_of_a_frame(peer: Peer) -> None:
    peer.opened().send(binary(b"\xd5" * 3_200)[:100])
    peer.lose()


@pytest.mark.parametrize("end", [polite, abrupt, in_the_middle_of_a_frame])
def test_a_call_leaves_nothing_in_memory(end: Callable[[Peer], None]) -> None:
    server = Server()
    peer = server.connect()
    protocol = weakref.ref(peer.protocol)
    end(peer)
    server.clock.pump([1.0] * 60)
    (watcher,) = server.factory.shared.routes[PATH].watchers
    (session,) = map(weakref.ref, watcher.plugin.sessions)  # type: ignore[attr-defined]
    # What a plugin keeps is its own affair.
    watcher.plugin.sessions.clear()  # type: ignore[attr-defined]
    server.sink.calls.clear()
    del peer
    assert (protocol(), session()) == (None, None)


class Remembered(RecorderPlugin):
    """The recorder, with a weak reference to its last recording."""

    def observe(self, session: ISession) -> Recorder:
        recorder = super().observe(session)
        self.recorder, self.draft = weakref.ref(recorder), weakref.ref(recorder._draft)
        return recorder


@pytest.mark.parametrize("end", [polite, abrupt])
def test_a_recording_leaves_nothing_in_memory(end: Callable[[Peer], None], tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path)
    plugin = Remembered(RecorderConfig(), daemon)
    server = Server(plugin=plugin)
    peer = server.connect()
    end(peer)
    for _ in range(60):
        server.clock.advance(1.0)
        daemon.reactor.advance(1.0)
        daemon.writing.run()
        daemon.finishing.run()
    del peer
    assert len(list((tmp_path / "ready").rglob("*.wav"))) == 1
    assert (plugin.recorder(), plugin.draft()) == (None, None)
