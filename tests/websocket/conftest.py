"""What tests of the server have in common: the log, that no failure goes unseen, and connections that ears read."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from audiohookd.websocket.fastpath.batch_reader import BatchReader
from tests.websocket.batch_reader_rig import Call, Connect, Listener


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[LogEvent]]:
    """The logged events. An unhandled failure of a Deferred fails the test."""
    found: list[LogEvent] = []
    globalLogPublisher.addObserver(found.append)  # type: ignore[arg-type]
    yield found
    gc.collect(1)  # a full one, for each test, would take half of the time
    globalLogPublisher.removeObserver(found.append)  # type: ignore[arg-type]
    unseen = [event for event in found if event["log_level"] is LogLevel.critical and not _told(event)]
    assert unseen == []


def _told(event: LogEvent) -> bool:
    """Failures of plugins, and of our own, are logged as such; whatever else is critical went unseen."""
    return str(event["log_namespace"]).startswith("audiohookd.")


@pytest.fixture
def reactor() -> MemoryReactorClock:
    return MemoryReactorClock()


@pytest.fixture
def ears(reactor: MemoryReactorClock) -> BatchReader:
    return BatchReader(reactor)


@pytest.fixture
def connect(reactor: MemoryReactorClock) -> Iterator[Connect]:
    """Makes lines, which are gone at the end."""
    with ExitStack() as sockets:

        def make(protocol: Listener | None = None) -> Call:
            line = Call(reactor, protocol)
            for end in (line.peer, line.transport.socket):
                sockets.callback(end.close)
            return line

        yield make


@pytest.fixture
def lines(ears: BatchReader, connect: Connect) -> list[Call]:
    """Two of them."""
    lines = [connect(), connect()]
    for line in lines:
        line.join(ears)
    return lines
