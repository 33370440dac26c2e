"""``python -m tests.conformance.echo PORT [BYTES]``: the daemon's WebSocket, options and all, says what it hears.

Nothing of AudioHook is above it: whoever asks is let in. With BYTES, messages may be as long as that.
"""

import sys
import time
from typing import Any

from twisted.internet import reactor

from audiohookd.auth.authenticator import Authenticator
from audiohookd.auth.keys import Keys
from audiohookd.auth.replay import MemoryReplayStore, replay_window
from audiohookd.auth.signature import CLOCK_SKEW, MAX_AGE
from audiohookd.observe.counters import Counters
from audiohookd.protocol.timers import Timers
from audiohookd.server.connection import Shared
from audiohookd.server.registry import Registry
from audiohookd.server.websocket import AudioHookServerFactory, AudioHookServerProtocol, Door

#: Bytes that are read at a time where messages may be long: 4 KiB, which a call gets, would take minutes.
LONG_READ = 65_536


class Echo(AudioHookServerProtocol):
    """One connection."""

    def connectionMade(self) -> None:
        """Reads more at a time where there may be more."""
        super().connectionMade()
        if self.maxMessagePayloadSize > LONG_READ * 2:
            self.transport.bufferSize = LONG_READ

    def onConnect(self, request: Any) -> None:
        """Everybody is welcome."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Said back as it came."""
        self.sendMessage(payload, isBinary)


def main() -> None:
    """Serves until SIGTERM."""
    shared = Shared(reactor, time.time, Timers(), Registry(reactor, 1_000, 60.0), Counters(), {})
    replay = MemoryReplayStore(replay_window(MAX_AGE, CLOCK_SKEW), time.monotonic)
    door = Door(Authenticator(Keys({}), replay))
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
