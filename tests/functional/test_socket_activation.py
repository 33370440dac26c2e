"""A daemon with a socket that systemd has opened."""

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.caller import Caller
from tests.functional.place import Place
from tests.programs import program


@pytest.mark.parametrize("which", ["index=0", "name=calls"])
def test_a_call_uses_the_socket_of_systemd(place: Callable[..., Place], which: str) -> None:
    there = place()
    there.write(listen={"endpoint": f"systemd:domain=INET:{which}"})
    activate = program("systemd-socket-activate", package="systemd")
    command: list[Any] = [
        activate,
        "--fdname=calls",
        f"--listen=127.0.0.1:{there.port}",
        f"--setenv=PATH={os.environ['PATH']}",
    ]
    command += [there.bin / "twistd", "--nodaemon", "--pidfile=", "audiohookd", "--config", there.config]
    process = subprocess.Popen(command)
    try:
        call(there)
        assert len(there.sidecars(1)) == 1
    finally:
        process.terminate()
        process.wait(30)


def call(there: Place) -> None:
    """Makes a call. Its connection to the socket of systemd-socket-activate starts the daemon."""
    for _ in range(100):
        try:
            caller = Caller(there.port)
        except ConnectionRefusedError:
            time.sleep(0.1)
            continue
        with caller:
            caller.open()
            caller.audio(bytes(1600))
            caller.close()
        return
    raise AssertionError("nothing listens")
