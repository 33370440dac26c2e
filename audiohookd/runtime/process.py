"""Settings of the process: its clock, its garbage collector and its limit of open files."""

import gc
import resource
import time
from typing import Any

from twisted.logger import Logger

#: Threshold of the youngest generation. With Python's default of 700, each commit of 500 calls triggered a
#: collection, and each hundredth one was a full collection: a third of the reactor's CPU time.
YOUNGEST = 50_000
#: Thresholds of the older generations.
OLDER = 20

_log = Logger()


def use_monotonic_clock(reactor: Any) -> None:
    """Makes a reactor use a monotonic clock. Call it before anything is scheduled.

    Twisted uses the wall clock: if it is set back by an hour, all timers wait for an hour. The replacement works
    because ``callLater``, ``reset``, ``timeout``, ``runUntilCurrent``, LoopingCall, time-outs of Deferreds and
    Autobahn's timers all look up ``seconds`` on the reactor instance.
    """
    reactor.seconds = time.monotonic


def freeze_gc() -> None:
    """Excludes all existing objects from collection, and makes later collections rare.

    Calls leave no reference cycles, so their memory is freed without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, OLDER, OLDER)


def raise_nofile(needed: int) -> bool:
    """Raises this process's own limit to ``needed``, as far as the system allows; False when that is not far enough.

    Debian's default of 1,024 is enough for some 300 calls; the next ones would be answered and not recorded.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    reachable = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if reachable > soft:  # not for nothing: the systemd unit forbids the call, and sets both limits itself
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    if soft >= needed:
        return True
    _log.warn("{needed} open files are needed, and {soft} are allowed: raise LimitNOFILE", needed=needed, soft=soft)
    return False
