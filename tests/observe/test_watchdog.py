"""The thread that watches the reactor: what it logs and counts, and its end."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent

from audiohookd.observe.blocks import Block
from audiohookd.observe.counters import Counters, exposition
from audiohookd.observe.culprits import COLLECTOR, DAEMON, PROCESS, UNKNOWN, Culprit
from audiohookd.observe.watchdog import LINES_LIMIT, Watchdog
from audiohookd.runtime.services import StartError

EVIL = Culprit("evil", "opened", "Watch.wait", "/srv/evil.py", 31, "srv/evil.py:31 wait")


class Site:
    """A reactor of the test's own, and the watchdog of it."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.counters = Counters()
        self.events: list[LogEvent] = []
        self.watchdog = Watchdog(reactor, {"evil": object()}, self.counters, lambda _: None)
        self.watchdog._log = Logger(observer=self.events.append)  # type: ignore[arg-type]

    def report(self, *blocks: Block) -> list[str]:
        self.watchdog._found.extend(blocks)
        self.watchdog._report_found()
        return self.lines()

    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    def metrics(self) -> dict[str, str]:
        lines = exposition(self.counters).splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line.startswith("audiohookd_reactor_"))


@pytest.fixture
def site() -> Site:
    return Site(Clock())


@pytest.fixture
def running() -> Iterator[Site]:
    site = Site(EPollReactor())
    site.watchdog.startService()
    yield site
    if site.watchdog.running:
        site.watchdog.stopService()


def test_a_refused_thread_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    site = Site(EPollReactor())
    with pytest.raises(StartError, match=r"the system refuses a thread \(can't start new thread\): raise TasksMax="):
        site.watchdog.startService()
    site.watchdog.stopService()


def run(site: Site, *acts: Any) -> None:
    """Runs the reactor, then stops the watchdog in it."""
    for number, act in enumerate([*acts, site.watchdog.stopService, site.reactor.stop], 1):
        site.reactor.callLater(number * 0.01, act)
    site.reactor.run(installSignalHandlers=False)


def test_a_line_says_what_happened_to_what_and_what_to_do(site: Site) -> None:
    (line,) = site.report(Block("evil", 0.3014, EVIL, 0.002))
    assert line == (
        "the reactor was blocked for 301 ms by plugin evil in opened at /srv/evil.py:31 (Watch.wait): "
        "all calls waited; a plugin must not block, run slow work in a pool of threads (daemon.workers) "
        "(2 ms of processor time; stack: srv/evil.py:31 wait)"
    )
    assert site.events[0]["log_level"] is LogLevel.warn


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (Block(DAEMON, 0.2, EVIL), "by no plugin, but by the daemon at /srv/evil.py:31"),
        (Block(PROCESS, 3.0, EVIL), "because the process did not run (SIGSTOP, "),
        (Block(COLLECTOR, 0.2, EVIL), "by the garbage collector, while evil was in opened at /srv/evil.py:31"),
        (Block(UNKNOWN, 0.2), "by code that ended before its stack was read"),
        (Block("evil", 0.2, EVIL, thread=1), "by plugin evil, in another thread (ended) that held the interpreter,"),
    ],
)
def test_a_block_outside_of_a_callback_is_described_as_such(site: Site, block: Block, words: str) -> None:
    (line,) = site.report(block)
    assert words in line


def test_blocks_are_counted_summed_up_and_the_longest_is_kept(site: Site) -> None:
    site.report(Block("evil", 0.3, EVIL), Block("evil", 0.5, EVIL), Block("evil", 0.1, EVIL), Block(DAEMON, 0.2))
    shown = site.metrics()
    assert shown['audiohookd_reactor_blocks_total{plugin="evil"}'] == "3"
    assert shown['audiohookd_reactor_blocked_seconds_total{plugin="evil"}'] == "0.900"
    assert shown['audiohookd_reactor_longest_block_seconds{plugin="evil"}'] == "0.500"
    assert shown['audiohookd_reactor_longest_block_seconds{plugin="(daemon)"}'] == "0.200"


def test_all_labels_are_there_from_the_start(site: Site) -> None:
    labels = ("evil", DAEMON, COLLECTOR, PROCESS, UNKNOWN)
    shown = site.metrics()
    assert {name for name in shown if "blocks_total" in name} == {
        f'audiohookd_reactor_blocks_total{{plugin="{label}"}}' for label in labels
    }


def test_a_flood_of_blocks_is_no_flood_of_lines(site: Site) -> None:
    lines = site.report(*[Block("evil", 0.3, EVIL)] * 100)
    assert len(lines) == LINES_LIMIT
    site.reactor.advance(61)
    *_, last = site.report(Block("evil", 0.3, EVIL))
    assert f"{100 - LINES_LIMIT} more like it were only counted" in last


def test_a_flood_of_blocks_that_go_on_is_no_flood_of_lines(site: Site) -> None:
    detector = SimpleNamespace(look=lambda *_: [Block("evil", 1.0, EVIL, is_over=False)])
    for _ in range(100):
        site.watchdog._look(detector, 0.05)  # type: ignore[arg-type]
    lines = site.lines()
    assert len(lines) == LINES_LIMIT
    assert lines[0].startswith("the reactor is blocked for 1000 ms by plugin evil in opened at /srv/evil.py:31")
    assert site.events[0]["log_level"] is LogLevel.error


def test_a_callback_that_blocks_is_found_by_the_thread(running: Site) -> None:
    gate = threading.Event()
    run(running, lambda: gate.wait(0.3))
    blocked, summary = running.lines()
    assert "the reactor was blocked for " in blocked
    assert f"at {threading.__file__}:" in blocked or f"at {Path(__file__)}:" in blocked
    assert "blocks of the reactor by (daemon): 1, " in summary


def test_a_block_of_the_turn_in_which_it_stops_is_found(running: Site) -> None:
    gate = threading.Event()

    def block_and_stop() -> None:
        gate.wait(0.3)
        running.watchdog.stopService()

    running.reactor.callLater(0.01, block_and_stop)
    running.reactor.callLater(0.02, running.reactor.stop)
    running.reactor.run(installSignalHandlers=False)
    assert "the reactor was blocked for " in running.lines()[0]


def test_nothing_is_told_of_a_reactor_that_turns(running: Site) -> None:
    run(running, lambda: None)
    assert running.lines() == []


def test_its_thread_ends_with_it(running: Site) -> None:
    threads = [thread for thread in threading.enumerate() if thread.name == "watchdog"]
    assert [thread.daemon for thread in threads] == [True]
    run(running)
    assert [thread for thread in threads if thread.is_alive()] == []


def test_a_fault_of_its_own_is_logged_and_does_not_end_it(running: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    look, faults = running.watchdog._look, [RuntimeError("no /proc")]

    def fail_once(*arguments: Any) -> None:
        if faults:
            raise faults.pop()
        look(*arguments)

    gate = threading.Event()
    monkeypatch.setattr(running.watchdog, "_look", fail_once)
    run(running, lambda: gate.wait(0.1), lambda: gate.wait(0.3))
    lines = running.lines()
    assert lines[0] == "the watchdog of the reactor failed, and continues"
    assert any("the reactor was blocked for" in line for line in lines)


def test_a_reactor_without_a_poller_is_not_watched(site: Site) -> None:
    site.watchdog.startService()
    assert site.lines() == [
        "blocks of the reactor are not watched: Clock has no poller; start twistd without --reactor"
    ]
    site.watchdog.stopService()
