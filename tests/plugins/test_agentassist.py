"""The events that the agentassist plugin sends, and when, as Genesys Cloud receives them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.task import Clock
from zope.interface import implementer

from audiohookd.interfaces import IDaemon
from audiohookd.protocol.duration import duration_to_samples
from audiohookd.protocol.entities import AgentAssist, parse_entity
from audiohookd.protocol.events import CONNECTION_LOST
from audiohookd.session.fanout import Watcher
from audiohookd.testing import FakeSession, MemoryWorkers
from audiohookd.testing.client import ScriptedClient
from audiohookd_plugins.agentassist import AgentAssistConfig, AgentAssistPlugin, read_script

WANTED = {"agentassist": True}
#: Samples.
FRAME = 1000
EXTERNAL = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
BOTH = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}

MINE = """
    first_after = 1.0
    every = 3.0
    language = "de-DE"
    greeting = { text = "Guten Tag.", channel = "internal" }
    [[suggestions]]
    kind = "article"
    title = "Rückgabe"
    excerpts = ["Binnen 30 Tagen."]
    uri = "https://www.example.com/kb/1"
"""


@implementer(IDaemon)
class Daemon:
    """Provides the clock, which is all that this plugin needs."""

    spool = None

    def __init__(self, clock: Clock) -> None:
        self.reactor = clock

    def now(self) -> float:
        raise NotImplementedError

    def workers(self, name: str, threads: int, waiting: int) -> MemoryWorkers:
        raise NotImplementedError

    def claim(self, resource: str) -> None:
        raise NotImplementedError


class Call:
    """An observed call, from the client's side."""

    def __init__(self, config: AgentAssistConfig | None = None) -> None:
        self.clock = Clock()
        plugin = AgentAssistPlugin(config or AgentAssistConfig(), Daemon(self.clock))
        self.client = ScriptedClient(Watcher("agentassist", plugin), clock=self.clock)

    def open(self, custom_config: Any = WANTED, media: Any = (BOTH,)) -> "Call":
        self.client.open(customConfig=custom_config, media=media)
        return self

    def talk(self, seconds: float) -> None:
        """Both participants talk, in frames of 1/8 s, which add up without rounding errors."""
        for number in range(round(seconds * 8)):
            self.clock.advance(1 / 8)
            self.client.speak(b"\xff" * 2 * FRAME)
            if number % 40 == 0:
                self.client.say("ping")

    def events(self) -> list[Any]:
        """The events sent so far, checked against the structures of the protocol."""
        messages = [message for message in self.client.wire.heard if message["type"] == "event"]
        found = [parse_entity(entity) for message in messages for entity in message["parameters"]["entities"]]
        assert all(isinstance(entity, AgentAssist) for entity in found)
        return found

    @property
    def answer(self) -> dict[str, Any]:
        return self.client.wire.heard[-1]


def kinds(event: AgentAssist) -> list[str]:
    suggested = [type(one).__name__ for one in event.data.suggestions or ()]
    return ["Utterance" for _ in event.data.utterances or ()] + suggested


class TestWhichCallsAreAssisted:
    @pytest.mark.parametrize("wish", [True, "yes", 1, {"version": 1}])
    def test_only_an_agent_whose_integration_asks_for_it(self, wish: object) -> None:
        call = Call().open({"agentassist": wish})
        call.talk(5)
        assert len(call.events()) == 1

    @pytest.mark.parametrize(
        "custom_config", [{}, None, {"agentassist": False}, {"agentassist": ""}, {"AgentAssist": True}]
    )
    def test_no_other_call_is_assisted(self, custom_config: Any) -> None:
        call = Call().open(custom_config, media=[EXTERNAL])
        assert call.answer["type"] == "opened"
        assert call.answer["parameters"]["media"] == [EXTERNAL]
        call.clock.advance(19)
        assert call.events() == []

    def test_both_channels_are_chosen_where_one_is_offered_first(self) -> None:
        call = Call().open(media=[EXTERNAL, BOTH])
        assert call.answer["type"] == "opened"
        assert call.answer["parameters"]["media"] == [BOTH]

    @pytest.mark.parametrize("media", [[EXTERNAL], []])
    def test_a_call_without_both_is_refused(self, media: list[Any]) -> None:
        call = Call().open(media=media)
        assert call.answer["type"] == "disconnect"
        assert call.answer["parameters"] == {"reason": "error", "info": "agent assist needs two channels"}


