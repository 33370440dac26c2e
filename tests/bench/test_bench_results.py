import pytest

from bench import results
from bench.cpu_affinity import Cores, share
from bench.generator.plan import Plan, parse
from bench.process_stats import Memory
from bench.result import Report, Result, median
from bench.scenarios.latency import sessions_for
from bench.scenarios.memory import grown
from bench.servers import KEYS, MAX_SESSIONS, VOICE
from bench.sizing import calls_per_core, sizing

MACHINE = {"date": "2026-01-31", "python": "3.11.7"}
GOOD = Result("ratio-200", "processor of stock Autobahn's", 0.42, "", 0.5, (0.4, 0.45))
BAD = Result("memory", "memory of each call", 63.25, "KiB", 48.0, None, "idle 41 MiB")
PLAIN = Result("daemon-200", "daemon", 30.0, "µs/frame")
REPORTS = [Report("frames-200", [GOOD, PLAIN], [{"sessions": 500}]), Report("memory", [BAD], [])]


def test_json_keeps_everything() -> None:
    assert results.from_json(results.as_json(MACHINE, REPORTS)) == (MACHINE, REPORTS)


def test_the_table_marks_missed_targets() -> None:
    lines = results.table(REPORTS).splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        result.what for report in REPORTS for result in report.findings
    ]
    assert "0.42 (0.40 to 0.45)" in lines[0]
    assert "at most 0.50" in lines[0]
    assert ["MISSED" in line for line in lines] == [False, False, True]
    assert lines[2].endswith("idle 41 MiB")


def test_the_documentation_gets_all_tables() -> None:
    text = results.rst(MACHINE, REPORTS)
    assert text.count(".. list-table::") == 3
    assert "   * - python\n     - 3.11.7\n" in text
    assert "   * - memory of each call (idle 41 MiB)\n     - 63.2 KiB\n     - at most 48\n" in text
    assert "   * - daemon\n     - 30 µs/frame\n     -\n" in text


def test_a_result_is_good_up_to_its_target() -> None:
    assert GOOD._replace(value=0.5).is_good
    assert not GOOD._replace(value=0.51).is_good
    assert PLAIN.is_good


def test_a_median_has_a_spread() -> None:
    assert median([3.0, 1.0, 2.0]) == (2.0, (1.0, 3.0))
    assert median([3.0]) == (3.0, None)


def test_the_size_of_a_machine_follows_from_the_results() -> None:
    rows = dict(sizing(REPORTS))
    assert rows["processors"] == "0.15"
    assert rows["calls a core carries at 60%"] == "4,000"
    assert rows["memory, besides the idle daemon's"] == "62 MiB"
    assert rows["network, in"] == "136 Mbit/s"
    assert rows["disk, written"] == "16 MB/s"
    assert rows["disk, for each hour in which the store is unavailable"] == "57.6 GB"
    assert sizing([REPORTS[0]._replace(findings=[GOOD])]) == []


def test_calls_per_core_leave_headroom() -> None:
    assert calls_per_core(40.0) == 3000
    assert calls_per_core(20.0) == 6000


def test_the_server_gets_a_processor_of_its_own() -> None:
    assert share({2, 0, 5}) == Cores(frozenset({0}), frozenset({2, 5}))
    assert "only the server on processor 0" in str(share({0, 1}))
    assert share({3}) == Cores(frozenset({3}), frozenset({3}))
    assert str(share({3})) == "one processor for everything"


def test_the_number_of_calls_is_scaled_to_half_a_processor() -> None:
    assert sessions_for(0.5, 0.1, 500) == 2500
    assert sessions_for(0.5, 0.8, 500) == 310
    assert sessions_for(0.5, 0.01, 500) == MAX_SESSIONS


def test_growing_memory_is_detected_and_waves_are_not() -> None:
    waves = [Memory(0, own) for own in (10, 50, 30) * 6]
    assert grown(waves) == 0
    assert grown([Memory(0, 100 * number) for number in range(9)]) == 600


def test_a_plan_survives_the_command_line() -> None:
    plan = Plan(port=1234, keys=KEYS, voice=VOICE, sessions=7, frame=20, speed=20.0, probe=0.005, ledger=True)
    assert parse(plan.arguments()) == plan
    assert parse(plan._replace(ledger=False).arguments()) == plan._replace(ledger=False)
    assert plan.period == pytest.approx(0.001)
