"""The receive limits of the real daemon."""

import urllib.request
from contextlib import ExitStack

import pytest

from audiohookd.session.registry import SPARE_CONNECTIONS_OF_OWNER
from tests.functional.caller import Caller
from tests.functional.listener_rig import MakePlace, configured, counted, wait


def test_twenty_seconds_of_delayed_audio_are_accepted_at_once(place: MakePlace) -> None:
    there = configured(place)
    with there.daemon(), Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        for _ in range(1000):
            caller.audio(bytes(320))
        assert caller.close()["type"] == "closed"
        (sidecar,) = there.sidecars(1)
        assert sidecar["recording"]["samples"] == 160_000


def test_a_client_that_floods_is_disconnected(place: MakePlace) -> None:
    there = configured(place, limits={"frames_per_second": 10})
    with there.daemon(), Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        for _ in range(630):
            caller.audio(bytes(320))
        answer = caller.hear()
        assert answer["parameters"] == {"reason": "error", "info": "too many frames"}
        assert caller.close()["type"] == "closed"
        assert counted(there, 'limit_hits_total{limit="frames"}') == 1


@pytest.mark.parametrize(
    ("limit", "opcode", "fin"), [("control-frames", 9, True), ("fragments", 0, False)], ids=["pings", "fragments"]
)
def test_a_flood_of_small_frames_is_disconnected_with_the_default_limits(
    place: MakePlace, limit: str, opcode: int, fin: bool
) -> None:
    there = configured(place)
    with there.daemon(), Caller(there.port) as caller, Caller(there.port) as other:
        assert caller.open()["type"] == "opened"
        first = caller.frame(2, b"", fin=False) if limit == "fragments" else b""
        caller.socket.sendall(first + caller.frame(opcode, b"", fin=fin) * 1000)
        assert other.open()["type"] == "opened"
        wait(lambda: counted(there, f'limit_hits_total{{limit="{limit}"}}'))
        assert other.close()["type"] == "closed"


def test_a_key_at_its_limit_of_connections_leaves_those_of_others_and_ready_says_so(place: MakePlace) -> None:
    there = configured(place, limits={"sessions_per_key": 1})
    with there.daemon(), ExitStack() as callers:
        for _ in range(2 + SPARE_CONNECTIONS_OF_OWNER):
            assert callers.enter_context(Caller(there.port)).upgrade() == 101
        assert callers.enter_context(Caller(there.port)).upgrade() == 503
        with urllib.request.urlopen(f"http://127.0.0.1:{there.admin_port}/ready", timeout=10) as answer:
            ready = answer.read().decode()
        assert ready.startswith("ready\nwarning: an upgrade was rejected with status 503 within the last minute")
        assert "limits.sessions_per_key is 1" in ready
        assert counted(there, 'limit_hits_total{limit="connections-per-key"}') == 1
