"""The baseline for the daemon: stock Autobahn, in a server that discards the audio.

It needs no signature, checks nothing, and records nothing. It answers ``open``, ``ping`` and ``close`` as the client
expects, and does nothing else.
"""

import json
import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor

ANSWERS = {"open": "opened", "ping": "pong", "close": "closed"}


class BaselineProtocol(WebSocketServerProtocol):
    """One session."""

    seq = 0

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Processes a message. Audio is binary, the protocol is text."""
        if isBinary:
            return
        message = json.loads(payload)
        answer = ANSWERS.get(message["type"])
        if answer is None:
            return
        self.seq += 1
        parameters = {"media": message["parameters"]["media"][:1]} if answer == "opened" else {}
        self.send({"type": answer, "id": message["id"], "clientseq": message["seq"], "parameters": parameters})

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message to the client."""
        self.sendMessage(json.dumps({"version": "2", "seq": self.seq} | message).encode())


def main() -> None:
    """Serves calls on the port that the command line names, until SIGTERM."""
    factory = WebSocketServerFactory()
    factory.protocol = BaselineProtocol
    reactor.listenTCP(int(sys.argv[1]), factory, interface="127.0.0.1")
    reactor.callWhenRunning(print, "ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
