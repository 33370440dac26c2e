"""Reads all open connections in batches, a few milliseconds apart, instead of each one when it becomes readable.

A wake-up costs more than a frame, because the program is no longer in the processor's caches. So after the first data
the reader waits some milliseconds for more connections to become readable, and then reads them all.

If a connection is between two messages, whole messages bypass its transport and protocol, which saves 9 % of the
daemon's CPU time. Otherwise the connection's Twisted transport reads, but without Twisted's logging context around
each read and without a turn of the reactor.
"""

import math
import select
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.edge.base_transport import base_transport
from audiohookd.edge.proxy_protocol import carrier
from audiohookd.websocket.fastpath.frames import parse_text_message
from audiohookd.websocket.fastpath.hearing import recv_messages

#: Bounds of the interval between two batches, in seconds. A client waits 5 s for its ``pong``, a frame has 20 ms or
#: more of audio, and a batch costs as much as four frames. With 500 calls a frame costs 9 % less at 16 than at 8 ms.
#: At half a processor one pong in a hundred took 14 to 25 ms with a minimum of 3 ms, and 10 to 12 ms with 1 ms; the
#: cost of a frame was the same.
MIN_INTERVAL: Final = 0.001
MAX_INTERVAL: Final = 0.016
#: The same while bots speak: with 200 of them, an echo took up to 36 ms, and one in a hundred 29 ms, with 16 ms.
BOT_INTERVAL: Final = 0.004
#: Connections in a batch after the longest interval; after a shorter one the target is smaller. The busier the
#: processor, the longer an answer waits for the connections before it, so the shorter the interval must be.
TARGET_BATCH: Final = 48
#: Weight of one batch for the next interval. With a weight of 1, a batch that had five connections by chance made the
#: interval four times as long: one pong in ten took 7 ms instead of 5 ms, one in a hundred 12 ms instead of 9 ms.
SMOOTHING: Final = 0.125
#: Seconds that a batch may take; the next one begins with the remaining connections. Between two batches the reactor
#: does its other work, such as accepting connections and answering their requests.
TURN: Final = 0.016
#: Seconds for which a connection stays costly: it is read after all others. Its protocol decides by the number of
#: frames. If time decided, an ``open`` on a busy processor would look as costly as a flood.
COSTLY_TIME: Final = 0.5
#: Additional seconds of a batch for all costly connections together.
COSTLY_SHARE: Final = 0.005

Take = Callable[[bytes], object]


class ReadHandle:
    """A connection that a BatchReader reads.

    :param transport: the innermost transport, which owns the socket.
    :param take_audio: called with each binary message that the fast path reads.
    :param take_text: called with each text message that the fast path reads.
    :param resume: called instead of a read while ``has_backlog``.
    :param is_raw_tcp: the protocol receives the bytes of the socket unchanged (no TLS). Required for the fast path.
    """

    __slots__ = (
        "costly_until",
        "fast_path",
        "fault",
        "file",
        "has_backlog",
        "is_at_end",
        "is_bot",
        "is_costly",
        "is_raw_tcp",
        "resume",
        "take_audio",
        "take_text",
        "transport",
    )

    def __init__(
        self,
        transport: Connection,
        take_audio: Take,
        take_text: Take,
        resume: Callable[[], object],
        is_raw_tcp: bool,
        is_bot: bool,
    ) -> None:
        self.transport = transport
        self.file = transport.fileno()  # kept, because a lost transport has none
        self.take_audio = take_audio
        self.take_text = take_text
        self.resume = resume
        self.is_raw_tcp = is_raw_tcp
        #: True for a bot: the caller waits for what it says.
        self.is_bot = is_bot
        #: True while the connection is between two messages and accepts messages. Set by the protocol at each change.
        self.fast_path = False
        #: True if bytes that were read are left for the next batch. Set by the protocol.
        self.has_backlog = False
        #: True if the rest takes long to handle: a backlog, or a long text in progress. Set by the protocol.
        self.is_costly = False
        #: The connection is read after all others until this time.
        self.costly_until = 0.0
        #: The errno of a read error, or 0. The reactor, which reads again, reports only the end of the stream.
        self.fault = 0
        #: True if a read found the end of the stream.
        self.is_at_end = False