class TestWhenItSpeaks:
    def test_first_two_to_three_seconds_after_the_opening(self) -> None:
        call = Call().open()
        call.talk(2)
        assert call.events() == []
        call.talk(1)
        assert [kinds(event) for event in call.events()] == [["Utterance"]]

    def test_suggestions_follow_every_twelve_seconds(self) -> None:
        call = Call().open()
        call.talk(3)
        for count in range(2, 7):
            call.talk(11)
            assert len(call.events()) == count - 1
            call.talk(1)
            assert len(call.events()) == count

    def test_an_faq_and_an_article_by_turns(self) -> None:
        call = Call().open()
        call.talk(3 + 4 * 12)
        assert [kinds(event)[-1] for event in call.events()] == ["Utterance", "Faq", "Article", "Faq", "Article"]

    @pytest.mark.parametrize("leave", ["close", "leave"])
    def test_not_after_the_end(self, leave: str) -> None:
        call = Call().open()
        call.talk(3)
        getattr(call.client, leave)()
        call.clock.advance(0)
        call.client.leave()
        call.clock.pump([1.0] * 60)
        assert len(call.events()) == 1
        assert call.clock.getDelayedCalls() == []

    def test_again_after_what_could_not_be_sent(self) -> None:
        """The client may have asked the server to pause."""
        clock, session = Clock(), FakeSession()
        session.custom_config = WANTED
        prompter = AgentAssistPlugin(AgentAssistConfig(), Daemon(clock)).observe(session)
        assert prompter is not None
        prompter.opened()
        session.answer = False
        clock.advance(3)
        clock.advance(12)
        assert [method for method, *_ in session.calls] == ["send_event", "send_event"]
        prompter.closed("end")
        assert clock.getDelayedCalls() == []

    @pytest.mark.parametrize("after", [0, 1, 3, 20])
    def test_no_timer_outlives_the_call(self, after: int) -> None:
        clock, session = Clock(), FakeSession()
        session.custom_config = WANTED
        prompter = AgentAssistPlugin(AgentAssistConfig(), Daemon(clock)).observe(session)
        assert prompter is not None
        prompter.opened()
        clock.pump([1.0] * after)
        assert len(clock.getDelayedCalls()) == 1
        prompter.closed("end")
        assert clock.getDelayedCalls() == []

    def test_never_in_a_call_that_ends_at_once(self) -> None:
        clock, session = Clock(), FakeSession()
        session.custom_config = WANTED
        prompter = AgentAssistPlugin(AgentAssistConfig(), Daemon(clock)).observe(session)
        assert prompter is not None
        prompter.closed(CONNECTION_LOST)
        assert clock.getDelayedCalls() == []


class TestWhatItSays:
    @pytest.fixture
    def events(self) -> list[Any]:
        call = Call().open()
        call.talk(3 + 4 * 12)
        return call.events()

    def test_each_thing_has_an_identity_of_its_own(self, events: list[AgentAssist]) -> None:
        utterances = [part.id for event in events for part in event.data.utterances or ()]
        suggestions = [part.id for event in events for part in event.data.suggestions or ()]
        ids = [event.data.id for event in events] + utterances + suggestions
        assert len(set(ids)) == len(ids) > 10

    def test_nothing_was_said_before_the_call_or_after_now(self, events: list[AgentAssist]) -> None:
        ends = [2.5, 14.5, None, 38.5]
        for event, end in zip(events, ends, strict=False):
            for utterance in event.data.utterances or ():
                start = duration_to_samples(utterance.position, 8000)
                assert utterance.duration is not None
                length = duration_to_samples(utterance.duration, 8000)
                assert start >= 0
                assert length > 0
                assert end is not None
                assert abs(start + length - end * 8000) <= FRAME

    def test_a_long_utterance_takes_longer_than_a_short_one(self, events: list[AgentAssist]) -> None:
        (heard,) = events[1].data.utterances or ()
        assert heard.duration is not None
        seconds = duration_to_samples(heard.duration, 8000) / 8000
        assert seconds == pytest.approx(len(heard.text) * 60 / (130 * 7.5), abs=0.001)

    def test_suggestions_stand_where_they_are_made(self, events: list[AgentAssist]) -> None:
        for event, at in zip(events[1:], (14.5, 26.5, 38.5, 50.5), strict=True):
            (suggestion,) = event.data.suggestions or ()
            assert suggestion.position is not None
            assert abs(duration_to_samples(suggestion.position, 8000) - at * 8000) <= FRAME

    def test_positions_begin_where_the_session_did(self) -> None:
        clock, session = Clock(), FakeSession()
        session.custom_config = WANTED
        session.start_position = 800_000
        session.position = 808_000
        prompter = AgentAssistPlugin(AgentAssistConfig(), Daemon(clock)).observe(session)
        assert prompter is not None
        prompter.opened()
        clock.advance(3)
        ((_, (event,)),) = session.calls
        (utterance,) = event.data.utterances
        assert (utterance.position, utterance.duration) == ("PT100S", "PT1S")
        prompter.closed("end")

    def test_all_of_it_is_in_the_language_of_the_script(self, events: list[AgentAssist]) -> None:
        assert {said.language for event in events for said in event.data.utterances or ()} == {"en-US"}


