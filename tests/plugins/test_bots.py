"""The example bots, in sessions with a client and without one."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.product import Product
from audiohookd.session.fanout import Watcher
from audiohookd.spool.format import wav
from audiohookd.testing import FakeDaemon
from audiohookd.testing.client import ScriptedClient
from audiohookd_plugins.echobot import EchoBotConfig, EchoBotPlugin
from audiohookd_plugins.menubot import MenuBotConfig, MenuBotPlugin, read_prompt

MONO = Media(Format.PCMU, ("external",))
OFFER = [{"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}]
L16 = [{"type": "audio", "format": "L16", "channels": ["external"], "rate": 8000}]
MENU, SORRY, BYE = b"\x11" * 8_000, b"\x22" * 4_000, b"\x33" * 4_000


def prompt(path: Path, audio: bytes) -> Path:
    path.write_bytes(wav.header(MONO, len(audio)) + audio)
    return path


class Bot:
    """A client of an Audio Connector, and the bot that it talks to."""

    def __init__(self, plugin: Any, product: Product = Product.AUDIO) -> None:
        self.client = ScriptedClient(Watcher("bot", plugin), product=product)

    def open(self, media: Any = OFFER) -> "Bot":
        self.client.open(media=media)
        return self

    @property
    def said(self) -> bytes:
        return b"".join(self.client.wire.audio)

    def press(self, key: str) -> None:
        self.client.say("dtmf", {"digit": key})

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.client.clock.advance(0.1)

    def played(self) -> None:
        self.client.say("playback_completed")

    def entities(self) -> list[Any]:
        events = [message for message in self.client.wire.heard if message["type"] == "event"]
        return [entity for event in events for entity in event["parameters"]["entities"]]

    def farewell(self) -> dict[str, Any]:
        """The parameters of ``disconnect``."""
        (found,) = [message for message in self.client.wire.heard if message["type"] == "disconnect"]
        parameters: dict[str, Any] = found["parameters"]
        return parameters


@pytest.fixture
def menu(tmp_path: Path) -> Callable[..., Bot]:
    def build(**options: Any) -> Bot:
        config = {
            "menu": prompt(tmp_path / "menu.wav", MENU),
            "invalid": prompt(tmp_path / "sorry.wav", SORRY),
            "choices": {
                "1": {"output": {"queue": "billing"}, "prompt": prompt(tmp_path / "bye.wav", BYE)},
                "2": {"output": {"queue": "sales"}},
            },
        }
        plugin = MenuBotPlugin(convert(config | options, MenuBotConfig), FakeDaemon())
        bot = Bot(plugin)
        plugin._reactor = bot.client.clock  # the fake daemon has a clock of its own
        return bot

    return build


class TestEchoBot:
    def test_repeats_what_it_hears(self) -> None:
        bot = Bot(EchoBotPlugin(EchoBotConfig(), FakeDaemon())).open()
        speech = bytes(range(200)) * 8
        for _ in range(5):
            bot.client.speak(speech)
            bot.wait(0.2)
        bot.wait(1.0)
        assert bot.said == b"\xff" * 4_800 + speech * 5

    def test_ends_by_a_key_and_reports_the_others(self) -> None:
        bot = Bot(EchoBotPlugin(EchoBotConfig(), FakeDaemon())).open()
        for key in "12#":
            bot.press(key)
        bot.played()
        assert bot.farewell() == {"reason": "completed", "outputVariables": {"digits": "12"}}

    def test_leaves_other_sessions_alone(self) -> None:
        bot = Bot(EchoBotPlugin(EchoBotConfig(), FakeDaemon()), Product.MONITOR).open()
        bot.client.speak(bytes(1_600))
        bot.wait(1.0)
        assert bot.said == b""
        assert bot.client.counters.value("plugin_failures", "bot") == 0


class TestMenuBot:
    def test_plays_the_menu_at_once(self, menu: Callable[..., Bot]) -> None:
        bot = menu().open()
        assert bot.said == MENU

    def test_a_key_is_answered_with_its_prompt_and_its_variables(self, menu: Callable[..., Bot]) -> None:
        bot = menu().open()
        bot.wait(0.3)
        bot.press("1")
        assert [entity["type"] for entity in bot.entities()] == ["barge_in", "bot_turn_response"]
        assert bot.entities()[1]["data"] == {"disposition": "match", "text": "1"}
        assert bot.said == MENU + BYE
        assert "disconnect" not in bot.client.types
        bot.press("2")  # too late
        bot.played()
        assert bot.farewell() == {
            "reason": "completed",
            "outputVariables": {"result": "match", "queue": "billing"},
        }

    def test_a_wrong_key_repeats_the_menu_until_there_were_enough(self, menu: Callable[..., Bot]) -> None:
        bot = menu(attempts=2).open()
        bot.press("9")
        bot.wait(2.0)
        assert bot.said == MENU + SORRY + MENU
        bot.press("9")
        bot.played()
        assert bot.farewell()["outputVariables"] == {"result": "no_match"}
        assert bot.said.endswith(SORRY)

    def test_a_silent_caller_hears_the_menu_again(self, menu: Callable[..., Bot]) -> None:
        bot = menu(attempts=2, timeout=5.0).open()
        bot.wait(5.9)
        assert bot.said == MENU
        bot.wait(0.2)
        assert bot.said == MENU + MENU
        bot.played()
        bot.wait(6.1)
        assert bot.farewell()["outputVariables"] == {"result": "no_input"}
        dispositions = [entity["data"]["disposition"] for entity in bot.entities()]
        assert dispositions == ["no_input", "no_input"]

    def test_a_caller_who_hangs_up_leaves_no_timer(self, menu: Callable[..., Bot]) -> None:
        bot = menu().open()
        bot.client.close()
        bot.client.leave()
        assert bot.client.clock.getDelayedCalls() == []

    def test_a_client_without_pcmu_is_rejected(self, menu: Callable[..., Bot]) -> None:
        bot = menu().open(L16)
        assert bot.farewell() == {"reason": "error", "info": "the menu needs PCMU"}

    @pytest.mark.parametrize("choices", [{}, {"11": {"output": {}}}, {"x": {"output": {}}}])
    def test_wrong_keys_of_choices_stop_the_start(self, menu: Callable[..., Bot], choices: Any) -> None:
        with pytest.raises(ValueError, match="choices: needs tables of keys"):
            menu(choices=choices)


class TestPrompt:
    @pytest.mark.parametrize(
        "media",
        [Media(Format.L16, ("external",)), Media(Format.PCMU, ("external", "internal"))],
        ids=["L16", "stereo"],
    )
    def test_other_formats_are_rejected_with_a_remedy(self, tmp_path: Path, media: Media) -> None:
        path = tmp_path / "prompt.wav"
        path.write_bytes(wav.header(media, 8) + bytes(8))
        with pytest.raises(ValueError, match="ffmpeg -i IN -ar 8000 -ac 1 -c:a pcm_mulaw"):
            read_prompt(path)

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3", struct.pack("<4sL4s", b"RIFF", 4, b"WAVE")])
    def test_what_is_no_wav_file_is_rejected(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "prompt.wav").write_bytes(content)
        with pytest.raises(ValueError, match="not a WAV file in mu-law"):
            read_prompt(tmp_path / "prompt.wav")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"none\.wav': No such file"):
            read_prompt(tmp_path / "none.wav")

    def test_a_prompt_of_more_than_a_minute_is_rejected(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="longer than 60 s"):
            read_prompt(prompt(tmp_path / "long.wav", bytes(480_001)))
