"""Measures the speed of uploads to a bucket: the daemon against a plain loop around boto3, in pairs, on one store.

One side is the whole daemon with a spool full of finished recordings, from its start until the spool is empty. It
reads each file, compares it with the sidecar, uploads it on the condition that nothing is overwritten, confirms the
object at the store, writes a receipt, and deletes the file. The other side only calls ``upload_file`` for the same
files, in the same number of threads. Each side runs in a separate process. The time of its imports is not counted.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import boto3
import twisted

from tests.stores.recordings import fill
from tests.stores.seaweedfs import SeaweedFS

SIDES = Path(__file__).with_name("comparison.py")


class Load(NamedTuple):
    """``number`` recordings of ``seconds``. ``target`` is the daemon's minimum speed relative to the plain loop."""

    name: str
    number: int
    seconds: float
    target: float | None


#: For short calls, the two requests by which the daemon confirms each recording are a large part of the work. The
#: ratio is shown without a target, because a target would only limit the distance to the store.
LOADS = (Load("calls of 5 minutes", 40, 300, target=0.9), Load("calls of 30 seconds", 300, 30, target=None))


class Run(NamedTuple):
    """One run of one side."""

    side: str
    bytes: int
    seconds: float
    processor: float  # processor seconds

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.bytes / self.seconds


def main() -> int:
    """Runs all loads.

    :returns: 0 if the daemon reaches its targets.
    """
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="number of runs of each side (default 5)")
    parser.add_argument("--concurrency", type=int, default=8, help="uploads at a time (default 8)")
    arguments = parser.parse_args()
    processors = len(os.sched_getaffinity(0))
    print(f"Python {platform.python_version()}, boto3 {boto3.__version__}, Twisted {twisted.__version__};", end=" ")
    print(f"{processors} processors, the store on the same machine; concurrency {arguments.concurrency}")
    with tempfile.TemporaryDirectory(prefix="audiohookd-bench-") as name:
        directory = Path(name)
        with SeaweedFS(directory / "store") as store:
            good = [_compare(store, load, directory, arguments.pairs, arguments.concurrency) for load in LOADS]
    return 0 if all(good) else 1


def _compare(store: SeaweedFS, load: Load, directory: Path, pairs: int, concurrency: int) -> bool:
    runs = []
    for number in range(2 * pairs):
        # The sides take turns in running first: the number of its objects may make the store slower or faster.
        side = ("daemon", "plain", "plain", "daemon")[number % 4]
        runs.append(_run(store, load, directory, side, concurrency))
    print(f"\n{load.name}: {load.number} recordings, {runs[0].bytes / 1e6:.0f} MB, {pairs} pairs")
    for side in ("daemon", "plain"):
        _print(load, [run for run in runs if run.side == side])
    ratios = sorted(_ratio(runs[2 * pair : 2 * pair + 2]) for pair in range(pairs))
    ratio = statistics.median(ratios)
    target = "" if load.target is None else f"; target: {load.target}"
    print(f"  ratio   median {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}{target})", flush=True)
    return load.target is None or ratio >= load.target


def _run(store: SeaweedFS, load: Load, directory: Path, side: str, concurrency: int) -> Run:
    with tempfile.TemporaryDirectory(dir=directory) as place:
        size = fill(Path(place) / "spool", load.number, load.seconds)
        bucket = f"bench-{uuid4()}"
        store.create_bucket(bucket)
        command = [sys.executable, str(SIDES), side, place, store.endpoint, bucket, str(concurrency)]
        done = subprocess.run(  # noqa: S603 - our own
            command, env=os.environ | store.credentials(), stdout=subprocess.PIPE, text=True, check=True
        )
        client = store.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        stored = sum(len(page.get("Contents", ())) for page in pages)
        if stored != 2 * load.number:
            raise RuntimeError(f"{side}: the bucket has {stored} objects instead of {2 * load.number}")
        seconds, processor = map(float, done.stdout.split()[-2:])
        return Run(side, size, seconds, processor)


def _ratio(pair: Sequence[Run]) -> float:
    rates = {run.side: run.rate for run in pair}
    return rates["daemon"] / rates["plain"]


def _print(load: Load, runs: Sequence[Run]) -> None:
    rates = sorted(run.rate / 1e6 for run in runs)
    each = load.number / statistics.median(run.seconds for run in runs)
    spread = f"({rates[0]:.1f} to {rates[-1]:.1f})"
    processor = 1000 * statistics.median(run.processor for run in runs) / load.number
    print(f"  {runs[0].side:8}{statistics.median(rates):6.1f} MB/s {spread}, {each:.1f} recordings/s,", end=" ")
    print(f"{processor:.1f} ms of processor time each")


if __name__ == "__main__":
    sys.exit(main())
