"""Start, stop, and health checks."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.functional.caller import Caller
from tests.functional.place import Place
from tests.functional.wheel import ROOT
from tests.programs import program

MakePlace = Callable[..., Place]


def status_of(there: Place, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{there.admin_port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as answer:
        return answer.code


def start_and_fail(there: Place) -> tuple[int, str]:
    """The exit status and output of a daemon that must not start."""
    command: list[Any] = [there.bin / "twistd", "--nodaemon", "--pidfile=", "audiohookd", "--config", there.config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr + done.stdout
    # After twistd has started its log, stderr is part of the log, which --nodaemon writes to stdout.
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "audiohookd: " in line]
    assert len(lines) == 1
    return done.returncode, lines[0][lines[0].index("audiohookd: ") :]


def test_health_and_readiness_are_reported(served: Place) -> None:
    assert {path: status_of(served, path) for path in ("/live", "/ready", "/health/check", "/else")} == {
        "/live": 200,
        "/ready": 200,
        "/health/check": 200,
        "/else": 404,
    }


def test_sigterm_drains_the_call_and_rejects_new_ones(place: MakePlace) -> None:
    there = place()
    with there.daemon() as daemon, Caller(there.port) as caller:
        caller.open()
        caller.audio(bytes(1600))
        daemon.process.terminate()
        daemon.wait_for("STOPPING=1")
        assert status_of(there, "/ready") == 503
        assert status_of(there, "/live") == 200
        with Caller(there.port) as late:
            answer = late.open()
            assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "error")
            assert late.close()["type"] == "closed"
        caller.audio(bytes(1600))
        caller.say("ping")
        assert caller.hear()["type"] == "pong"
        assert caller.close()["type"] == "closed"
        caller.socket.close()
        assert daemon.process.wait(20) in (0, -15)
        assert "Traceback" not in daemon.log()
        (sidecar,) = there.sidecars(1)
        assert soundfile.info(sidecar["wav"]).frames == 1600


def test_the_drain_times_out(place: MakePlace) -> None:
    there = place(shutdown={"drain_timeout": "500 ms"})
    with there.daemon() as daemon, Caller(there.port) as caller:
        caller.open()
        caller.audio(bytes(1600))
        daemon.process.terminate()
        answer = caller.hear()
        assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "error")
        caller.say("close", reason="disconnect")
        assert caller.hear()["type"] == "closed"
        caller.socket.close()
        assert daemon.process.wait(20) in (0, -15)
        (sidecar,) = there.sidecars(1)
        assert sidecar["recording"]["closeReason"] == "disconnect"


def test_a_second_signal_ends_the_wait_for_calls(place: MakePlace) -> None:
    there = place()
    with there.daemon() as daemon, Caller(there.port) as caller:
        caller.open()
        daemon.process.terminate()
        daemon.wait_for("STOPPING=1")
        daemon.process.terminate()
        assert caller.hear()["type"] == "disconnect"
        caller.say("close", reason="disconnect")
        assert caller.hear()["type"] == "closed"
        caller.socket.close()
        assert daemon.process.wait(20) in (0, -15)
        assert "Traceback" not in daemon.log()


def test_sessions_above_the_limit_are_asked_to_retry(place: MakePlace) -> None:
    there = place()
    there.write(listen={"endpoint": f"tcp:{there.port}:interface=127.0.0.1", "max_sessions": 1})
    with there.daemon(), Caller(there.port) as first, Caller(there.port) as second:
        assert first.open()["type"] == "opened"
        answer = second.open()
        assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "error")
        assert first.close()["type"] == "closed"


def test_a_port_in_use_is_one_line(place: MakePlace) -> None:
    there = place()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", there.port))
        taken.listen()
        status, said = start_and_fail(there)
    assert status == 1
    endpoint = f"tcp:{there.port}:interface=127.0.0.1"
    reason = f"cannot listen on {endpoint}: Address already in use; ss -ltnp shows by which process"
    assert said == f"audiohookd: {reason} ({there.config}: listen.endpoint)"


@pytest.mark.parametrize("table", ["listen", "admin"])
@pytest.mark.parametrize(
    ("endpoint", "status", "words"),
    [
        ("tcp:99999", 78, "the port must be a number from 0 to 65535, not '99999'"),
        ("systemd:domain=INET:index=0", 78, "systemd passed no socket: "),
        ("tcp:3000:interface=192.0.2.1", 1, "Cannot assign requested address; ip addr shows the addresses"),
        ("tcp:3000:interface=not.an.address.invalid", 1, "cannot listen on tcp:3000:interface=not"),
    ],
)
def test_an_unavailable_endpoint_is_one_line(
    place: MakePlace, table: str, endpoint: str, status: int, words: str
) -> None:
    there = place(**{table: {"endpoint": endpoint}})
    found, said = start_and_fail(there)
    assert found == status
    assert words in said
    assert f"{there.config}: {table}.endpoint" in said


def test_a_daemonized_start_fails_too(place: MakePlace) -> None:
    """The parent of twistd waits for its child: it must learn of the failure, and no pid file may remain."""
    there = place()
    pidfile, log = there.directory / "pid", there.directory / "log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", there.port))
        taken.listen()
        command: list[Any] = [there.bin / "twistd", f"--pidfile={pidfile}", f"--logfile={log}", "audiohookd"]
        done = subprocess.run([*command, "--config", there.config], capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert b"cannot listen" in done.stdout + done.stderr
    assert "cannot listen" in log.read_text()
    assert "Traceback" not in log.read_text()
    for _ in range(50):  # twistd tells its parent first, and then removes the file
        if not pidfile.exists():
            break
        time.sleep(0.1)
    assert not pidfile.exists()


def test_a_mistake_in_the_file_is_one_line(place: MakePlace) -> None:
    there = place(listen={"endpoynt": "tcp:1"})
    status, said = start_and_fail(there)
    assert status == 78
    assert said == f"audiohookd: {there.config}: listen.endpoynt: unknown key, did you mean 'endpoint'?"


@pytest.mark.parametrize("content", [None, "{", '{"key": "not base64!"}'], ids=["absent", "no JSON", "no base64"])
def test_a_bad_key_file_is_one_line(place: MakePlace, content: str | None) -> None:
    there = place()
    keys = there.directory / "keys.json"
    keys.unlink()
    if content is not None:
        keys.write_text(content)
    status, said = start_and_fail(there)
    assert status == 78
    assert said.startswith(f"audiohookd: {there.config}: auth.keys_file: ")
    assert "not base64!" not in said


def test_the_systemd_unit_has_no_warnings(bin: Path, tmp_path: Path) -> None:  # noqa: A002
    unit = tmp_path / "audiohookd.service"
    text = (ROOT / "systemd/audiohookd.service").read_text()
    unit.write_text(text.replace("/opt/audiohookd/bin", str(bin)))
    # systemd-analyze only prints unknown keys and similar problems, and still exits with 0.
    command: list[Any] = [program("systemd-analyze", package="systemd"), "verify", "--man=no", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_installation_writes_the_plugin_cache_that_a_start_needs(bin: Path, place: MakePlace) -> None:  # noqa: A002
    """The service may not write the cache: each start would log an error and load all plugins of Twisted."""
    (command,) = [line for line in (ROOT / "README.rst").read_text().splitlines() if "twistd --help" in line]
    pattern = "lib/python*/site-packages/twisted/plugins/dropin.cache"
    for cache in bin.parent.glob(pattern):
        cache.unlink()
    subprocess.run(command.replace("/opt/audiohookd/bin", str(bin)), shell=True, check=True)  # noqa: S602
    (written,) = bin.parent.glob(pattern)
    before = written.stat().st_mtime_ns
    with place().daemon() as daemon:
        assert "plugin cache" not in daemon.log()
    assert written.stat().st_mtime_ns == before
