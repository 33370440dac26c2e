"""Bots: calls of an Audio Connector to the installed daemon."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import soundfile

from tests.functional.caller import API_KEY
from tests.functional.place import Place
from tests.functional.wheel import ROOT

SENT = ROOT / "tests/audio/call.wav"
#: Samples of a frame of the caller.
FRAME = 1_600
ROUTE = {"path": "/api/v1/audiohook/ws", "product": "audio-connector"}


def ctl(there: Place, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    line: list[Any] = [there.bin / "audiohookctl", command, there.url(), "--api-key", API_KEY, *map(str, arguments)]
    environment = os.environ | {"AUDIOHOOK_CLIENT_SECRET": "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="}
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_an_echo_bot_repeats_a_call_and_both_sides_are_recorded(place: Callable[..., Place], tmp_path: Path) -> None:
    there = place(**{"[route]": ROUTE, "plugins.echobot": {}})
    saved = tmp_path / "heard.wav"
    with there.daemon():
        done = ctl(
            there, "call", "--connector", "--wav", SENT, "--max-duration", 5, "--dtmf", "2.2:7,3:#", "--save", saved
        )
        assert done.returncode == 0, done.stderr
        (sidecar,) = there.sidecars(1)
    assert 'the server disconnected, reason completed; outputVariables {"digits": "7"}' in done.stderr
    assert sidecar["recording"]["media"]["channels"] == ["external", "bot"]
    recorded, _ = soundfile.read(sidecar["wav"], dtype="int16")
    external, bot = recorded.T
    spoken, _ = soundfile.read(SENT, dtype="int16")
    assert numpy.array_equal(external, spoken[: len(external), 0])
    heard, rate = soundfile.read(saved, dtype="int16")
    assert rate == 8000
    for echo in (heard, bot):
        places = places_of(external[: 2 * 8000], echo)
        assert 0.4 * 8000 <= places[0] < 1.5 * 8000
        assert places == sorted(places)


def places_of(spoken: Any, echo: Any) -> list[int]:
    """The sample of ``echo`` at which each frame begins. On a busy machine there is silence between two of them."""
    found = []
    for start in range(0, len(spoken), FRAME):
        at = echo.tobytes().find(spoken[start : start + FRAME].tobytes())
        assert at >= 0, start
        found.append(at // 2)
    return found


def test_a_server_that_plays_audio_is_judged_as_what_it_is(place: Callable[..., Place], tmp_path: Path) -> None:
    there = place(**{"[route]": ROUTE, "plugins.echobot": {}})
    with there.daemon():
        bot = ctl(there, "doctor", "--connector")
        other = ctl(there, "call", "--wav", SENT, "--max-duration", 2)
    assert "opened, PCMU audio" in bot.stdout
    assert other.returncode == 1
    assert "audio not expected" in other.stderr
    assert "which only an Audio Connector plays" in other.stderr
