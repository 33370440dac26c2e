"""An operator pauses a live call."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

from tests.functional.caller import Caller
from tests.functional.place import Place


def sessions(there: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[Any] = [there.bin / "audiohookctl", "sessions", *arguments]
    command += ["--admin", f"http://127.0.0.1:{there.admin_port}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_paused_call_is_a_gap_in_its_recording(place: Callable[..., Place]) -> None:
    there = place()
    there.write(admin={"endpoint": f"tcp:{there.admin_port}:interface=127.0.0.1", "allow_pause": True})
    with there.daemon(), Caller(there.port) as caller:
        caller.open()
        caller.audio(bytes(3_200))
        (session,) = map(json.loads, sessions(there, "--json").stdout.splitlines())
        assert session["media"] == "PCMU external+internal"
        assert sessions(there, "pause", session["session"]).stdout == "paused\n"
        assert caller.hear()["type"] == "pause"
        caller.say("paused")
        caller.audio(bytes(3_200))  # a client that does not keep its word
        assert sessions(there, "resume", session["session"]).stdout == "resumed\n"
        assert caller.hear()["type"] == "resume"
        caller.say("resumed", start="PT0.2S", discarded="PT1S")
        caller.audio(bytes(3_200))
        caller.close()
        (sidecar,) = there.sidecars(1)
    recording = sidecar["recording"]
    assert [(gap["start"], gap["samples"], gap["cause"]) for gap in recording["gaps"]] == [(1_600, 8_000, "paused")]
    assert recording["samples"] == 1_600 + 8_000 + 1_600
    (alarm,) = (entry["data"] for entry in sidecar["body"] if entry["type"] == "audioWhilePaused")
    assert alarm == {"position": 1_600, "bytes": 3_200}


def test_no_call_is_paused_without_the_setting(place: Callable[..., Place]) -> None:
    there = place()
    with there.daemon(), Caller(there.port) as caller:
        caller.open()
        (session,) = map(json.loads, sessions(there, "--json").stdout.splitlines())
        done = sessions(there, "pause", session["session"])
    assert done.returncode == 2
    assert "403 Forbidden: pausing of calls is not allowed: set allow_pause = true in [admin]" in done.stderr
