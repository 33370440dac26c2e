"""The log has all lines, whatever the encoding of its stream or file."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.caller import Caller
from tests.functional.daemon import Daemon
from tests.functional.place import Place

MakePlace = Callable[..., Place]
TEXTS = {501: "snow \u2603", 502: "caf\xe9", 503: "plain"}


@pytest.mark.parametrize(
    ("environment", "encoding"),
    [
        ({"PYTHONIOENCODING": "latin-1"}, "latin-1"),
        ({"PYTHONIOENCODING": "ascii:strict"}, "ascii"),
        ({"LC_ALL": "C"}, "utf-8"),
        ({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "ascii"),
    ],
)
def test_a_log_on_stdout_has_all_lines(environment: dict[str, str], encoding: str, place: MakePlace) -> None:
    there = place()
    with Daemon(there.bin, there.config, environment) as daemon:
        for code, text in TEXTS.items():
            with Caller(there.port) as caller:
                caller.open()
                caller.say("error", code=code, message=text)
                assert caller.close()["type"] == "closed"
        daemon.stop()
        log = daemon.log(encoding)
    for code, text in TEXTS.items():
        written = text.encode(encoding, "backslashreplace").decode(encoding)
        assert f"error {code} '{written}'" in log


def test_a_log_file_has_the_line_with_a_path_that_is_not_utf_8(place: MakePlace) -> None:
    there = place()
    directory = there.directory / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    config = there.config.rename(directory / "audiohookd.toml")
    (there.directory / "keys.json").rename(directory / "keys.json")
    log = there.directory / "twistd.log"
    command: list[Any] = [
        there.bin / "twistd",
        "--nodaemon",
        "--pidfile=",
        "--logfile",
        log,
        "audiohookd",
        "--config",
        config,
    ]
    process = subprocess.Popen(command)
    try:
        for _ in range(300):
            if log.exists() and "API keys:" in log.read_text("utf-8"):
                break
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "configured by " in log.read_text("utf-8")
    assert "caf\\udce9/audiohookd.toml" in log.read_text("utf-8")


def test_a_command_writes_what_its_stream_lacks_as_escapes(place: MakePlace) -> None:
    """Its JSON stays JSON."""
    there = place()
    with there.daemon(), Caller(there.port) as caller:
        caller.open()
        assert caller.close()["type"] == "closed"
        there.sidecars(1)
    command: list[Any] = [there.bin / "audiohookctl", "spool", "list", "--json", "--spool", there.spool]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)
    assert json.loads(done.stdout.decode("ascii").splitlines()[0])
