"""``make crash``: checks that crashes, power losses and outages lose no more than promised."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash import ext4, outage, runs, slow_store
from tests.crash.outage import Outage
from tests.crash.runs import Campaign
from tests.crash.slow_store import MIB, Trickle

#: Bytes by which the daemon may grow while it uploads: for the buffers of its connections, not for waiting files.
GROWTH = 30 * MIB


def main() -> int:
    """Runs the chosen test. Returns 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    add = parser.add_argument
    add("--runs", type=int, default=200, help="how often the daemon is killed (default 200)")
    add("--calls", type=int, default=12, help="calls at a time (default 12)")
    add("--seed", type=int, default=1, help="seed for the instants of the kills (default 1)")
    add("--power", choices=("ext4", "synced"), help="also cut the power: of a real ext4, as root, or in a model")
    add("--leeway", type=float, default=0, help="extra seconds of lost audio, for a busy machine (default 0)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--outage", type=float, metavar="SECONDS", help="no kills: no store for a time, 200 calls")
    other.add_argument("--slow", type=float, metavar="SECONDS", help="no kills: uploads over a line of 100 kB/s")
    arguments = parser.parse_args()
    if arguments.power == "ext4" and (why := ext4.missing()):
        parser.error(f"cannot cut the power of an ext4 here: {why}; use the model with POWER=synced")
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
