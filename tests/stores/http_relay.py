"""One HTTP/1.1 connection through a proxy: requests and responses pass unchanged, apart from faults."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from typing import Protocol

from tests.stores.faults import Answer, Corrupt, Cut, Dawdle, Fault, Hang, Lose, Reset, Seen

_BLOCK = 16_384
_LINGER = struct.pack("ii", 1, 0)  # linger for 0 s: a close becomes a reset


class Line(Protocol):
    """The interface of the proxy for its relays."""

    def choose(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, or None."""

    async def pace(self, size: int) -> None:
        """Returns when ``size`` bytes of a request's body may be forwarded."""

    def ended(self, seen: Seen) -> None:
        """Records a request that has ended."""


class Relay:
    """A client's connection, and its own connection to the store."""

    def __init__(self, line: Line, client: tuple[StreamReader, StreamWriter]) -> None:
        self._line = line
        self._reader, self._writer = client
        self._pending: Seen | None = None

    async def run(self, upstream_port: int) -> None:
        """Serves one request after another.

        :raises ConnectionError: one side disconnected, or a fault ended the connection.
        :raises asyncio.IncompleteReadError: one side closed the connection.
        """
        self._from_store, self._to_store = await asyncio.open_connection("127.0.0.1", upstream_port)
        try:
            while True:
                await self._request()
        finally:
            reset(self._to_store)

    async def _request(self) -> None:
        head = await _read_head(self._reader)
        method, path, _ = head.first.split(" ", 2)
        fault = self._line.choose(method, path)
        self._pending = Seen(method, path, "gone" if fault is None else type(fault).__name__.lower())
        try:
            await self._serve(head, fault)
        finally:
            self._ended()

    def _ended(self, status: int | None = None) -> None:
        """Logs the request once, before the client can know its outcome."""
        if self._pending is not None:
            self._line.ended(self._pending if status is None else self._pending._replace(status=status))
            self._pending = None

    async def _serve(self, head: "_Head", fault: Fault | None) -> None:
        match fault:
            case Reset():
                raise ConnectionResetError
            case Hang():
                await asyncio.Event().wait()
            case Answer():
                await self._refuse(head, fault)
                return
        self._to_store.write(head.data)
        if head.waits:
            interim = await _read_head(self._from_store)
            if interim.status != 100:
                await self._pass_answer(head, interim)
                return
            self._writer.write(interim.data)
        async for piece in self._spoilt(head, fault):
            self._to_store.write(piece)
            await self._to_store.drain()
        answer = await _read_head(self._from_store)
        while answer.status == 100:  # moto sends it twice
            answer = await _read_head(self._from_store)
        if isinstance(fault, Lose):
            raise ConnectionResetError
        if isinstance(fault, Dawdle):
            await self._dawdle(answer, fault)
            return
        await self._pass_answer(head, answer)

    async def _dawdle(self, answer: "_Head", fault: Dawdle) -> None:
        """As S3 while it joins parts; the XML declaration must come first."""
        body = b"".join([piece async for piece in answer.body(self._from_store)])
        declaration, end, document = body.partition(b"?>")
        self._ended(answer.status)
        self._writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunk(declaration + end))
        for _ in range(fault.times):
            await self._writer.drain()
            await asyncio.sleep(fault.pause)
            self._writer.write(_chunk(b" "))
        self._writer.write(_chunk(document) + _chunk(b""))
        await self._writer.drain()

    async def _spoilt(self, head: "_Head", fault: Fault | None) -> AsyncIterator[bytes]:
        """The body of a request, as the store receives it."""
        passed = 0
        async for piece in head.body(self._reader):
            await self._line.pace(len(piece))
            if isinstance(fault, Corrupt) and passed <= fault.at < passed + len(piece):
                spoilt = bytearray(piece)
                spoilt[fault.at - passed] ^= 0xFF
                piece = bytes(spoilt)  # noqa: PLW2901 - the same piece, spoilt
            if isinstance(fault, Cut) and passed + len(piece) > fault.after:
                raise ConnectionResetError
            passed += len(piece)
            yield piece

    async def _refuse(self, head: "_Head", answer: Answer) -> None:
        if head.waits:
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for piece in head.body(self._reader):
            await self._line.pace(len(piece))
        said = f"<Code>{answer.code}</Code><Message>{answer.message}</Message>"
        body = f'<?xml version="1.0"?><Error>{said}</Error>'.encode()
        lines = [f"HTTP/1.1 {answer.status} Refused", "Content-Type: application/xml", f"Content-Length: {len(body)}"]
        if answer.retry_after is not None:
            lines.append(f"Retry-After: {answer.retry_after}")
        self._ended(answer.status)
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head.asks_for_head else body))
        await self._writer.drain()

    async def _pass_answer(self, request: "_Head", answer: "_Head") -> None:
        self._ended(answer.status)
        self._writer.write(answer.data)
        if not request.asks_for_head and answer.status not in (204, 304):
            async for piece in answer.body(self._from_store):
                self._writer.write(piece)
                await self._writer.drain()
        await self._writer.drain()


def reset(writer: StreamWriter) -> None:
    """Resets a connection: unsent data is lost."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()


class _Head:
    """First line and headers of a request or a response."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.first, *lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        self._headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.first.split(" ", 2)[1])

    @property
    def asks_for_head(self) -> bool:
        """Whether the response to this request has no body, whatever its headers say."""
        return self.first.startswith("HEAD ")

    @property
    def waits(self) -> bool:
        """Whether the client sends the body only after "100 Continue"."""
        return self._headers.get("expect", "").lower() == "100-continue"

    async def body(self, reader: StreamReader) -> AsyncIterator[bytes]:
        """The body in pieces, as on the wire."""
        if self._headers.get("transfer-encoding", "").lower() == "chunked":
            async for piece in _chunks(reader):
                yield piece
            return
        left = int(self._headers.get("content-length", "0"))
        while left:
            piece = await reader.read(min(left, _BLOCK))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece


async def _read_head(reader: StreamReader) -> _Head:
    return _Head(await reader.readuntil(b"\r\n\r\n"))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        yield line + (await reader.readexactly(size + 2) if size else b"")
    line = b""
    while line != b"\r\n":  # trailers, if any
        line = await reader.readuntil(b"\r\n")
        yield line
