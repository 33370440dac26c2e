"""``python -m bench``: what the daemon costs, and what it can carry. START READING HERE.

Runs the scenarios that are named, or all. Results go to the terminal as a table, to ``build/bench/results.json``, and
into plots beside it.
"""

import argparse
import os
import sys
from pathlib import Path

from bench import results
from bench.cpu_affinity import share
from bench.load import CallsFailed
from bench.machine import describe
from bench.plots import draw
from bench.result import Report, Result
from bench.scenarios.catalogue import FULL, SCENARIOS, SHORT
from bench.scenarios.runner import Runner
from bench.servers import ROOT

PLACE = ROOT / "build/bench"


def main() -> int:
    """0 when everything is as it must be."""
    arguments = _arguments()
    if arguments.rst:
        print(results.rst(*results.from_json(arguments.rst.read_text())))
        return 0
    cores = share(os.sched_getaffinity(0))
    machine = describe(cores)
    print("; ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    extent = FULL if arguments.full else SHORT
    given = {name: getattr(arguments, name) for name in ("pairs", "steady") if getattr(arguments, name) is not None}
    site = Runner(cores, extent._replace(**given), lambda line: print(line, flush=True))
    reports = []
    for name in arguments.scenarios or [name for name, one in SCENARIOS.items() if arguments.full or one.is_short]:
        print(f"\n{name}: {SCENARIOS[name].about}", flush=True)
        reports.append(_run(name, site))
    _keep(machine, reports)
    return 0 if all(one.is_good for report in reports for one in report.findings) else 1


def _run(name: str, site: Runner) -> Report:
    """What was found; that calls failed is a finding, too."""
    try:
        return SCENARIOS[name].run(site)
    except CallsFailed as failure:
        what = f"{SCENARIOS[name].about}: calls that failed"
        return Report(name, [Result(f"{name}-failed", what, 1, "", 0, None, str(failure))], [])


def _arguments() -> argparse.Namespace:
    lines = "\n".join(f"  {name:12}{scenario.about}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"scenarios:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO")
    parser.add_argument("--full", action="store_true", help="the figures, not just a look: 45 minutes")
    parser.add_argument("--pairs", type=int, help="how often each side runs")
    parser.add_argument("--steady", type=float, help="seconds that are measured in each run")
    parser.add_argument("--rst", type=Path, metavar="JSON", help="only write tables of earlier results")
    return parser.parse_args()


def _keep(machine: dict[str, str], reports: list[Report]) -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "results.json").write_text(results.as_json(machine, reports))
    drawn = draw(reports, PLACE)
    print(f"\n{results.table(reports)}\n\nin {PLACE}: results.json, {', '.join(path.name for path in drawn)}")


if __name__ == "__main__":
    sys.exit(main())
