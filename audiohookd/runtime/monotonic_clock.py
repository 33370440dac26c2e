"""Replaces the reactor's wall clock by a monotonic clock."""

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Makes a reactor use a monotonic clock. Call it before anything is scheduled.

    Twisted uses the wall clock: if it is set back by an hour, all timers wait for an hour. The replacement works
    because ``callLater``, ``reset``, ``timeout``, ``runUntilCurrent``, LoopingCall, time-outs of Deferreds and
    Autobahn's timers all look up ``seconds`` on the reactor instance.
    """
    reactor.seconds = time.monotonic
