"""Recordings trickle to a store behind a slow line: the daemon's memory does not grow with what waits."""

import time
from pathlib import Path
from typing import NamedTuple

from tests.crash.recording_site import PATIENCE, Site
from tests.stores.fault_proxy import FaultProxy
from tests.stores.recordings import fill
from tests.stores.seaweedfs import SeaweedFS

BUCKET = "trickle"
#: Seconds from one look at the daemon's memory to the next.
LOOK = 0.2
MIB = 1 << 20


class Trickle(NamedTuple):
    """So many recordings of so many ``length`` seconds, over a line of ``rate`` bytes per second.

    ``seconds``: how long that is watched; then the line is fast again.
    """

    recordings: int
    length: float
    rate: float
    seconds: float


class Growth(NamedTuple):
    """Bytes of the daemon's memory when the first request was made, and at most since; and what went meanwhile."""

    start: int
    peak: int
    sent: int
    stored: int

    @property
    def bytes(self) -> int:
        """By which it grew."""
        return self.peak - self.start


def run(trickle: Trickle, directory: Path) -> Growth:
    """All of it, in ``directory``; prints the figures.

    :raises TimeoutError: not all arrived in the end.
    """
    with SeaweedFS(directory / "store") as store, FaultProxy(store.port) as proxy:
        store.create_bucket(BUCKET)
        with Site(directory, store, BUCKET, proxy.endpoint, **{"plugins.s3": {"timeout": 600}}) as site:
            waiting = fill(site.spool, trickle.recordings, trickle.length)
            proxy.rate = trickle.rate
            site.start()
            growth = _watch(trickle, site, proxy)
            proxy.rate = None
            if not site.wait_until_empty():
                raise TimeoutError(f"still there: {site.files('draft', 'ready')}")
            site.stop()
        listed = store.client().list_objects_v2(Bucket=BUCKET)
        growth = growth._replace(stored=listed["KeyCount"] // 2)
    print(f"{'waiting:':36}{trickle.recordings} recordings, {waiting / MIB:.1f} MiB")
    print(f"{'the line:':36}{trickle.rate / 1000:.0f} kB/s for {trickle.seconds:.0f} s: {growth.sent / MIB:.1f} MiB")
    print(f"{'memory when the first went:':36}{growth.start / MIB:.1f} MiB")
    print(f"{'at most since:':36}{growth.peak / MIB:.1f} MiB, that is {growth.bytes / MIB:+.1f} MiB")
    print(f"{'stored in the end:':36}{growth.stored} recordings")
    return growth


def _watch(trickle: Trickle, site: Site, proxy: FaultProxy) -> Growth:
    deadline = time.monotonic() + PATIENCE
    while not proxy.received:
        if time.monotonic() > deadline:
            raise TimeoutError("nothing was sent")
        time.sleep(0.01)
    start = peak = site.resident()
    end = time.monotonic() + trickle.seconds
    while time.monotonic() < end and site.files("ready"):
        time.sleep(LOOK)
        peak = max(peak, site.resident())
    return Growth(start, peak, proxy.received, 0)