class TestACustomScript:
    @pytest.fixture
    def script(self, tmp_path: Path) -> Path:
        return tmp_path / "mine.toml"

    def test_decides_what_is_sent(self, script: Path) -> None:
        script.write_text(MINE)
        call = Call(AgentAssistConfig(script)).open()
        call.talk(1 + 2 * 3 + 0.5)
        greeting, *articles = call.events()
        assert greeting.data.utterances is not None
        said = greeting.data.utterances[0]
        assert (said.text, said.channel, said.language) == ("Guten Tag.", "internal", "de-DE")
        assert [kinds(event) for event in articles] == [["Article"], ["Article"]]
        suggestion = articles[0].data.suggestions[0]
        assert (suggestion.title, suggestion.excerpts) == ("Rückgabe", ("Binnen 30 Tagen.",))
        assert suggestion.document_uri == "https://www.example.com/kb/1"

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("every = 3.0", "evry = 3.0", "Object contains unknown field `evry`"),
            ("every = 3.0", "every = 0", "`$.every`"),
            ("every = 3.0", "every = inf", "`$.every`"),
            ("every = 3.0", "every = nan", "`$.every`"),
            ('channel = "internal"', 'channel = "agent"', "`$.greeting.channel`"),
            ('kind = "article"', 'kind = "poem"', "`$.suggestions[0].kind`"),
            ('title = "Rückgabe"', "", "missing required field `title`"),
            ('title = "Rückgabe"', "title = ", "Invalid value (at line 8, column 13)"),
            ("Binnen 30 Tagen.", "x" * 60_000, "suggestions[0]: larger than 60,000 bytes"),
            ("Guten Tag.", "x" * 60_000, "greeting: larger than 60,000 bytes"),
        ],
    )
    def test_that_is_invalid_is_rejected(self, script: Path, old: str, new: str, says: str) -> None:
        assert old in MINE
        script.write_text(MINE.replace(old, new))
        self.is_refused(script, says)

    def test_without_suggestions_is_rejected(self, script: Path) -> None:
        script.write_text("suggestions = []\ngreeting = { text = 'Hello.' }")
        self.is_refused(script, "`$.suggestions`")

    def test_that_does_not_exist_is_rejected(self, script: Path) -> None:
        self.is_refused(script, "cannot be read: No such file or directory")

    def test_that_is_no_text_is_rejected(self, script: Path) -> None:
        script.write_bytes(b"\xff")
        self.is_refused(script, "'utf-8' codec can't decode byte 0xff")

    def test_that_never_ends_is_rejected(self, script: Path) -> None:
        script.write_text("a = " + "[" * 5000)
        self.is_refused(script, "maximum recursion depth exceeded")

    @staticmethod
    def is_refused(script: Path, says: str) -> None:
        with pytest.raises(ValueError, match=r"\A/.*mine\.toml: ") as caught:
            AgentAssistPlugin(AgentAssistConfig(script), Daemon(Clock()))
        assert says in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    def test_the_largest_that_is_taken_can_be_sent(self, script: Path) -> None:
        script.write_text(MINE.replace("Guten Tag.", "ä" * 29_900).replace("Binnen 30 Tagen.", "ö" * 29_900))
        call = Call(AgentAssistConfig(script)).open()
        call.talk(5)
        assert [kinds(event) for event in call.events()] == [["Utterance"], ["Article"]]


def test_the_script_that_is_shipped_does_the_same_each_time() -> None:
    first, second = read_script(AgentAssistConfig().script), read_script(AgentAssistConfig().script)
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
