"""Floods the daemon from authentic sessions: ``python -m tests.functional.floods PORT KIND SESSIONS``.

The sessions send what costs the daemon most, as fast as it reads.

It is a process of its own, so that it takes no time from the calls that the test measures. It prints ``ready`` when
all sessions are open and the flood begins, and ends when its standard input is closed.
"""

import select
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain, cycle, islice, repeat

from tests.functional.caller import BINARY, PING, TEXT, Caller

#: Bytes that are written to a socket at a time.
PORTION = 65_536
#: Bytes of parameters in a large message. The limit is 64 KiB with the envelope.
LARGE = 65_000


def frame(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    """A frame with mask zero: it costs the sender nothing to mask, and the daemon as much as any other mask."""
    first, size = opcode | 0x80 * fin, len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + struct.pack("!H", size)
    return head + bytes(4) + payload


def message(caller: Caller, type_: str, parameters: bytes) -> bytes:
    """The next message of a session, with ``parameters`` in JSON."""
    return frame(TEXT, caller.message(type_).removesuffix(b"{}}") + parameters + b"}")


def filled(start: bytes, item: bytes, end: bytes) -> bytes:
    """Parameters of :data:`LARGE` bytes, filled with repeated items."""
    return start + item * ((LARGE - len(start) - len(end)) // len(item)) + end


#: The parameters that took longest to decode or encode, when each kind had a test of its own.
HOSTILE = (
    filled(b'{"x":"', rb"\ud83d", b'"}'),
    filled(b'{"x":"', rb"a\ud83d\\", b'"}'),
    filled(b'{"x":"', rb"\n", rb'\ud83d"}'),
    filled(b'{"x":[', b"[],", b"0]}"),
    filled(b'{"x":[', b'{"a":"{"},', b"0]}"),
    filled(b'{"x":[', b"7.1e300,", b"0]}"),
    filled(b'{"x":[', b"1e999,", b"0]}"),
    filled(b'{"x":0.', b"9", b"}"),
    b'{"x":' + b"[" * 500 + b"]" * 500 + b"}",
)


def tiny_audio(_: Caller) -> Iterator[bytes]:
    """Frames of two octets of audio."""
    return repeat(frame(BINARY, b"xx"))


def pings(_: Caller) -> Iterator[bytes]:
    """Empty WebSocket pings."""
    return repeat(frame(PING, b""))


def fragments(_: Caller) -> Iterator[bytes]:
    """Messages of a hundred fragments of one octet each."""
    return cycle([frame(BINARY, b"x", False), *repeat(frame(0, b"x", False), 98), frame(0, b"x")])


def texts(caller: Caller) -> Iterator[bytes]:
    """Pings of the protocol: the daemon answers each with ``pong``."""
    return (message(caller, "ping", b"{}") for _ in repeat(None))


def hostile_json(caller: Caller) -> Iterator[bytes]:
    """Messages of maximum size, with content that is costly to check."""
    return (message(caller, "unknown", parameters) for parameters in cycle(HOSTILE))


def mixture(caller: Caller) -> Iterator[bytes]:
    """All kinds in turn."""
    kinds = (tiny_audio, pings, fragments, texts, hostile_json)
    return chain.from_iterable(
        islice(source, count)
        for source, count in cycle(zip([kind(caller) for kind in kinds], (2000, 3, 100, 5, 1), strict=True))
    )


KINDS: dict[str, Callable[[Caller], Iterator[bytes]]] = {
    "tiny-audio": tiny_audio,
    "pings": pings,
    "fragments": fragments,
    "texts": texts,
    "hostile-json": hostile_json,
    "mixture": mixture,
    "probes": texts,
}


class Flooder:
    """One session that floods. Identical frames are built only once."""

    def __init__(self, port: int, kind: str) -> None:
        self.caller = Caller(port)
        self.caller.open(probe=kind == "probes")
        self.caller.socket.setblocking(False)
        self._frames = KINDS[kind](self.caller)
        self._unsent = b""

    def send(self) -> None:
        """Writes once as much as the socket accepts.

        :raises OSError: the daemon has dropped the connection.
        """
        if not self._unsent:
            pieces, size = [], 0
            while size < PORTION:
                pieces.append(next(self._frames))
                size += len(pieces[-1])
            self._unsent = b"".join(pieces)
        self._unsent = self._unsent[self.caller.socket.send(self._unsent) :]


def flood(port: int, kind: str, sessions: int) -> None:
    """Floods until standard input ends. Replaces a dropped session, as an attacker would."""
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        flooders: dict[int, Flooder] = {}

        def begin() -> None:
            with suppress(OSError, ConnectionError):
                flooder = Flooder(port, kind)
                flooders[flooder.caller.socket.fileno()] = flooder
                epoll.register(flooder.caller.socket, select.EPOLLOUT | select.EPOLLIN)

        for _ in range(sessions):
            begin()
        print("ready", flush=True)
        epoll.register(0, select.EPOLLIN)
        while True:
            for file, event in epoll.poll():
                if file == 0:
                    return
                if not _go_on(flooders[file], event):
                    flooders.pop(file).caller.socket.close()
                    begin()


def _go_on(flooder: Flooder, event: int) -> bool:
    """Continues a session. Returns False if the daemon has closed the connection."""
    try:
        if event & select.EPOLLIN and not flooder.caller.socket.recv(PORTION):
            return False
        if event & select.EPOLLOUT:
            flooder.send()
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    flood(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
