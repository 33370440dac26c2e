"""The twin that the daemon is measured against: Autobahn as it comes, in a server that throws the audio away.

It asks for no signature, checks nothing, and records nothing; it answers ``open``, ``ping`` and ``close`` as a client
wants it, and does nothing else.
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
        """A message: audio is binary, the protocol is text."""
        if isBinary:
            return
        message = json.loads(payload)
        answer = ANSWERS.get(message["type"])
        if answer is None:
            return
        self.seq += 1
        parameters = {"media": message["parameters"]["media"][:1]} if answer == "opened" else {}
        self.say({"type": answer, "id": message["id"], "clientseq": message["seq"], "parameters": parameters})

    def say(self, message: dict[str, Any]) -> None:
        """A message of ours."""
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
