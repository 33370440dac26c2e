"""A server with responses that never end, or arrive a byte at a time."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any

#: Bytes of an "endless" response: more than any client may read.
ENDLESS = 64 << 20
#: Bytes that may be in transit when the client disconnects.
ON_THEIR_WAY = 12 << 20
#: How many pieces of a slow response are sent, and how many seconds apart: all of them take 5 s.
PIECES, PAUSE = 100, 0.05

_BLOCK = b"x" * 65_535 + b"\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_ERROR = b"HTTP/1.1 500 Oops\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Visit(StreamRequestHandler):
    """One connection. The server's response is a function of this."""

    server: "RudeServer"

    def handle(self) -> None:
        while self._take_request():
            self.server.answer(self)

    def _take_request(self) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return False
            head += line
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        self.server.heads.append(head.decode())
        if b"expect" in fields and self.server.invites:
            self.wfile.write(_CONTINUE)
        if b"expect" not in fields or self.server.invites:
            self.rfile.read(int(fields.get(b"content-length", b"0")))
        return True

    def say(self, data: bytes) -> None:
        """Raises OSError when the client has disconnected."""
        self.wfile.write(data)
        self.server.said += len(data)

    def go_on(self, data: bytes, times: int, pause: float = 0.0) -> None:
        """Sends ``data`` until the client disconnects, or so many times; then ``was_heard`` is true."""
        for _ in range(times):
            if self.server.over.wait(pause):
                return
            self.say(data)
        self.server.was_heard = True

    def leave(self) -> None:
        """Closes the connection."""
        self.connection.shutdown(2)


class RudeServer(ThreadingTCPServer):
    """Records the ``heads`` of requests, how many bytes it ``said``, and whether ``was_heard`` all of a response."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.heads: list[str] = []
        self.said = 0
        self.was_heard = False
        #: Whether it answers "Expect: 100-continue" with "100 Continue". Otherwise its response follows at once.
        self.invites = True
        self.over = Event()
        self.scheme = "http"
        self.answer: Answer = Visit.leave

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores that the client has disconnected, as it should."""


Answer = Callable[[Visit], None]


@contextmanager
def rude_server(chain: Path | None = None, key: Path | None = None) -> Iterator[RudeServer]:
    """Serves with TLS, if there is a certificate."""
    with RudeServer() as server:
        if chain is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, key)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            server.scheme = "https"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


# ---- endless responses ---------------------------------------------------------------------------


def endless_error(visit: Visit) -> None:
    visit.say(_ERROR + b"Connection: close\r\n\r\n")
    visit.go_on(_BLOCK, ENDLESS // len(_BLOCK))


def endless_error_of_known_length(visit: Visit) -> None:
    visit.say(_ERROR + b"Content-Length: %d\r\n\r\n" % ENDLESS)
    visit.go_on(_BLOCK, ENDLESS // len(_BLOCK))


def endless_error_in_chunks(visit: Visit) -> None:
    visit.say(_ERROR + b"Transfer-Encoding: chunked\r\n\r\n")
    visit.go_on(b"10000\r\n" + _BLOCK + b"\r\n", ENDLESS // len(_BLOCK))


def endless_size_of_a_chunk(visit: Visit) -> None:
    visit.say(_ERROR + b"Transfer-Encoding: chunked\r\n\r\n")
    visit.go_on(b"0" * 65_536, ENDLESS // 65_536)


def endless_headers(visit: Visit) -> None:
    visit.say(_OK)
    visit.go_on(b"X-Rude: " + b"y" * 60_000 + b"\r\n", ENDLESS // 60_000)


def endless_status_line(visit: Visit) -> None:
    visit.say(b"HTTP/1.1 500 ")
    visit.go_on(b"o" * 65_536, ENDLESS // 65_536)


def endless_patience(visit: Visit) -> None:
    visit.go_on(_CONTINUE * 2000, ENDLESS // (2000 * len(_CONTINUE)))


ENDLESS_ANSWERS: tuple[Answer, ...] = (
    endless_error,
    endless_error_of_known_length,
    endless_error_in_chunks,
    endless_size_of_a_chunk,
    endless_headers,
    endless_status_line,
    endless_patience,
)


def endless_success(visit: Visit) -> None:
    visit.say(_OK + b"Connection: close\r\n\r\n")
    visit.go_on(_BLOCK, ENDLESS // len(_BLOCK))


# ---- responses a byte at a time ------------------------------------------------------------------


def dribbled_status_line(visit: Visit) -> None:
    visit.say(b"HTTP/1.1 500 ")
    visit.go_on(b"o", PIECES, PAUSE)


def dribbled_headers(visit: Visit) -> None:
    visit.say(_OK)
    visit.go_on(b"X-Rude: y\r\n", PIECES - 10, PAUSE)


def dribbled_error(visit: Visit) -> None:
    visit.say(_ERROR + b"Content-Length: %d\r\n\r\n" % PIECES)
    visit.go_on(b"x", PIECES, PAUSE)


def dribbled_patience(visit: Visit) -> None:
    visit.go_on(_CONTINUE, PIECES, PAUSE)


DRIBBLED_ANSWERS: tuple[Answer, ...] = (dribbled_status_line, dribbled_headers, dribbled_patience)


# ---- responses to "Expect: 100-continue" ---------------------------------------------------------


def go_ahead_and_leave(visit: Visit) -> None:
    """Closes the connection in the middle of the headers."""
    visit.say(b"HTTP/1.1 100 Continue\r\n")
    visit.leave()


def go_ahead_without_end(visit: Visit) -> None:
    visit.say(b"HTTP/1.1 100 Continue\r\n")
    visit.go_on(_BLOCK, ENDLESS // len(_BLOCK))


def go_ahead_a_byte_at_a_time(visit: Visit) -> None:
    visit.say(b"HTTP/1.1 100 Continue\r\n")
    visit.go_on(b"x", PIECES, PAUSE)
