"""Uploads recordings over a slow line: the daemon's memory must not grow with the waiting recordings."""

import time
from pathlib import Path
from typing import NamedTuple

from tests.crash.recording_site import PATIENCE, Site
from tests.stores.fault_proxy import FaultProxy
from tests.stores.recordings import fill
from tests.stores.seaweedfs import SeaweedFS

BUCKET = "trickle"
#: Seconds between two samples of the daemon's memory.
LOOK = 0.2
MIB = 1 << 20


class Trickle(NamedTuple):
    """A number of recordings of ``length`` seconds each, and a line of ``rate`` bytes per second.

    ``seconds``: the time for which the line is slow and the memory is sampled.
    """

    recordings: int
    length: float
    rate: float
    seconds: float


class Growth(NamedTuple):
    """The daemon's memory at the first request, its peak since, and the data sent until then, in bytes."""

    start: int
    peak: int
    sent: int
    stored: int

    @property
    def bytes(self) -> int:
        """The growth in bytes."""
        return self.peak - self.start


def run(trickle: Trickle, directory: Path) -> Growth:
    """Runs the test in ``directory`` and prints the figures.

    :raises TimeoutError: not all recordings were uploaded.
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
                raise TimeoutError(f"not uploaded in time: {site.files('draft', 'ready')}")
            site.stop()
        listed = store.client().list_objects_v2(Bucket=BUCKET)
        growth = growth._replace(stored=listed["KeyCount"] // 2)
    print(f"{'waiting:':36}{trickle.recordings} recordings, {waiting / MIB:.1f} MiB")
    print(f"{'the line:':36}{trickle.rate / 1000:.0f} kB/s for {trickle.seconds:.0f} s: {growth.sent / MIB:.1f} MiB")
    print(f"{'memory at the first upload:':36}{growth.start / MIB:.1f} MiB")
    print(f"{'peak since:':36}{growth.peak / MIB:.1f} MiB ({growth.bytes / MIB:+.1f} MiB)")
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
