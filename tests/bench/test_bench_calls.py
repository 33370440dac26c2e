"""Short runs of the generator against both sides: every request is answered."""

import json
import os
from pathlib import Path

import pytest

from bench.cpu_affinity import share
from bench.load import CallsFailed, Run, plan_for, run
from bench.scenarios.integrity import differences
from bench.servers import Server, daemon, serving, sinks

pytestmark = pytest.mark.functional
CORES = share(os.sched_getaffinity(0))
SESSIONS = 8
PLAN = {"sessions": SESSIONS, "arrival": 0.2, "settle": 0.1, "steady": 1.2, "ping": 0.5}


def check(done: Run) -> None:
    """Checks that all responses arrived, and that the result counts everything."""
    result = done.result
    assert (result["sessions"], result["closed"], result["failures"]) == (SESSIONS, SESSIONS, {})
    assert result["opened"]["count"] == SESSIONS
    assert result["round_trip"]["count"] >= SESSIONS
    # Whole periods of the steady part, plus or minus one frame of each call.
    assert result["steady"]["frames"] == pytest.approx(result["steady"]["seconds"] / 0.2 * SESSIONS, abs=2 * SESSIONS)
    assert result["late"]["count"] == result["frames"] > result["steady"]["frames"]
    assert 0 < done.share < 1
    assert done.microseconds > 0


def test_stock_autobahn_answers_everything() -> None:
    with serving("stock", CORES) as server:
        check(run(server, CORES, plan_for(server, **PLAN)))


def test_the_daemon_answers_everything_and_records_the_sent_audio(tmp_path: Path) -> None:
    with daemon(CORES, tmp_path, sinks(1)) as server:
        done = run(server, CORES, plan_for(server, **PLAN, probe=0.02, ledger=True), samples=4)
    check(done)
    assert done.result["probe"]["count"] > 20
    assert len(done.samples) >= 3
    ledger = done.result["ledger"]
    recorded = [about for about in map(_about, tmp_path.glob("spool/ready/*/*.json")) if about["samples"]]
    assert len(recorded) == SESSIONS
    (probe,) = differences(server.spool, ledger)
    assert "duplicate, or of no call" in probe
    path = next(path for path in tmp_path.glob("spool/ready/*/*.wav") if path.stat().st_size > 3200)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert len(list(differences(server.spool, ledger))) == 2


def test_an_unreachable_server_is_a_failure() -> None:
    unreachable = Server("stock", os.getpid(), port=1)
    with pytest.raises(CallsFailed, match="connection lost"):
        run(unreachable, CORES, plan_for(unreachable, sessions=1, arrival=0.1, settle=0.1, steady=0.1))


def _about(path: Path) -> dict[str, object]:
    about: dict[str, object] = json.loads(path.read_text())["recording"]
    return about
