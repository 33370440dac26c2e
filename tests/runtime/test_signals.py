"""The second signal."""

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock

from audiohookd.runtime.signals import SecondSignal


class Reactor(MemoryReactorClock):
    """One that does at once what comes from a thread."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)


def test_signals_keep_their_meaning_until_the_stop_and_then_hurry() -> None:
    handlers: dict[int, Callable[[int, Any], None]] = {}
    hurried: list[str] = []
    service = SecondSignal(Reactor(), lambda: hurried.append("now"), handlers.__setitem__)
    service.startService()
    assert handlers == {}
    service.stopService()
    assert set(handlers) == {signal.SIGINT, signal.SIGTERM}
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    handlers[signal.SIGINT](signal.SIGINT, None)
    assert hurried == ["now", "now"]
