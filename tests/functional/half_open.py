"""Keeps many half-open connections to the daemon: each is replaced when the daemon drops it.

Uses one thread and one epoll. The connections send only what is in ``BEGINNINGS``.
"""

import contextlib
import select
import socket
import threading
import time
from itertools import cycle

_HALF = b"GET /api/v1/audiohook/ws HTTP/1.1\r\nHost: audiohook.example.com\r\nUpgrade: webso"
_UNSIGNED = (
    b"GET /api/v1/audiohook/ws HTTP/1.1\r\nHost: audiohook.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
    b"Audiohook-Organization-Id: d7934305-0972-4844-938e-9060eef73d05\r\n"
    b"Audiohook-Session-Id: 30b0e395-84d3-4570-ac13-9a62d8f514c0\r\n"
    b"Audiohook-Correlation-Id: e160e428-53e2-487c-977d-96989bf5c99d\r\nX-API-KEY: c3RyYW5nZXI=\r\n\r\n"
)
#: The data that the connections send, in turn.
BEGINNINGS = (b"", _HALF, _UNSIGNED)
#: Number of client addresses: one address has only 28,000 ports.
ADDRESSES = 4
#: New connections at a time, and seconds until the next ones: 1,000 per second. At 2,500 per second the kernel drops
#: some connections, including connections of calls.
VOLLEY = 20
PAUSE = 0.02


class HalfOpen:
    """Keeps ``count`` connections to a port on loopback until the end of the block.

    Inside the block, all have been started once.
    """

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._wanted = count
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._beginnings = cycle(BEGINNINGS)
        self._addresses = cycle(f"127.0.1.{number + 1}" for number in range(ADDRESSES))
        self._all_begun, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_up, daemon=True)
        #: How many connections were started, and how many the server has closed.
        self.begun = 0
        self.ended = 0

    def __enter__(self) -> "HalfOpen":
        self._thread.start()
        assert self._all_begun.wait(60), f"{self.begun} of {self._wanted} connections in a minute"
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for connection in self._sockets.values():
            connection.close()
        self._epoll.close()

    def _keep_up(self) -> None:
        while not self._over.is_set():
            due = time.monotonic() + PAUSE
            for _ in range(min(VOLLEY, self._wanted - len(self._sockets))):
                self._begin()
            if self.begun >= self._wanted:
                self._all_begun.set()
            self._look(due)

    def _begin(self) -> None:
        one = socket.socket()
        one.setblocking(False)
        one.bind((next(self._addresses), 0))
        one.connect_ex(("127.0.0.1", self._port))
        self._sockets[one.fileno()] = one
        self._epoll.register(one, select.EPOLLOUT | select.EPOLLIN)
        self.begun += 1

    def _look(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0:
            for file, event in self._epoll.poll(left):
                if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                    self._epoll.unregister(file)
                    self._sockets.pop(file).close()
                    self.ended += 1
                else:
                    self._epoll.modify(file, select.EPOLLIN)
                    with contextlib.suppress(OSError):  # dropped a moment ago: the next poll reports it
                        self._sockets[file].send(next(self._beginnings))
