"""Makes the store unavailable for a time, in three ways, during calls: all recordings are uploaded afterwards."""

import time
from pathlib import Path
from typing import NamedTuple

from tests.crash.calls import Lines
from tests.crash.recording_site import Site
from tests.crash.verdict import KINDS, Verdict, judge
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Answer, Hang
from tests.stores.seaweedfs import SeaweedFS

BUCKET = "outage"
#: Simultaneous calls.
LINES = 16


class Outage(NamedTuple):
    """The outage in seconds, and the number of calls during it.

    ``timeout`` is an option of the plugin, ``retry_max_delay`` of the daemon.
    """

    seconds: float
    calls: int
    timeout: float = 60.0
    retry_max_delay: float = 300.0

    @property
    def duration(self) -> tuple[float, float]:
        """The shortest and longest call, chosen so that the last one ends near the end of the outage."""
        mean = max(0.3, 0.8 * self.seconds * LINES / self.calls)
        return 0.5 * mean, 1.5 * mean


def run(outage: Outage, directory: Path) -> Verdict:
    """Runs the test in ``directory`` and prints the figures."""
    tables = {
        "delivery": {
            "retry_initial_delay": min(1.0, outage.retry_max_delay),
            "retry_max_delay": outage.retry_max_delay,
        },
        "plugins.s3": {"timeout": outage.timeout},
    }
    with SeaweedFS(directory / "store") as store, FaultProxy(store.port) as proxy:
        store.create_bucket(BUCKET)
        with Site(directory, store, BUCKET, proxy.endpoint, **tables) as site:
            site.start()
            lines = Lines(site.port, LINES, outage.duration, seed=1)
            lines.start()
            tries = _suffer(outage, proxy, lines)
            waiting = len(site.files("ready")) // 2
            healed = time.monotonic()
            is_empty = site.wait_until_empty(outage.retry_max_delay + 120)
            took = time.monotonic() - healed
            site.stop()
            verdict = judge(site, lines.calls, {}, 0)
            if not is_empty:
                verdict.blame("files left in the spool", f"the spool was not empty after {took:.0f} s")
    print(f"{'calls:':36}{verdict.calls}, {verdict.whole} stored whole")
    print(f"{'the outage:':36}{outage.seconds:.0f} s: refused, hanging, SlowDown; {tries} connections or requests")
    print(f"{'recordings waiting at its end:':36}{waiting}; stored {took:.1f} s later")
    for kind in KINDS:
        print(f"{kind + ':':36}{verdict.wrong[kind]}")
    for text in verdict.why[:20]:
        print(f"  {text}")
    return verdict


def _suffer(outage: Outage, proxy: FaultProxy, lines: Lines) -> int:
    """Runs the three kinds of outage.

    :returns: the number of failed requests that the proxy saw; it does not see refused connections.
    """
    begun = time.monotonic()
    third = outage.seconds / 3
    proxy.refuse()
    _wait(begun + third, outage, lines)
    proxy.fault(Hang(), times=None)
    proxy.accept()
    _wait(begun + 2 * third, outage, lines)
    proxy.refuse()  # ends the hanging requests
    proxy.heal()
    proxy.fault(Answer(503, "SlowDown"), times=None)
    _wait(begun + 3 * third, outage, lines)
    while len(lines.calls) < outage.calls:
        time.sleep(0.01)
    lines.hang_up()
    tries = len(proxy.log)
    proxy.heal()
    return tries


def _wait(until: float, outage: Outage, lines: Lines) -> None:
    """Waits until an instant, and then until the lines have made enough calls."""
    while time.monotonic() < until:
        time.sleep(0.05)
        if len(lines.calls) >= outage.calls:
            lines.hang_up()
