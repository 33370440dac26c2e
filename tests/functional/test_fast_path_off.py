"""The installed daemon with and without the fast path: the same recordings and the same limits."""

from collections.abc import Callable

import pytest

from tests.functional.caller import BINARY, Caller
from tests.functional.daemon import Daemon, DaemonDied
from tests.functional.place import Place
from tests.functional.test_calls import noise, recorded

VARIABLE = "AUDIOHOOKD_FASTPATH"


@pytest.mark.parametrize("fast_path", ["on", "off"])
def test_a_call_is_recorded_whole(place: Callable[..., Place], fast_path: str) -> None:
    there, data = place(), noise(8000)
    with Daemon(there.bin, there.config, {VARIABLE: fast_path}) as daemon, Caller(there.port) as caller:
        caller.open()
        for start in range(0, len(data), 1600):
            caller.audio(data[start : start + 1600])
            if start % 4800 == 0:
                caller.say("ping")
                assert caller.hear()["type"] == "pong"
        caller.close()
        (sidecar,) = there.sidecars(1)
        assert ("the fast path is off" in daemon.log()) == (fast_path == "off")
    assert recorded(sidecar) == data


@pytest.mark.parametrize("fast_path", ["on", "off"])
def test_a_client_that_sends_too_many_frames_is_disconnected(place: Callable[..., Place], fast_path: str) -> None:
    there = place(limits={"frames_per_second": 1})
    with Daemon(there.bin, there.config, {VARIABLE: fast_path}), Caller(there.port) as caller:
        caller.open()
        caller.socket.sendall(caller.frame(BINARY, bytes(2)) * 61)  # 60 s worth of frames may come at once
        message = caller.hear()
    assert (message["type"], message["parameters"]["reason"]) == ("disconnect", "error")


def test_another_value_stops_the_start(place: Callable[..., Place]) -> None:
    there = place()
    with pytest.raises(DaemonDied) as died, Daemon(there.bin, there.config, {VARIABLE: "no"}):
        raise AssertionError("it started")
    assert "AUDIOHOOKD_FASTPATH is 'no': it must be 'on' or 'off'" in str(died.value)
