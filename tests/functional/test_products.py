"""Routes of the products of Genesys Cloud: what they select, and how fast they send."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.caller import Caller
from tests.functional.daemon import Daemon
from tests.functional.place import Place

PATH = "/api/v1/audiohook/ws"
BOTH = ["external", "internal"]


def offer(format_: str, *channels: str) -> dict[str, Any]:
    return {"type": "audio", "format": format_, "channels": list(channels), "rate": 8000}


OFFERS = [offer("PCMU", *BOTH), offer("L16", *BOTH), offer("PCMU", "external"), offer("PCMU", "internal")]


@pytest.mark.parametrize(
    ("route", "selected"),
    [
        ({}, [OFFERS[0]]),
        ({"channels": ["internal"]}, [OFFERS[3]]),
        ({"formats": ["L16"]}, [OFFERS[1]]),
        ({"product": "bot-transcription-connector"}, [OFFERS[2]]),
        ({"audio": False}, []),
    ],
    ids=str,
)
def test_a_route_selects_media(place: Callable[..., Place], route: dict[str, Any], selected: Any) -> None:
    there = place(**{"[route]": {"path": PATH} | route})
    with there.daemon(), Caller(there.port) as caller:
        assert caller.open(OFFERS)["parameters"]["media"] == selected
        assert caller.close()["type"] == "closed"


def test_a_session_without_an_acceptable_offer_is_rejected(place: Callable[..., Place]) -> None:
    there = place(**{"[route]": {"path": PATH, "formats": ["L16"]}})
    with there.daemon(), Caller(there.port) as caller:
        answer = caller.open([OFFERS[0]])
        assert (answer["type"], answer["parameters"]["info"]) == ("disconnect", "no supported media")


@pytest.fixture
def talking(place: Callable[..., Place]) -> Callable[..., tuple[Place, Daemon]]:
    def build(**route: Any) -> tuple[Place, Daemon]:
        plugin = {"class": "talking_plugin:Talking", "count": 60}
        there = place(**{"[route]": {"path": PATH} | route, "plugins.talking": plugin})
        return there, Daemon(there.bin, there.config, {"PYTHONPATH": str(Path(__file__).parent)})

    return build


def test_results_keep_the_rates_of_the_client_and_none_is_lost(talking: Callable[..., tuple[Place, Daemon]]) -> None:
    there, daemon = talking()
    with daemon, Caller(there.port) as caller:
        caller.open()
        caller.say("dtmf", digit="1")
        begun, times = time.monotonic(), [0.0]  # `opened` was a message, too
        numbers: list[int] = []
        while len(numbers) < 60:
            message = caller.hear()
            times.append(time.monotonic() - begun)
            numbers += [entity["data"] for entity in message["parameters"]["entities"] if entity["type"] == "number"]
        caller.say("ping")
        assert caller.hear()["type"] == "pong"
    assert numbers == list(range(60))
    assert times[24] < 1.0  # 25 messages at once
    assert len(times) == 26  # the rest is one message
    assert times[25] >= 0.15


def test_last_results_are_sent_before_closed(talking: Callable[..., tuple[Place, Daemon]]) -> None:
    there, daemon = talking()
    with daemon, Caller(there.port) as caller:
        caller.open()
        caller.say("dtmf", digit="1")
        caller.say("close", reason="end")
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["type"] != "closed":
            heard.append(caller.hear())
    numbers = [entity["data"] for message in heard[:-1] for entity in message["parameters"]["entities"]]
    assert numbers[1:] == list(range(60))


def test_bot_transcription_reports_speech_and_tolerates_barge_in(
    talking: Callable[..., tuple[Place, Daemon]],
) -> None:
    there, daemon = talking(product="bot-transcription-connector")
    with daemon, Caller(there.port) as caller:
        caller.open([OFFERS[2]])
        caller.say("barge_in")
        caller.say("dtmf", digit="1")
        assert caller.hear()["parameters"]["entities"] == [{"type": "speech_started", "data": {}}]
        assert "Traceback" not in daemon.log()
