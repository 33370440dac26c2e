"""Measures what the daemon adds between a bot's speech and the caller."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.cpu_affinity import pinned_to
from bench.load import plan_for, run
from bench.result import Report, Result, median
from bench.scenarios.runner import Runner
from bench.servers import KEYS, ROOT, Server, serving

#: Calls of an echo bot, which are recorded, too, and further recorded calls.
BOTS, RECORDED = 200, 200
#: Milliseconds, 99th percentile.
TARGET = 30.0
PATH = "/api/v1/bots/echo"
#: TOML accepts both spellings of the header; a dictionary has each key once.
TABLES: dict[str, dict[str, Any]] = {
    "[route]": {"path": "/api/v1/audiohook/ws", "plugins": ["recorder"]},
    "[ route ]": {"path": PATH, "product": "audio-connector", "plugins": ["recorder", "echobot"]},
    "plugins.echobot": {},
}


def bots(runner: Runner) -> Report:
    """Measures from the frame that completes an echo to the echo, beside recorded calls."""
    rows = [_measure(runner) for _ in range(runner.effort.pairs)]
    value, spread = median([row["p99"] for row in rows])
    share, _ = median([row["share"] for row in rows])
    description = f"speech to its echo, p99, {BOTS} bots beside {RECORDED} recorded calls, {share:.0%} of a processor"
    note = f"p50 {median([row['p50'] for row in rows])[0]:.1f} ms, longest {max(row['max'] for row in rows):.0f} ms"
    return Report("bots", [Result("bots", description, value, "ms", TARGET, spread, note)], rows)


def _measure(runner: Runner) -> dict[str, Any]:
    with serving("daemon", runner.cores, TABLES) as server, ThreadPoolExecutor(1) as pool:
        plan = plan_for(server, sessions=RECORDED, steady=runner.effort.steady + 6.0, arrival=2.0)
        load = pool.submit(run, server, runner.cores, plan)
        result = _callers(runner, server)
        recorded = load.result()
    return result | {"side": "daemon", "sessions": BOTS, "share": recorded.share}


def _callers(runner: Runner, server: Server) -> dict[str, Any]:
    url = f"ws://127.0.0.1:{server.port}{PATH}"
    command = [sys.executable, "-m", "bench.bot_callers", "--url", url, "--keys", str(KEYS)]
    command += ["--calls", str(BOTS), "--seconds", str(runner.effort.steady)]
    with pinned_to(runner.cores.others):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        raise RuntimeError(f"the calls of bots failed: {done.stdout} {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
