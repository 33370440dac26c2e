"""``python -m tests.conformance.echo PORT [BYTES]``: an echo server with the daemon's WebSocket and its options.

It has no AudioHook session and accepts every client. BYTES raises the size limit of messages.
"""

import sys
import time
from typing import Any

from twisted.internet import reactor

from audiohookd.auth.authenticator import Authenticator
from audiohookd.auth.keys.model import Keys
from audiohookd.auth.replay.store import MemoryReplayStore, replay_window
from audiohookd.auth.signature.message_signature import CLOCK_SKEW, MAX_AGE
from audiohookd.edge.policy import HandshakePolicy
from audiohookd.observe.counters import Counters
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.driver import ServerContext
from audiohookd.session.registry import Registry
from audiohookd.websocket.protocol import AudioHookServerFactory, AudioHookServerProtocol

#: Bytes of one read when messages may be long: with the 4 KiB of a call, the tests would take minutes.
LONG_READ = 65_536


class Echo(AudioHookServerProtocol):
    """A connection that echoes every message."""

    def connectionMade(self) -> None:
        """Raises the size of reads if messages may be long."""
        super().connectionMade()
        if self.maxMessagePayloadSize > LONG_READ * 2:
            self.transport.bufferSize = LONG_READ

    def onConnect(self, request: Any) -> None:  # type: ignore[override]
        """Accepts every client."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Echoes the message."""
        self.sendMessage(payload, isBinary)


def main() -> None:
    """Serves until SIGTERM."""
    shared = ServerContext(reactor, time.time, Timeouts(), Registry(reactor, 1_000, 60.0), Counters(), {})
    replay = MemoryReplayStore(replay_window(MAX_AGE, CLOCK_SKEW), time.monotonic)
    door = HandshakePolicy(Authenticator(Keys({}), replay))
    factory = AudioHookServerFactory(shared, door, reactor=reactor)
    factory.protocol = Echo
    if len(sys.argv) > 2:
        longest = int(sys.argv[2])
        factory.setProtocolOptions(maxFramePayloadSize=longest, maxMessagePayloadSize=longest)
    reactor.listenTCP(int(sys.argv[1]), factory, interface="127.0.0.1")
    reactor.callWhenRunning(print, "ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
