"""The plugins' say in how a session is opened, from the `open` on the wire to the answer."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, formatEvent

from audiohookd.interfaces import IOpening
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.testing import CapturingSink
from audiohookd.testing.client import ScriptedClient
from tests.websocket.server_rig import admitted_by, watched_by

STEREO = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
EXTERNAL = STEREO | {"channels": ["external"]}
INTERNAL = STEREO | {"channels": ["internal"]}
LINEAR = STEREO | {"format": "L16"}
ALL = [STEREO, EXTERNAL, INTERNAL]


def answer(client: ScriptedClient) -> dict[str, Any]:
    """The one thing that the daemon said."""
    (message,) = client.wire.heard
    return message


def accepted(client: ScriptedClient) -> Any:
    message = answer(client)
    assert message["type"] == "opened"
    return message["parameters"]


def refused(client: ScriptedClient) -> tuple[str, str]:
    message = answer(client)
    assert message["type"] == "disconnect"
    return message["parameters"]["reason"], message["parameters"].get("info")


def mono(opening: IOpening) -> None:
    opening.media = tuple(media for media in opening.media if len(media.channels) == 1)


def test_without_a_say_the_first_offer_in_pcmu_is_taken() -> None:
    client = ScriptedClient(watched_by(None))
    client.open(media=[LINEAR, *ALL])
    assert accepted(client) == {"media": [STEREO]}


def test_media_can_be_narrowed() -> None:
    client = ScriptedClient(admitted_by(mono))
    client.open(media=ALL)
    assert accepted(client)["media"] == [EXTERNAL]


def test_each_plugin_sees_what_the_one_before_decided() -> None:
    def not_external(opening: IOpening) -> None:
        seen.append([media.channels for media in opening.media])
        opening.media = tuple(media for media in opening.media if media.channels != ("external",))

    seen: list[Any] = []
    client = ScriptedClient(admitted_by(mono), admitted_by(not_external))
    client.open(media=ALL)
    assert seen == [[("external",), ("internal",)]]
    assert accepted(client)["media"] == [INTERNAL]


def test_a_plugin_can_refuse_and_the_next_one_is_not_asked() -> None:
    asked: list[IOpening] = []
    client = ScriptedClient(
        admitted_by(lambda opening: opening.reject("not licensed", "unauthorized")), admitted_by(asked.append)
    )
    client.open()
    assert refused(client) == ("unauthorized", "not licensed")
    assert asked == []
    assert client.counters.value("rejections", "unauthorized") == 1
    assert client.counters.value("sessions") == 0


def test_a_refusal_is_an_error_by_default() -> None:
    client = ScriptedClient(admitted_by(lambda opening: opening.reject("no disk")))
    client.open()
    assert refused(client) == ("error", "no disk")


def test_start_paused_and_discard_to() -> None:
    def wait(opening: IOpening) -> None:
        opening.start_paused = True
        opening.discard_to = 10_000

    client = ScriptedClient(admitted_by(wait))
    client.open()
    assert accepted(client) == {"media": [STEREO], "startPaused": True, "discardTo": "PT1.25S"}


@pytest.mark.parametrize(("wanted", "listed"), [(True, ["en-US", "es-419"]), (False, None), (None, None)])
def test_languages_are_listed_only_when_the_client_asks(wanted: bool | None, listed: list[str] | None) -> None:
    def speak(opening: IOpening) -> None:
        assert opening.supported_languages_wanted is bool(wanted)
        opening.supported_languages = ("en-US", "es-419")

    client = ScriptedClient(admitted_by(speak, name="speaking"))
    parameters: dict[str, Any] = {} if wanted is None else {"supportedLanguages": wanted}
    client.open(**parameters)
    assert client.counters.value("plugin_failures", "speaking") == 0
    assert accepted(client).get("supportedLanguages") == listed


def test_a_client_that_asks_gets_a_list_even_when_nobody_knows_a_language() -> None:
    client = ScriptedClient()
    client.open(supportedLanguages=True)
    assert accepted(client)["supportedLanguages"] == []


@pytest.mark.parametrize("offers", [[{"type": "video"}], [STEREO | {"rate": 16_000}], ["PCMU", 7]])
def test_offers_that_nobody_understands_are_refused(offers: list[Any]) -> None:
    client = ScriptedClient()
    client.open(media=offers)
    assert refused(client) == ("error", "no supported media")


def test_a_client_without_offers_gets_a_session_without_audio() -> None:
    client = ScriptedClient(watched_by(CapturingSink()))
    client.open(media=[])
    assert accepted(client) == {"media": []}


def test_narrowing_to_nothing_is_a_refusal() -> None:
    def none(opening: IOpening) -> None:
        opening.media = ()

    client = ScriptedClient(admitted_by(none))
    client.open()
    assert refused(client) == ("error", "no supported media")


def test_a_deferred_answer_is_waited_for() -> None:
    asked: Deferred[None] = Deferred()
    client = ScriptedClient(admitted_by(lambda _: asked))
    client.open()
    assert client.types == []
    asked.callback(None)
    assert client.types == ["opened"]
    assert client.counters.value("admission_timeouts") == 0


def test_a_coroutine_may_ask_elsewhere_before_it_decides() -> None:
    async def admit(opening: IOpening) -> None:
        opening.start_paused = await licence

    licence: Deferred[bool] = Deferred()
    client = ScriptedClient(admitted_by(admit))
    client.open()
    licence.callback(True)
    assert accepted(client)["startPaused"] is True


def test_a_late_answer_is_not_waited_for_and_changes_nothing() -> None:
    async def admit(opening: IOpening) -> None:
        opening.start_paused = True
        await asked
        opening.reject("too late")

    asked: Deferred[None] = Deferred()
    client = ScriptedClient(admitted_by(admit), timers=Timeouts(admission_timeout=2.0))
    client.open()
    client.clock.advance(1.9)
    assert client.types == []
    client.clock.advance(0.1)
    assert accepted(client) == {"media": [STEREO]}  # half a change is no change
    assert client.counters.value("admission_timeouts") == 1
    asked.callback(None)
    assert client.types == ["opened"]


def test_once_the_session_is_open_nobody_is_asked_any_more() -> None:
    asked: Deferred[None] = Deferred()
    after: list[IOpening] = []
    client = ScriptedClient(admitted_by(lambda _: asked), admitted_by(after.append))
    client.open()
    client.clock.advance(3.0)
    asked.callback(None)
    assert after == []


def test_a_decision_in_time_counts_when_the_next_plugin_is_late() -> None:
    client = ScriptedClient(admitted_by(mono), admitted_by(lambda _: Deferred()))
    client.open(media=ALL)
    client.clock.advance(3.0)
    assert accepted(client)["media"] == [EXTERNAL]


def test_pings_are_answered_while_plugins_think() -> None:
    client = ScriptedClient(admitted_by(lambda _: Deferred()))
    client.open()
    client.say("ping")
    assert client.types == ["pong"]


@pytest.mark.parametrize("how", ["close", "leave"])
def test_a_client_that_gives_up_meanwhile_leaves_no_timer_and_no_session(how: str) -> None:
    asked: Deferred[None] = Deferred()
    sink = CapturingSink()
    client = ScriptedClient(admitted_by(lambda _: asked, sink))
    client.open()
    getattr(client, how)()
    client.leave()
    assert client.clock.getDelayedCalls() == []
    assert len(client.registry) == 0
    asked.callback(None)
    assert "opened" not in client.types
    assert sink.calls == []
    assert client.counters.value("admission_timeouts") == client.counters.value("rejections", "error") == 0


def raising(opening: IOpening) -> None:
    opening.start_paused = True
    raise RuntimeError("no idea")


def foreign_media(opening: IOpening) -> None:
    opening.media = (opening.session, *opening.media)


def negative(opening: IOpening) -> None:
    opening.discard_to = -1


def no_languages(opening: IOpening) -> None:
    opening.supported_languages = None


def long_languages(opening: IOpening) -> None:
    opening.supported_languages = tuple(f"x-{number}" for number in range(20_000))


def half_a_character(opening: IOpening) -> None:
    opening.supported_languages = ("en-US", "\ud800")


def discarding(position: Any) -> Callable[[IOpening], None]:
    def admit(opening: IOpening) -> None:
        opening.discard_to = position

    return admit


@pytest.mark.parametrize(
    "admit",
    [raising, foreign_media, negative, no_languages, long_languages, half_a_character]
    + [discarding(position) for position in (1.5, float("inf"), float("nan"), "1000", 10**30)],
)
def test_a_plugin_that_fails_has_no_say(admit: Any) -> None:
    client = ScriptedClient(admitted_by(admit, name="broken"), admitted_by(mono))
    client.open(media=ALL)
    assert accepted(client) == {"media": [EXTERNAL]}
    assert client.counters.value("plugin_failures", "broken") == 1


@pytest.mark.parametrize(
    "arguments", [("no", "because"), (b"no", "error"), ("no", []), (None, None), ("x" * 40_000,), ("\ud800",)]
)
def test_a_refusal_with_wrong_arguments_refuses_all_the_same(arguments: Any, logged: list[LogEvent]) -> None:
    client = ScriptedClient(admitted_by(lambda opening: opening.reject(*arguments), name="broken"))
    client.open(media=ALL)
    assert refused(client) == ("error", "refused")
    assert client.counters.value("plugin_failures", "broken") == 1
    assert client.counters.value("internal_errors") == 0
    (line,) = [str(formatEvent(event)) for event in logged if event.get("plugin") == "broken"]
    assert "failed in reject; the session is rejected nevertheless" in line


def test_the_log_names_the_plugin_that_refuses(logged: list[LogEvent]) -> None:
    client = ScriptedClient(admitted_by(lambda opening: opening.reject("not licensed"), name="evil"))
    client.open()
    assert any("session rejected: not licensed: by plugin evil" in str(formatEvent(event)) for event in logged)


def test_a_refusal_counts_whatever_else_the_plugin_assigned() -> None:
    def admit(opening: IOpening) -> None:
        opening.reject("not licensed", "unauthorized")
        foreign_media(opening)

    client = ScriptedClient(admitted_by(admit))
    client.open(media=ALL)
    assert refused(client) == ("unauthorized", "not licensed")


@pytest.mark.parametrize("answer", [False, True, "no"])
def test_an_answer_of_admit_that_has_no_effect_is_named(answer: object, logged: list[LogEvent]) -> None:
    client = ScriptedClient(admitted_by(lambda _: answer, name="broken"))
    client.open(media=ALL)
    assert client.types == ["opened"]
    assert client.counters.value("plugin_failures", "broken") == 1
    (line,) = [str(formatEvent(event)) for event in logged if event.get("plugin") == "broken"]
    assert "to reject, call opening.reject()" in line


def test_a_required_plugin_that_fails_ends_the_session() -> None:
    client = ScriptedClient(admitted_by(raising, required=True))
    client.open()
    assert refused(client) == ("error", "a required service failed")


def test_a_plugin_that_fails_late_is_counted_all_the_same() -> None:
    async def admit(_: IOpening) -> None:
        try:
            await Deferred()
        finally:
            raise RuntimeError("at last")

    client = ScriptedClient(admitted_by(admit, name="late"))
    client.open()
    assert client.counters.value("plugin_failures", "late") == 0
    client.clock.advance(3.0)
    assert client.counters.value("plugin_failures", "late") == 1


@pytest.mark.parametrize("how", ["late", "leave"])
def test_a_late_plugin_is_cancelled_and_that_is_no_failure(how: str) -> None:
    cancelled: list[Deferred[None]] = []
    client = ScriptedClient(admitted_by(lambda _: Deferred(cancelled.append), name="hanging"))
    client.open()
    assert cancelled == []
    if how == "late":
        client.clock.advance(3.0)
        assert client.types == ["opened"]
    else:
        client.leave()
    assert len(cancelled) == 1
    assert client.counters.value("plugin_failures", "hanging") == 0


def test_a_decision_after_the_cancellation_changes_nothing() -> None:
    async def admit(opening: IOpening) -> None:
        try:
            await Deferred()
        except CancelledError:
            opening.reject("no")

    client = ScriptedClient(admitted_by(admit))
    client.open()
    client.clock.advance(3.0)
    assert client.types == ["opened"]


def test_a_plugin_that_hangs_does_not_keep_the_call() -> None:
    hanging: list[Deferred[None]] = []

    def admit(_: IOpening) -> "Deferred[None]":
        hanging.append(Deferred())
        return hanging[0]

    client = ScriptedClient(admitted_by(admit))
    client.open()
    client.leave()
    call = weakref.ref(client.connection)
    del client
    gc.collect()
    assert call() is None
    assert len(hanging) == 1


def test_a_late_answer_that_is_too_long_is_ignored() -> None:
    async def verbose(opening: IOpening) -> None:
        await asked
        long_languages(opening)

    asked: Deferred[None] = Deferred()
    client = ScriptedClient(admitted_by(verbose, name="broken"))
    client.open(supportedLanguages=True)
    asked.callback(None)
    assert accepted(client)["supportedLanguages"] == []
    assert client.counters.value("plugin_failures", "broken") == 1


def test_nothing_can_be_sent_before_the_session_is_open() -> None:
    def eager(opening: IOpening) -> None:
        assert opening.session.pause() is False
        assert opening.session.send_event([{"type": "x", "data": None}]) is False

    client = ScriptedClient(admitted_by(eager, name="eager"))
    client.open()
    assert client.types == ["opened"]
    assert client.counters.value("plugin_failures", "eager") == 0


def test_a_plugin_may_disconnect_instead_of_refusing() -> None:
    client = ScriptedClient(admitted_by(lambda opening: opening.session.disconnect("completed")))
    client.open()
    assert refused(client) == ("completed", None)
    client.close("disconnect")
    client.leave()
    assert client.types == ["disconnect", "closed"]


def test_a_probe_asks_nobody() -> None:
    asked: list[IOpening] = []
    client = ScriptedClient(admitted_by(asked.append))
    client.open(conversationId="00000000-0000-0000-0000-000000000000")
    assert accepted(client) == {"media": [STEREO]}
    assert asked == []
