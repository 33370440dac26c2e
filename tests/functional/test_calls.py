"""Whole calls over real sockets to the installed daemon."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile

from tests.functional.caller import API_KEY, BINARY, PATH, PING, SECRET, TEXT, Caller, signed_head
from tests.functional.daemon import Daemon
from tests.functional.place import Place
from tests.functional.wheel import ROOT

SENT = ROOT / "tests/audio/call.wav"


def recorded(sidecar: dict[str, Any]) -> bytes:
    """The audio of a recording: the bytes of the file after the ``data`` header."""
    content = sidecar["wav"].read_bytes()
    start = content.index(b"data") + 8
    return content[start : start + sidecar["recording"]["samples"] * 2]


def noise(samples: int) -> bytes:
    return random.Random(samples).randbytes(2 * samples)


def ctl(there: Place, *arguments: object) -> subprocess.CompletedProcess[str]:
    command: list[Any] = [there.bin / "audiohookctl", "call", there.url(), "--api-key", API_KEY, *map(str, arguments)]
    environment = os.environ | {"AUDIOHOOK_CLIENT_SECRET": "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_streamed_file_is_recorded_sample_for_sample(served: Place) -> None:
    done = ctl(served, "--wav", SENT, "--speed", "max")
    assert done.returncode == 0, done.stderr
    (sidecar,) = served.sidecars(1)
    heard, rate = soundfile.read(sidecar["wav"], dtype="int16")
    spoken, _ = soundfile.read(SENT, dtype="int16")
    assert rate == 8000
    assert numpy.array_equal(heard, spoken)
    assert sidecar["recording"]["closeReason"] == "end"
    assert sidecar["recording"]["gaps"] == []
    types = [entry["data"]["message"]["type"] for entry in sidecar["body"] if entry["type"] == "audiohook"]
    assert types[:2] == ["open", "opened"]
    assert types[-2:] == ["close", "closed"]


def test_fifty_calls_at_once_are_all_recorded_whole(served: Place) -> None:
    done = ctl(served, "--tone", "--max-duration", 2, "--sessions", 50, "--rate", 100, "--quiet")
    assert done.returncode == 0, done.stderr
    sidecars = served.sidecars(50)
    assert {sidecar["recording"]["samples"] for sidecar in sidecars} == {16000}
    assert len({sidecar["recording"]["session"] for sidecar in sidecars}) == 50


def test_neither_key_nor_signature_reach_the_disk_or_the_log(place: Any) -> None:
    there = place()
    with there.daemon() as daemon:
        with Caller(there.port) as caller:
            caller.open()
            signature = caller._header("signature").strip(":").removeprefix("sig1=:")
            caller.close()
        with Caller(there.port, signed_head(there.port, "30b0e395-84d3-4570-ac13-9a62d8f514c0", b"wrong")) as caller:
            assert caller.upgrade() == 401
        there.sidecars(1)
        kept = "".join(path.read_text("latin-1") for path in there.spool.rglob("*") if path.is_file())
        said = kept + daemon.log()
    for secret in (API_KEY, SECRET.decode(), signature):
        assert secret not in said


def test_a_probe_is_answered_and_leaves_no_recording(served: Place) -> None:
    assert ctl(served, "--probe").returncode == 0
    with Caller(served.port) as caller:
        caller.open()
        caller.close()
    assert len(served.sidecars(1)) == 1
    assert list(served.spool.glob("draft/*")) == []


def test_agent_assist_speaks_when_it_is_asked_to(place: Any) -> None:
    there = place()
    script = there.directory / "script.toml"
    script.write_text(
        (ROOT / "plugins/audiohookd_plugins/agentassist.toml")
        .read_text()
        .replace('first_after = "2500 ms"', 'first_after = "200 ms"')
        .replace('every = "12 s"', 'every = "200 ms"')
    )
    there.write(**{"plugins.agentassist": {"script": "script.toml"}})
    with there.daemon():
        done = ctl(there, "--tone", "--max-duration", 1, "--custom-config", '{"agentassist": true}')
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()]
    assert '"faq"' in done.stdout
    assert '"article"' in done.stdout


def test_fragments_and_single_bytes_make_the_same_recording(served: Place) -> None:
    data = noise(2000)
    with Caller(served.port) as caller:
        caller.open()
        parts = [data[:7], data[7:501], b"", data[501:]]
        frames = [caller.frame(BINARY if not number else 0, part, number == 3) for number, part in enumerate(parts)]
        caller.socket.sendall(frames[0] + frames[1] + caller.frame(PING, b"between") + frames[2] + frames[3])
        pong = caller._receive()
        for byte in caller.frame(BINARY, data) + caller.frame(TEXT, caller.message("ping")):
            caller.socket.sendall(bytes([byte]))
        assert pong == (10, b"between")
        assert caller.hear()["type"] == "pong"
        assert caller.close()["type"] == "closed"
    (sidecar,) = served.sidecars(1)
    assert recorded(sidecar) == data + data


@pytest.mark.parametrize("fault", ["half a sample", "too large", "wrong seq", "no JSON", "second open"])
def test_a_protocol_error_is_reported_and_close_is_still_answered(served: Place, fault: str) -> None:
    with Caller(served.port) as caller:
        caller.open()
        caller.audio(noise(800))
        if fault == "half a sample":
            caller.audio(b"\0\0\0")
        elif fault == "too large":
            caller.audio(bytes(65538))
        elif fault == "wrong seq":
            caller.seq += 5
            caller.say("ping")
        elif fault == "no JSON":
            caller.socket.sendall(caller.frame(TEXT, b"{"))
        else:
            caller.say_open()
        answer = caller.hear()
        assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "error")
        assert caller.close()["type"] == "closed"
    (sidecar,) = served.sidecars(1)
    assert recorded(sidecar) == noise(800)
    assert sidecar["recording"]["closeReason"] == "end"


def test_a_message_far_too_large_closes_the_websocket(served: Place) -> None:
    with Caller(served.port) as caller:
        caller.open()
        caller.audio(bytes(200_000))
        assert caller.hear() == {"type": "ws-close", "code": 1009}


def test_audio_after_close_is_dropped_in_silence(served: Place) -> None:
    with Caller(served.port) as caller:
        caller.open()
        caller.audio(noise(800))
        goodbye = caller.message("close", reason="end")
        caller.socket.sendall(caller.frame(TEXT, goodbye) + caller.frame(BINARY, noise(80)))
        assert caller.hear()["type"] == "closed"
        caller.audio(noise(80))
        caller.socket.sendall(caller.frame(8, b"\x03\xe8"))
        assert caller.hear() == {"type": "ws-close", "code": 1000}
    (sidecar,) = served.sidecars(1)
    assert recorded(sidecar) == noise(800)


def test_a_lost_connection_leaves_a_good_recording(served: Place) -> None:
    with Caller(served.port) as caller:
        caller.open()
        caller.audio(noise(8000))
        caller.say("ping")
        assert caller.hear()["type"] == "pong"
    (sidecar,) = served.sidecars(1)
    assert sidecar["recording"]["closeReason"] == "connection-lost"
    assert recorded(sidecar) == noise(8000)
    assert soundfile.info(sidecar["wav"]).frames == 8000


def test_a_pause_becomes_silence(served: Place) -> None:
    with Caller(served.port) as caller:
        caller.open()
        caller.audio(noise(800))
        caller.say("paused")
        caller.say("resumed", start="PT0.1S", discarded="PT1.5S")
        caller.audio(noise(800))
        assert caller.close()["type"] == "closed"
    (sidecar,) = served.sidecars(1)
    assert recorded(sidecar) == noise(800) + b"\xff\xff" * 12000 + noise(800)
    (gap,) = sidecar["recording"]["gaps"]
    assert (gap["start"], gap["samples"], gap["cause"]) == (800, 12000, "paused")


def test_l16_is_recorded_as_pcm(served: Place) -> None:
    media = {"type": "audio", "format": "L16", "channels": ["internal"], "rate": 8000}
    samples = numpy.arange(-8000, 8000, dtype="<i2")
    with Caller(served.port) as caller:
        opened = caller.open([{"type": "video"}, media])
        assert opened["parameters"]["media"] == [media]
        caller.audio(samples.tobytes())
        caller.close()
    (sidecar,) = served.sidecars(1)
    heard, _ = soundfile.read(sidecar["wav"], dtype="int16")
    assert numpy.array_equal(heard, samples)
    assert soundfile.info(sidecar["wav"]).subtype == "PCM_16"


def test_the_recording_grows_while_the_call_runs(served: Place) -> None:
    with Caller(served.port) as caller:
        caller.open()
        caller.audio(noise(8000))
        deadline = time.monotonic() + 10
        while not any(path.stat().st_size > 16000 for path in served.spool.glob("draft/*.wav")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        caller.close()


def test_the_path_selects_the_route(served: Place) -> None:
    head = signed_head(served.port, "30b0e395-84d3-4570-ac13-9a62d8f514c0").replace(PATH.encode(), b"/else")
    with Caller(served.port, head) as caller:
        assert caller.upgrade() == 404


def test_a_checkout_runs_without_a_wheel(place: Any) -> None:
    """The environment of the tests has the checkout installed instead of a wheel."""
    there = place()
    with Daemon(Path(sys.executable).parent, there.config), Caller(there.port) as caller:
        caller.open()
        caller.audio(noise(800))
        assert caller.close()["type"] == "closed"
    assert recorded(*there.sidecars(1)) == noise(800)


def test_a_call_that_no_plugin_records_is_named_at_its_end_and_a_probe_is_not(place: Any) -> None:
    there = place(**{"[route]": {"plugins": ["agentassist"]}})
    with there.daemon() as daemon:
        assert ctl(there, "--probe").returncode == 0
        assert ctl(there, "--tone", "--max-duration", 1, "--speed", "max").returncode == 0
        daemon.stop()
        log = daemon.log()
    assert log.count("calls on '/api/v1/audiohook/ws' are not recorded") == 1
    assert log.count("not recorded: no plugin of the route records calls") == 1
    assert not list(there.spool.glob("ready/*/*"))
