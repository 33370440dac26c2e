"""A second SIGTERM ends the wait for plugins that hang in any place. Recordings are kept."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from audiohookd.runtime.signals import EXIT_AFTER
from tests.functional.caller import Caller
from tests.functional.daemon import Daemon
from tests.functional.place import Place

#: For each place in which a plugin hangs: the log line, and the maximum seconds of the stop on a loaded machine.
GIVEN_UP = {
    "closed": ("are abandoned: hanging", 3.0),
    "stop": ("plugins.hanging did not stop at once after a second signal, and is abandoned", 3.0),
    "pool": ("plugins.hanging/hanging did not stop at once after a second signal, and is abandoned", 3.0),
    "block": ("still running 5 s after a second signal", EXIT_AFTER + 3.0),
    "thread": ("still running 5 s after a second signal", EXIT_AFTER + 3.0),
}


@pytest.mark.parametrize("at", GIVEN_UP)
def test_a_plugin_that_hangs_does_not_keep_the_daemon(place: Callable[..., Place], at: str) -> None:
    use = {"class": "hanging_plugin:Hanging", "at": at}
    there = place(**{"plugins.hanging": use, "plugins.agentassist": {}})
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    line, limit = GIVEN_UP[at]
    with Daemon(there.bin, there.config, environment) as daemon, Caller(there.port) as caller:
        caller.open()
        caller.audio(bytes(4096))
        caller.say("ping", rtt="PT0S")
        assert caller.hear()["type"] == "pong"
        daemon.process.terminate()
        daemon.wait_for("STOPPING=1")
        time.sleep(0.2)
        begun = time.monotonic()
        daemon.process.terminate()
        daemon.process.wait(30)
        assert time.monotonic() - begun < limit
        assert line in daemon.log()
    with Daemon(there.bin, there.config, environment) as daemon:
        (sidecar,) = there.sidecars(1)
        daemon.process.kill()
    assert soundfile.info(sidecar["wav"]).frames == caller.samples


def test_a_plugin_that_blocks_before_the_first_sigterm_does_not_keep_the_daemon(place: Callable[..., Place]) -> None:
    there = place(**{"plugins.hanging": {"class": "hanging_plugin:Hanging", "at": "dtmf"}, "plugins.agentassist": {}})
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    with Daemon(there.bin, there.config, environment) as daemon, Caller(there.port) as caller:
        caller.open()
        caller.say("dtmf", digit="1")
        time.sleep(0.5)
        daemon.process.terminate()
        time.sleep(0.2)
        begun = time.monotonic()
        daemon.process.terminate()
        daemon.process.wait(30)
        assert EXIT_AFTER - 1.0 < time.monotonic() - begun < EXIT_AFTER + 3.0
        assert "still running 5 s after a second signal" in daemon.log()
