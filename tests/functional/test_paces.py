"""How much one client may send, of the real daemon."""

from caller import Caller
from entrance_rig import MakePlace, configured, counted


def test_twenty_seconds_that_were_held_back_come_at_once_and_are_recorded(place: MakePlace) -> None:
    there = configured(place)
    with there.daemon(), Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        for _ in range(1000):
            caller.audio(bytes(320))
        assert caller.close()["type"] == "closed"
        (sidecar,) = there.sidecars(1)
        assert sidecar["recording"]["samples"] == 160_000


def test_who_sends_without_end_is_disconnected(place: MakePlace) -> None:
    there = configured(place, limits={"frames_per_second": 10})
    with there.daemon(), Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        for _ in range(630):
            caller.audio(bytes(320))
        answer = caller.hear()
        assert answer["parameters"] == {"reason": "error", "info": "too many frames"}
        assert caller.close()["type"] == "closed"
        assert counted(there, 'limits_total{limit="frames"}') == 1
