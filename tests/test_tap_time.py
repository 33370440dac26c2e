"""Setting the machine's clock while the daemon runs changes dates only."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audiohookd.testing import START
from audiohookd.testing.client import ScriptedClient
from tests.tap_rig import PLAIN, STORE, Reactor, build, writer

#: Sets its own clock, and prints the work of its reactor after that. Also ends if the reactor does nothing.
PROGRAM = """
import faulthandler, sys, time
faulthandler.dump_traceback_later(10, exit=True)
real, change = time.time, 0.0
time.time = lambda: real() + change

from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from audiohookd import tap

options = tap.Options()
options.parseOptions(["--config", sys.argv[1]])
tap.makeService(options)
def set_clock():
    global change
    change = float(sys.argv[2])

def end():
    print("rounds" if rounds > 1 else "stuck")
    far.cancel()
    looping.stop()
    reactor.stop()

def count():
    global rounds
    rounds += 1

rounds = 0
far = reactor.callLater(1800, print, "far")
moved = reactor.callLater(1800, print, "moved")
reactor.callLater(0.1, set_clock)
reactor.callLater(0.2, moved.reset, 0.1)
reactor.callLater(1.2, print, "called")
reactor.callLater(1.8, end)
looping = LoopingCall(count)
looping.start(0.15)
reactor.run()
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return writer(tmp_path)


@pytest.mark.parametrize("change", ["-3600", "3600"])
def test_the_reactor_continues(write: Callable[..., Path], change: str) -> None:
    program = [sys.executable, "-c", PROGRAM, str(write()), change]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    ran = subprocess.run(program, capture_output=True, text=True, timeout=30, env=environment, check=False)
    assert (ran.stderr, ran.stdout.splitlines()) == ("", ["moved", "called", "rounds"])


class Date:
    """The wall clock, which the test can set."""

    def __init__(self) -> None:
        self.seconds = START

    def __call__(self) -> float:
        return self.seconds


def test_dates_are_those_of_the_clock_and_durations_are_not(write: Callable[..., Path], tmp_path: Path) -> None:
    reactor, date = Reactor(), Date()
    root = build(write(PLAIN + "local_retention = '1 h'\n[plugins.recorder]\n" + STORE), reactor, now=date)
    root.startService()
    shared = reactor.ports[-1].factory.shared
    (route,) = shared.routes.values()
    date.seconds = START + 3_600.25
    client = ScriptedClient(*route.watchers, clock=reactor, now=shared.now)
    client.open()
    date.seconds = START + 86_400
    reactor.advance(5)
    client.say("ping", {"rtt": "PT0.1S"})
    client.close()
    client.leave()
    done = tmp_path / "spool" / "done" / "2026-01-01"

    def is_moved() -> bool:
        reactor.advance(5)  # at least one probe of the disk each time
        ends = {path.name.partition(".")[2] for path in done.glob("*")}
        return {"json", "stored.store.json", "told.store.json"} <= ends

    reactor.run_until(is_moved)
    (receipt,) = done.glob("*.stored.store.json")
    assert json.loads(receipt.read_bytes())["at"] == "2026-01-02T00:00:00.000Z"
    sidecar = json.loads(next(done.glob("????????-????-????-????-????????????.json")).read_bytes())
    assert sidecar["recording"]["startedAt"] == "2026-01-01T01:00:00.250Z"
    assert {entry["timestamp"] for entry in sidecar["body"]} == {"PT0S", "PT5S"}
    stopped: list[object] = []
    root.stopService().addCallback(stopped.append)
    reactor.run_until(lambda: stopped)