@implementer(IReadDescriptor)
class BatchReader:
    """Reads the registered connections in batches, in the reactor thread.

    :param reactor: a reactor that can watch an epoll file descriptor, with its clock.
    :param is_enabled: False: it registers no connection, and the reactor reads all of them.
    """

    _log = Logger()

    def __init__(self, reactor: Any, is_enabled: bool = True) -> None:
        self._reactor = reactor
        self._is_enabled = is_enabled
        self._epoll = select.epoll()
        self._handles: dict[int, ReadHandle] = {}
        #: Connections to read or resume, in this order, with their epoll events: the ones left over from the last
        #: batch, and the costly ones.
        self._late: OrderedDict[ReadHandle, int] = OrderedDict()
        self._costly: OrderedDict[ReadHandle, int] = OrderedDict()
        self._is_scheduled = False
        self._interval = MIN_INTERVAL
        self._bots = 0  # registered ones
        self._is_behind = False  # most connections that were read have more data
        self._current: ReadHandle | None = None  # the connection that is being read
        self._has_answer = False

    def register(
        self, transport: Any, take_audio: Take, take_text: Take, resume: Callable[[], object], is_bot: bool = False
    ) -> ReadHandle | None:
        """Reads ``transport`` from now on, instead of the reactor.

        :param take_audio: called with each binary message, ``take_text`` with each text message.
        :param resume: called instead of a read while the handle has a backlog.
        :param is_bot: while there is one, batches are at most :data:`BOT_INTERVAL` apart.
        :returns: the handle; None if the transport has no socket or the reader is not enabled, so that the reactor
            continues to read it.
        """
        socket = base_transport(transport)
        if not self._is_enabled or not isinstance(socket, Connection):
            return None
        socket.stopReading()
        handle = ReadHandle(socket, take_audio, take_text, resume, carrier(transport) is socket, is_bot)
        self._bots += is_bot
        self._epoll.register(handle.file, select.EPOLLIN)
        self._handles[handle.file] = handle
        self._wait()
        return handle

    def unregister(self, handle: ReadHandle) -> None:
        """Forgets a lost connection. The kernel removed its socket from the epoll when it was closed."""
        handle.fast_path = False
        self._late.pop(handle, None)
        self._costly.pop(handle, None)
        if self._handles.get(handle.file) is handle:
            del self._handles[handle.file]
            self._bots -= handle.is_bot
        if not self._handles:
            self._reactor.removeReader(self)

    def resume(self, handle: ReadHandle) -> None:
        """Schedules a connection with a backlog that another part of the program read."""
        self._costly[handle] = 0
        if not self._is_scheduled:
            self._is_scheduled = True
            self._reactor.removeReader(self)
            self._reactor.callLater(MIN_INTERVAL, self._read_batch)

    def write_now(self, handle: ReadHandle, data: bytes) -> bytes:
        """Sends ``data`` at once if it answers the message that is being handled.

        Through the reactor, an answer would wait for its next turn and cost as much as a frame. Through the transport
        it would change the events that the reactor's epoll watches twice: 3 % of the daemon's CPU time with pings.

        :returns: the bytes that the caller must write to the transport.
        """
        if handle is not self._current:
            return data
        if not handle.is_raw_tcp or _is_busy(handle.transport):
            self._has_answer = True
            return data
        sent = handle.transport.writeSomeData(data)
        return data[sent:] if isinstance(sent, int) else data  # the transport handles the error

    # ---- IReadDescriptor -------------------------------------------------------------------------

    def fileno(self) -> int:
        """The epoll. It is readable when one of its sockets is."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """The prefix of its log lines."""
        return "batch reader"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped."""

    def doRead(self) -> None:
        """Starts reading in batches after an idle time."""
        self._reactor.removeReader(self)
        self._read_batch()

    # ---- batches ---------------------------------------------------------------------------------

    def _wait(self) -> None:
        if self._handles and not self._is_scheduled:
            self._reactor.addReader(self)

    def _read_batch(self) -> None:
        self._is_scheduled = True  # connections that are registered now are waited for later
        has_read = True  # also after an error: the other calls must be read
        try:
            has_read = self._read_all()
        finally:
            self._is_scheduled = has_read
            if has_read:
                has_more = self._is_behind or self._late or self._costly
                self._reactor.callLater(MIN_INTERVAL if has_more else self._interval, self._read_batch)
            else:
                self._wait()

    def _read_all(self) -> bool:
        """Reads the readable connections, the costly ones last, within :data:`TURN`. False if none was readable."""
        now = self._reactor.seconds()
        end = now + TURN
        now = self._read_waiting(self._late, now, end)
        ready = self._epoll.poll(0)
        for file, events in ready:
            handle = self._handles.get(file)
            if handle is not None:  # an earlier one may have caused it to be dropped
                if handle.has_backlog or now < handle.costly_until:
                    self._costly[handle] = events
                elif now < end:
                    now = self._read(handle, events)
                else:
                    self._late[handle] = events
        self._read_waiting(self._costly, now, now + COSTLY_SHARE)
        self._current = None
        if ready:
            target = TARGET_BATCH * math.sqrt(self._interval / MAX_INTERVAL)
            wanted = self._interval * (target / len(ready)) ** SMOOTHING
            self._interval = min(BOT_INTERVAL if self._bots else MAX_INTERVAL, max(MIN_INTERVAL, wanted))
            # One read per 16 ms is 16 times the audio of a call. More arrives after a suspension of the daemon, or
            # from a faster client: calls at 20 times the normal rate got their pongs after 13 s.
            more = self._epoll.poll(0)
            self._is_behind = 2 * len(more) >= len(ready) and 2 * len({*more} & {*ready}) >= len(ready)
        return bool(ready or self._late or self._costly)

    def _read_waiting(self, waiting: "OrderedDict[ReadHandle, int]", now: float, end: float) -> float:
        """Reads each waiting connection once, until the time ``end``. Returns the current time."""
        for _ in range(len(waiting)):
            if now >= end or not waiting:  # one may have caused others to be dropped
                break
            handle, events = waiting.popitem(last=False)
            now = self._read(handle, events)
        return now

    def _read(self, handle: ReadHandle, events: int) -> float:
        """Reads a connection once, or resumes its backlog. Returns the current time."""
        self._current, self._has_answer = handle, False
        try:
            if events & select.EPOLLERR:
                handle.fault = handle.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if handle.has_backlog:
                handle.resume()
            elif not (handle.fast_path and _read_fast(handle)) and not _read_transport(handle):
                self._return_to_reactor(handle)
            if self._has_answer:
                self._answer(handle)
        except BaseException:  # as the reactor does: only this connection is lost
            self._log.failure("connection aborted: reading it failed")
            handle.transport.abortConnection()
        now: float = self._reactor.seconds()
        if handle.is_costly:
            handle.costly_until = now + COSTLY_TIME
        if handle.has_backlog and self._handles.get(handle.file) is handle:
            self._costly[handle] = 0
        return now

    def _answer(self, handle: ReadHandle) -> None:
        """Writes once. The transport leaves the rest, an error and the end to the reactor."""
        if self._handles.get(handle.file) is handle and not handle.transport.disconnecting:
            handle.transport.doWrite()

    def _return_to_reactor(self, handle: ReadHandle) -> None:
        """Lets the reactor read a connection that ended or failed; the reactor finds the cause."""
        if self._handles.get(handle.file) is not handle:
            return
        self.unregister(handle)
        self._epoll.unregister(handle.file)
        if not handle.transport.disconnecting:
            handle.transport.startReading()


def _read_fast(handle: ReadHandle) -> bool:
    """Reads a connection on the fast path. False if the transport must read it instead."""
    received = recv_messages(handle.file)
    if received is None:
        return False
    messages, rest = received
    for message in messages:
        if handle.fast_path:  # an earlier message may have ended the call
            handle.take_audio(message)
    text = parse_text_message(rest) if handle.fast_path else None
    if text is not None:
        handle.take_text(text)
    elif rest:
        handle.transport.protocol.dataReceived(rest)
    return True


def _is_busy(transport: Connection) -> bool:
    """True if the transport has bytes to write, or is ending."""
    return bool(transport.dataBuffer or transport._tempDataLen or transport.disconnecting or not transport.connected)


def _read_transport(handle: ReadHandle) -> bool:
    """Lets the transport read, unless it is being closed. False if the connection has ended."""
    if handle.transport.disconnecting:
        return False
    end = handle.transport.doRead()
    handle.is_at_end = end is CONNECTION_DONE
    return end is None
