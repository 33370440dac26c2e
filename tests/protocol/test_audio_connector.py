"""Sessions of a bot: what it says, how it is interrupted, and how it hangs up."""

import json
from typing import Any

import pytest

from audiohookd.protocol import events
from audiohookd.protocol.errors import LocalProtocolError
from audiohookd.protocol.product import Product
from audiohookd.protocol.session import WARN_BEFORE
from tests.protocol.wire_client import OFFERS, PARAMETERS, WireClient, opened

SECOND = 8_000
SPEECH = bytes(SECOND)


class Bot(WireClient):
    """An open session of an Audio Connector."""

    def __init__(self, **options: Any) -> None:
        super().__init__(product=Product.AUDIO, **options)
        self.say("open", PARAMETERS["open"] | {"media": OFFERS[1:2]})
        (asked,) = self.happened()
        assert isinstance(asked, events.OpenRequested)
        self.session.accept(asked.offers[0])
        self.said()
        self.happened()

    def played(self) -> list[int]:
        """Bytes of each binary message since the last call."""
        return [len(data) for data in self.session.take_audio()]

    def types(self) -> list[str]:
        return [message["type"] for message in self.said()]


def test_a_bot_is_heard_at_once_and_its_audio_is_paced() -> None:
    bot = Bot()
    assert bot.session.send_audio(SPEECH * 3, is_last=True)
    assert bot.played() == [SECOND]
    assert bot.session.waiting_audio == 2.0
    bot.wait(1.0)
    assert bot.played() == [SECOND]
    bot.wait(1.0)
    assert bot.played() == [SECOND]
    assert bot.session.waiting_audio == 0


def test_the_position_at_which_audio_is_played_is_reported() -> None:
    bot = Bot()
    bot.send_audio(1_600)
    bot.now += 0.1
    bot.session.send_audio(SPEECH, is_last=True)
    bot.session.send_audio(SPEECH, is_last=True)
    bot.wait(1.0)
    sent = [event for event in bot.happened() if isinstance(event, events.AudioSent)]
    assert [(event.start, len(event.data)) for event in sent] == [(2_400, SECOND), (2_400 + SECOND, SECOND)]


def test_barge_in_stops_the_bot() -> None:
    bot = Bot()
    bot.session.send_audio(SPEECH * 3, is_last=True)
    bot.wait(0.25)
    bot.happened()
    assert bot.session.barge_in() == 2 * SECOND
    (message,) = bot.said()
    assert message["parameters"]["entities"] == [{"type": "barge_in", "data": {}}]
    assert bot.happened() == [events.AudioDropped(2_000)]
    bot.wait(5.0)
    assert bot.played() == [SECOND]
    assert bot.session.send_audio(SPEECH, is_last=True)
    assert bot.played() == [SECOND]


@pytest.mark.parametrize("product", [Product.MONITOR, Product.TRANSCRIPTION, Product.BOT_TRANSCRIPTION])
def test_the_other_products_play_no_audio(product: Product) -> None:
    client = WireClient(product=product)
    with pytest.raises(LocalProtocolError, match=f"the product of the route is {product}"):
        client.session.send_audio(SPEECH)


def test_audio_that_ends_within_a_sample_is_rejected() -> None:
    client = WireClient(product=Product.AUDIO)
    client.say("open", PARAMETERS["open"] | {"media": [OFFERS[1] | {"format": "L16"}]})
    (asked,) = client.happened()
    assert isinstance(asked, events.OpenRequested)
    client.session.accept(asked.offers[0])
    with pytest.raises(LocalProtocolError, match="3 bytes end within a sample of 2"):
        client.session.send_audio(bytes(3))


def test_a_bot_without_audio_says_nothing() -> None:
    client = WireClient(product=Product.AUDIO)
    client.say("open")
    client.session.accept(None)
    assert not client.session.send_audio(SPEECH)
    assert client.session.barge_in() == 0


def test_the_farewell_is_played_before_the_bot_hangs_up() -> None:
    bot = Bot()
    bot.session.send_audio(SPEECH * 2, is_last=True)
    assert bot.session.disconnect("completed", None, {"intent": "pay"}, after_playback=True)
    assert not bot.session.disconnect("completed", after_playback=True)
    assert not bot.session.send_audio(SPEECH)
    bot.wait(1.9)
    bot.say("playback_completed")
    (message,) = bot.said()
    assert message["parameters"] == {"reason": "completed", "outputVariables": {"intent": "pay"}}


def test_an_end_of_play_out_before_all_audio_was_sent_does_not_hang_up() -> None:
    bot = Bot()
    bot.session.send_audio(SPEECH * 2, is_last=True)
    bot.session.disconnect("completed", after_playback=True)
    bot.say("playback_completed")
    assert bot.said() == []


def test_a_client_that_does_not_report_the_end_is_not_waited_for_long() -> None:
    bot = Bot()
    bot.session.send_audio(SPEECH * 2, is_last=True)
    bot.session.disconnect("completed", after_playback=True)
    bot.wait(3.9)
    assert bot.types() == []
    bot.wait(0.1)
    assert bot.types() == ["disconnect"]


def test_a_bot_that_says_nothing_hangs_up_at_once() -> None:
    bot = Bot()
    bot.session.disconnect("completed", after_playback=True)
    assert bot.types() == ["disconnect"]


def test_another_disconnect_does_not_wait_for_the_farewell() -> None:
    bot = Bot()
    bot.session.send_audio(SPEECH * 9, is_last=True)
    bot.session.disconnect("completed", after_playback=True)
    bot.session.disconnect("error", "server is shutting down")
    (message,) = bot.said()
    assert message["parameters"]["reason"] == "error"
    bot.wait(20.0)
    assert bot.played() == [SECOND]


def test_the_end_that_the_client_sets_is_reported_in_time() -> None:
    bot = Bot(time_limit=900.0)
    for _ in range(84):
        bot.wait(10.0)
        bot.say("ping")
    assert events.TimeLimitNear(WARN_BEFORE) in bot.happened()
    bot = Bot()
    for _ in range(100):
        bot.wait(10.0)
        bot.say("ping")
    assert not any(isinstance(event, events.TimeLimitNear) for event in bot.happened())


def test_the_variables_of_the_flow_are_in_open() -> None:
    client = opened()
    client = WireClient(product=Product.AUDIO)
    client.say("open", PARAMETERS["open"] | {"inputVariables": {"customer": "gold"}})
    (asked,) = client.happened()
    assert isinstance(asked, events.OpenRequested)
    assert json.loads(bytes(asked.request.input_variables)) == {"customer": "gold"}  # type: ignore[arg-type]


def test_audio_that_waits_has_a_limit() -> None:
    bot = Bot()
    assert bot.session.send_audio(bytes(1 << 20))
    assert not bot.session.send_audio(bytes(SECOND + 1))
