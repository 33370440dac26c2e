"""Plugins that do what a test says."""

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from audiohookd.interfaces import IAdmission, IOpening, IPlugin, ISession
from audiohookd.session.fanout import Watcher
from audiohookd.testing import CapturingSink


@implementer(IPlugin)
class Plugin:
    """Watches each session with ``observer``, or raises it when it is an exception."""

    def __init__(self, observer: Any = None) -> None:
        self.observer = observer
        self.sessions: list[ISession] = []

    def observe(self, session: ISession) -> Any:
        self.sessions.append(session)
        if isinstance(self.observer, Exception):
            raise self.observer
        return self.observer


@implementer(IAdmission)
class Admitting(Plugin):
    """Says ``admit`` to each opening."""

    def __init__(self, admit: Callable[[IOpening], Any], observer: Any = None) -> None:
        super().__init__(observer)
        self.admit = admit


def watched_by(observer: Any, name: str = "plugin", required: bool = False) -> Watcher:
    return Watcher(name, Plugin(observer), required)


def admitted_by(
    admit: Callable[[IOpening], Any], observer: Any = None, name: str = "plugin", required: bool = False
) -> Watcher:
    return Watcher(name, Admitting(admit, observer), required)


class CountingClock(Clock):
    """Counts how often a timer was armed."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = 0

    def callLater(self, when: float, what: Callable[..., object], *args: Any, **kw: Any) -> Any:  # type: ignore[override]
        self.armed += 1
        return super().callLater(when, what, *args, **kw)


class CountedBytes(bytes):
    """Bytes of which it is known how many are kept."""

    alive = 0

    def __new__(cls, data: bytes) -> "CountedBytes":
        CountedBytes.alive += len(data)
        return super().__new__(cls, data)

    def __del__(self) -> None:
        CountedBytes.alive -= len(self)


def assert_tiles(sink: CapturingSink, start: int, frame_bytes: int) -> int:
    """Audio and gaps follow one another without hole or overlap; returns the position where they end."""
    position = start
    for name, *arguments in sink.calls:
        if name == "audio":
            samples, rest = divmod(len(arguments[0]), frame_bytes)
            assert rest == 0
            position += samples
        elif name == "gap":
            assert arguments[0].start == position
            assert arguments[0].samples > 0
            position += arguments[0].samples
    return position
