"""Reads from open connections together, a few milliseconds apart, and not each time that one of them has something.

To wake up costs more than a frame: right after it nothing of the program is in the processor's caches. So when
something came in, the rest of what comes in the next milliseconds is awaited. Where a connection is between two
messages, whole messages go straight to whom they are for: that transport and protocol need not be touched is worth
9 % of the daemon's time. All else is read by the connection's own transport of Twisted's, though without its
logging context around each read, and without a turn of the reactor.
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

#: Seconds between two looks at the connections, while there is something each time. A caller waits for 5 s for its
#: ``pong``, and a frame is 20 ms or more; but a look costs as much as four frames. With 500 calls a frame costs 9 %
#: less after 16 ms than after 8. At half a processor one pong in a hundred took 14 to 25 ms with 3 ms at least, and
#: 10 to 12 with 1; a frame cost the same.
SHORTEST: Final = 0.001
LONGEST: Final = 0.016
#: Connections that have something after the longest rest; after a shorter one fewer are enough. The busier the
#: processor is, the longer an answer waits for those that are read before it, and the less it shall have waited.
ENOUGH: Final = 48
#: How much of what a look finds counts for the next rest. With all of it, five by chance made that four times as
#: long, and one pong in ten took 7 ms and not 5, one in a hundred 12 and not 9.
DAMPING: Final = 0.125
#: Seconds of a turn; connections that are not read by then are the first ones of the next turn. Between two turns the
#: reactor does all else: it accepts connections and answers their requests.
TURN: Final = 0.016
#: Seconds for which a connection stays costly, that is, read after all others. Its protocol says when, by frames:
#: by time, an ``open`` beside a busy processor would be as costly as a flood.
COSTLY_TIME: Final = 0.5
#: Seconds of a turn for all costly connections together, in addition.
COSTLY_SHARE: Final = 0.005

Take = Callable[[bytes], object]


class ReadHandle:
    """A connection that is read by the ears.

    :param transport: the socket's own, below whatever wraps it.
    :param take_audio: called with each message of audio that was heard while the line was clear; ``take_text``: with
        each text.
    :param resume: called in place of a read while ``has_backlog``.
    :param is_plain: what comes out of the socket is what the connection's protocol gets: there is no TLS. Only then
        may the line be clear.
    """

    __slots__ = (
        "costly_until",
        "fast_path",
        "fast_path",
        "fault",
        "file",
        "has_backlog",
        "is_at_end",
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
        is_plain: bool,
    ) -> None:
        self.transport = transport
        self.file = transport.fileno()  # which it has no more when it is lost
        self.take_audio = take_audio
        self.take_text = take_text
        self.resume = resume
        self.is_raw_tcp = is_plain
        #: It is between two messages, and the next one is welcome. To be told by its protocol, at each change.
        self.fast_path = False
        #: Its protocol has left some of what was read for the next turn. Set by the protocol.
        self.has_backlog = False
        #: What its protocol has left, or begun to read, takes long: a backlog, or a long text. Set by the protocol.
        self.is_costly = False
        #: It is read after all others until then.
        self.costly_until = 0.0
        #: The errno of a connection that broke, and whether it ended. The reactor, which reads it once more, takes
        #: both for the end of the stream.
        self.fault = 0
        self.is_at_end = False


@implementer(IReadDescriptor)
class BatchReader:
    """For the reactor thread.

    :param reactor: with epoll; and its clock.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._lines: dict[int, ReadHandle] = {}
        #: To be read or resumed, in this order, and what epoll says of them: connections that had something when the
        #: last turn was over, and the costly ones.
        self._late: OrderedDict[ReadHandle, int] = OrderedDict()
        self._costly: OrderedDict[ReadHandle, int] = OrderedDict()
        self._is_resting = False
        self._rest = SHORTEST
        self._is_behind = False  # of those who said something, most have more to say
        self._heard: ReadHandle | None = None  # whom we are listening to just now
        self._is_answered = False

    def register(
        self, transport: Any, take_audio: Take, take_text: Take, resume: Callable[[], object]
    ) -> ReadHandle | None:
        """From now on ``transport`` is read from here.

        None when it is none with a socket of its own: it is read by the reactor, as ever.
        """
        socket = base_transport(transport)
        if not isinstance(socket, Connection):
            return None
        socket.stopReading()
        line = ReadHandle(socket, take_audio, take_text, resume, is_plain=carrier(transport) is socket)
        self._epoll.register(line.file, select.EPOLLIN)
        self._lines[line.file] = line
        self._wait()
        return line

    def unregister(self, line: ReadHandle) -> None:
        """The connection is gone, and its socket closed, which takes it out of the epoll."""
        line.fast_path = False
        self._late.pop(line, None)
        self._costly.pop(line, None)
        if self._lines.get(line.file) is line:
            del self._lines[line.file]
        if not self._lines:
            self._reactor.removeReader(self)

    def resume(self, line: ReadHandle) -> None:
        """Resumes a line whose backlog was not read from here."""
        self._costly[line] = 0
        if not self._is_resting:
            self._is_resting = True
            self._reactor.removeReader(self)
            self._reactor.callLater(SHORTEST, self._listen)

    def write_now(self, line: ReadHandle, data: bytes) -> bytes:
        """Sends ``data`` at once if it answers what the connection said just now; the rest is to be written to it.

        Left to the reactor, an answer takes a turn of that, which costs as much as a frame, and waits for it. To go
        through the transport changes twice what the reactor's epoll watches: with pings, 3 % of the daemon's time.
        """
        if line is not self._heard:
            return data
        if not line.is_raw_tcp or _is_busy(line.transport):
            self._is_answered = True
            return data
        sent = line.transport.writeSomeData(data)
        return data[sent:] if isinstance(sent, int) else data  # a fault is the transport's business

    # ---- IReadDescriptor -------------------------------------------------------------------------

    def fileno(self) -> int:
        """An epoll can be read when something in it can."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """How it calls itself in the log."""
        return "ears"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped."""

    def doRead(self) -> None:
        """Something came in while nothing was awaited."""
        self._reactor.removeReader(self)
        self._listen()

    # ---- listening -------------------------------------------------------------------------------

    def _wait(self) -> None:
        if self._lines and not self._is_resting:
            self._reactor.addReader(self)

    def _listen(self) -> None:
        self._is_resting = True  # who joins meanwhile is waited for afterwards
        has_heard = True  # whatever goes wrong: the calls that are there must be read on
        try:
            has_heard = self._read_all()
        finally:
            self._is_resting = has_heard
            if has_heard:
                has_more = self._is_behind or self._late or self._costly
                self._reactor.callLater(SHORTEST if has_more else self._rest, self._listen)
            else:
                self._wait()

    def _read_all(self) -> bool:
        """Reads what is ready, the costly ones last, while their shares of the turn last. False when nothing was."""
        now = self._reactor.seconds()
        end = now + TURN
        now = self._read_waiting(self._late, now, end)
        ready = self._epoll.poll(0)
        for file, happened in ready:
            line = self._lines.get(file)
            if line is not None:  # one of those before may have had it dropped
                if line.has_backlog or now < line.costly_until:
                    self._costly[line] = happened
                elif now < end:
                    now = self._read(line, happened)
                else:
                    self._late[line] = happened
        self._read_waiting(self._costly, now, now + COSTLY_SHARE)
        self._heard = None
        if ready:
            enough = ENOUGH * math.sqrt(self._rest / LONGEST)
            self._rest = min(LONGEST, max(SHORTEST, self._rest * (enough / len(ready)) ** DAMPING))
            # One read each 16 ms is 16 times what a call says. After a stop of the daemon, or from a client that is
            # quicker still, more than that has come; calls at 20 times their pace got their pongs after 13 s.
            more = self._epoll.poll(0)
            self._is_behind = 2 * len(more) >= len(ready) and 2 * len({*more} & {*ready}) >= len(ready)
        return bool(ready or self._late or self._costly)

    def _read_waiting(self, waiting: "OrderedDict[ReadHandle, int]", now: float, end: float) -> float:
        """Each of those that wait, once, until ``end``. The time afterwards."""
        for _ in range(len(waiting)):
            if now >= end or not waiting:  # one may have had others dropped
                break
            line, happened = waiting.popitem(last=False)
            now = self._read(line, happened)
        return now

    def _read(self, line: ReadHandle, happened: int) -> float:
        """Reads once, or has the connection go on with what it has left. The time afterwards."""
        self._heard, self._is_answered = line, False
        try:
            if happened & select.EPOLLERR:
                line.fault = line.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if line.has_backlog:
                line.resume()
            elif not (line.fast_path and _take(line)) and not _is_going_on(line):
                self._hand_back(line)
            if self._is_answered:
                self._answer(line)
        except BaseException:  # as the reactor does: it costs one connection, and not all of them their ears
            self._log.failure("a connection could not be read")
            line.transport.abortConnection()
        now: float = self._reactor.seconds()
        if line.is_costly:
            line.costly_until = now + COSTLY_TIME
        if line.has_backlog and self._lines.get(line.file) is line:
            self._costly[line] = 0
        return now

    def _answer(self, line: ReadHandle) -> None:
        """What cannot be sent at once is left to the reactor; so is a fault, and the end."""
        if self._lines.get(line.file) is line and not line.transport.disconnecting:
            line.transport.doWrite()

    def _hand_back(self, line: ReadHandle) -> None:
        """It has come to its end, or will. That is the reactor's business, which will see what the matter is."""
        if self._lines.get(line.file) is not line:
            return
        self.unregister(line)
        self._epoll.unregister(line.file)
        if not line.transport.disconnecting:
            line.transport.startReading()


def _take(line: ReadHandle) -> bool:
    """Passes on what a clear line has to say. False when that is nothing to be read here."""
    heard = recv_messages(line.file)
    if heard is None:
        return False
    messages, rest = heard
    for message in messages:
        if line.fast_path:  # the one before may have ended the call
            line.take_audio(message)
    text = parse_text_message(rest) if line.fast_path else None
    if text is not None:
        line.take_text(text)
    elif rest:
        line.transport.protocol.dataReceived(rest)
    return True


def _is_busy(transport: Connection) -> bool:
    """It has something to write, or is about to end."""
    return bool(transport.dataBuffer or transport._tempDataLen or transport.disconnecting or not transport.connected)


def _is_going_on(line: ReadHandle) -> bool:
    """Has the transport read, unless it is being closed. False when this was the end of it."""
    if line.transport.disconnecting:
        return False
    end = line.transport.doRead()
    line.is_at_end = end is CONNECTION_DONE
    return end is None
