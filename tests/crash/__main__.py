"""``make crash``: whether anything gets lost, whatever dies."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash import ext4, outage, runs, slow_store
from tests.crash.outage import Outage
from tests.crash.runs import Campaign
from tests.crash.slow_store import MIB, Trickle

#: By so many bytes the daemon may grow while it uploads: for buffers of its connections, not for what waits.
GROWTH = 30 * MIB


def main() -> int:
    """0 when nothing got lost."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    add = parser.add_argument
    add("--runs", type=int, default=200, help="how often the daemon is killed (default 200)")
    add("--calls", type=int, default=12, help="calls at a time (default 12)")
    add("--seed", type=int, default=1, help="chooses the instants (default 1)")
    add("--power", choices=("ext4", "synced"), help="each time the power fails: of an ext4, as root; or in a model")
    add("--leeway", type=float, default=0, help="seconds beyond the bound, for a busy machine (default 0)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--outage", type=float, metavar="SECONDS", help="no kills: the store is away, under 200 calls")
    other.add_argument("--slow", type=float, metavar="SECONDS", help="no kills: a line of 100 kB/s")
    arguments = parser.parse_args()
    if arguments.power == "ext4" and (why := ext4.missing()):
        parser.error(f"no ext4 can lose its power here: {why}; POWER=synced is a model of it")
    with tempfile.TemporaryDirectory(prefix="audiohookd-crash-") as name:
        return 0 if _is_good(arguments, Path(name)) else 1


def _is_good(arguments: argparse.Namespace, directory: Path) -> bool:
    if arguments.outage:
        return outage.run(Outage(arguments.outage, calls=200), directory).is_good
    if arguments.slow:
        growth = slow_store.run(Trickle(24, 300, 100_000, arguments.slow), directory)
        return growth.bytes < GROWTH and growth.stored == 24
    plan = Campaign(arguments.runs, arguments.calls, arguments.seed, arguments.power, arguments.leeway)
    return runs.run(plan, directory).is_good


if __name__ == "__main__":
    sys.exit(main())
