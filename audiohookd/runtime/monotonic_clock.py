"""Time that nobody can set."""

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Makes the time of a reactor, on which nothing is scheduled yet, one that nobody can set.

    Twisted's is the wall clock: put back by an hour, all that was to happen would wait for an hour. ``callLater``
    adds to ``seconds`` of the reactor and hands the same function to the call for its ``reset``; ``timeout`` and
    ``runUntilCurrent`` compare with it, and LoopingCall, Deferreds' timeouts and Autobahn's timers ask the reactor:
    all of them look it up on the instance.
    """
    reactor.seconds = time.monotonic
