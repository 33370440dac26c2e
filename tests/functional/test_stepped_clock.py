"""The wall clock is set forward and back under a daemon: no request is accepted twice, and calls go on."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.caller import Caller, signed_head
from tests.functional.daemon import Daemon
from tests.functional.place import Place
from tests.programs import library

#: Seconds after which a nonce has expired for certain.
EXPIRED = 18.0
HOUR = 3_600


class WallClock:
    """The wall clock of daemons that run with ``environment``. Their monotonic clock stays as it is."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step = 0
        self.set(0)
        self.environment = {
            "LD_PRELOAD": library("*/faketime/libfaketime.so.1", package="libfaketime"),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # the name before libfaketime 0.9.9
        }

    def set(self, step: int) -> None:
        """Sets it so many seconds ahead of the machine's."""
        self.step = step
        self._file.write_text(f"{step:+d}s\n")

    def now(self) -> int:
        return int(time.time()) + self.step


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "step")


def answer(port: int, head: bytes) -> int:
    with Caller(port, head) as caller:
        return caller.upgrade()


def test_a_request_is_accepted_once_whatever_the_wall_clock_is_set_to(
    bin: Path,  # noqa: A002
    tmp_path: Path,
    wall_clock: WallClock,
) -> None:
    replay: dict[str, dict[str, Any]] = {"memory": {}, "sqlite": {"store": "sqlite", "path": "replay.sqlite"}}
    ports = []
    with ExitStack() as stack:
        for store, table in replay.items():
            (tmp_path / store).mkdir()
            there = Place(bin, tmp_path / store, **{"auth.replay": table})
            stack.enter_context(Daemon(bin, there.config, wall_clock.environment))
            ports.append(there.port)

        def fresh(port: int) -> bytes:
            return signed_head(port, str(uuid4()), created=wall_clock.now())

        recorded = {port: fresh(port) for port in ports}
        seen = time.time()
        assert [answer(port, recorded[port]) for port in ports] == [101, 101]
        assert [answer(port, recorded[port]) for port in ports] == [401, 401]
        time.sleep(EXPIRED)  # nonces expire by the monotonic clock, which libfaketime does not change
        back = -int(time.time() - seen)
        wall_clock.set(back)
        assert [answer(port, recorded[port]) for port in ports] == [401, 401]
        wall_clock.set(HOUR)
        assert [answer(port, fresh(port)) for port in ports] == [101, 101]
        wall_clock.set(back)
        assert [answer(port, recorded[port]) for port in ports] == [401, 401]
        wall_clock.set(0)
        assert [answer(port, fresh(port)) for port in ports] == [101, 101]


def test_a_call_is_recorded_whole_while_the_wall_clock_is_set_forward_and_back(
    place: Callable[..., Place], wall_clock: WallClock
) -> None:
    there = place()
    with Daemon(there.bin, there.config, wall_clock.environment) as daemon, Caller(there.port) as caller:
        caller.open()
        for step in (0, -HOUR, 400 * 24 * HOUR, -55 * 365 * 24 * HOUR, 0):
            wall_clock.set(step)
            caller.audio(bytes(range(256)) * 8)
            caller.say("ping")
            assert caller.hear()["type"] == "pong"
        caller.close()
        (sidecar,) = there.sidecars(1)
        assert "Traceback" not in daemon.log()
    times = [float(entry["timestamp"][2:-1]) for entry in sidecar["body"]]
    assert times == sorted(times)
    assert max(times) < 60.0
    assert sidecar["recording"]["samples"] == caller.samples
