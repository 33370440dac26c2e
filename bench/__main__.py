"""``python -m bench``: measures the cost and the capacity of the daemon. START READING HERE.

Runs the named scenarios, or all. Prints the results as a table, and writes ``build/bench/results.json`` with plots
beside it.
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
    """Runs the scenarios.

    :returns: 0 if all results reach their targets.
    """
    arguments = _arguments()
    if arguments.rst:
        print(results.rst(*results.from_json(arguments.rst.read_text())))
        return 0
    cores = share(os.sched_getaffinity(0))
    machine = describe(cores)
    print("; ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    effort = FULL if arguments.full else SHORT
    given = {name: getattr(arguments, name) for name in ("pairs", "steady") if getattr(arguments, name) is not None}
    runner = Runner(cores, effort._replace(**given), lambda line: print(line, flush=True))
    reports = []
    for name in arguments.scenarios or [
        name for name, scenario in SCENARIOS.items() if arguments.full or scenario.is_short
    ]:
        print(f"\n{name}: {SCENARIOS[name].about}", flush=True)
        reports.append(_run(name, runner))
    _keep(machine, reports)
    return 0 if all(result.is_good for report in reports for result in report.findings) else 1


def _run(name: str, runner: Runner) -> Report:
    """Runs one scenario. Failed calls are a result, too."""
    try:
        return SCENARIOS[name].run(runner)
    except CallsFailed as failure:
        description = f"{SCENARIOS[name].about}: failed calls"
        return Report(name, [Result(f"{name}-failed", description, 1, "", 0, None, str(failure))], [])


def _arguments() -> argparse.Namespace:
    lines = "\n".join(f"  {name:12}{scenario.about}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"scenarios:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO")
    parser.add_argument("--full", action="store_true", help="measure the exact figures, in 45 minutes")
    parser.add_argument("--pairs", type=int, help="number of runs of each side")
    parser.add_argument("--steady", type=float, help="measured seconds of each run")
    parser.add_argument("--rst", type=Path, metavar="JSON", help="only print the tables of earlier results")
    return parser.parse_args()


def _keep(machine: dict[str, str], reports: list[Report]) -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "results.json").write_text(results.as_json(machine, reports))
    drawn = draw(reports, PLACE)
    print(f"\n{results.table(reports)}\n\nin {PLACE}: results.json, {', '.join(path.name for path in drawn)}")


if __name__ == "__main__":
    sys.exit(main())
