"""One session's events to many observers, none of which can harm another."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent
from zope.interface import implementer

from audiohookd.interfaces import IAudioSink, IRecorder, ISessionObserver, PartialLoss
from audiohookd.observe.counters import Counters
from audiohookd.observer import SessionObserver
from audiohookd.protocol import events
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.session.fanout import Fanout, RoutePlugins, Watcher
from audiohookd.session.observer_queue import AUDIO_LIMIT
from audiohookd.testing import CapturingSink, FakeSession, RaisingSink
from tests.websocket.server_rig import Plugin, assert_tiles, watched_by

FRAME = b"\xff" * 64_000


class Call:
    """A session with these watchers."""

    def __init__(self, *watchers: Watcher, must_record: bool = False) -> None:
        self.session = FakeSession()
        self.counters = Counters()
        self.given_up: list[str] = []
        route = RoutePlugins(watchers, must_record)
        self.fanout = Fanout(self.session, route, self.counters, self.given_up.append, lambda: 0.0)
        self.fanout.open()

    def audio(self, frame: bytes = FRAME) -> None:
        self.session.position += len(frame) // 2
        self.fanout.audio(frame)

    def logged(self, namespace: str = "audiohookd.session") -> list[Any]:
        return [event["plugin"] for event in self.session.logged]


class Slow(CapturingSink):
    """Needs a Deferred for everything."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.waiting: list[Deferred[None]] = []

    def _wait(self, *_: Any) -> "Deferred[None]":
        result: Deferred[None] = Deferred()
        self.waiting.append(result)
        return result

    def go_on(self) -> None:
        while self.waiting:
            self.waiting.pop().callback(None)


def test_opened_is_the_first_call_and_plugins_are_asked_in_order() -> None:
    first, second = CapturingSink(), CapturingSink()
    call = Call(watched_by(first), watched_by(second))
    assert (first.calls, second.calls) == ([("opened",)], [("opened",)])
    call.audio()
    assert first.names == second.names == ["opened", "audio"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_one_slow_and_one_raising_observer_do_not_disturb_a_third(order: tuple[int, int, int]) -> None:
    slow, raising, fine = Slow(), RaisingSink("audio"), CapturingSink()
    watchers = [watched_by(slow, "slow"), watched_by(raising, "raising"), watched_by(fine, "fine")]
    call = Call(*(watchers[number] for number in order))
    for _ in range(10):
        call.audio()
    call.fanout.deliver(events.Paused())
    assert fine.names == ["opened", *["audio"] * 10, "paused"]
    assert raising.names == ["opened", "audio"]
    assert slow.names == ["opened"]
    slow.go_on()
    assert assert_tiles(slow, 0, 2) == call.session.position
    assert call.counters.value("plugin_failures", "raising") == 1
    assert call.counters.value("plugin_failures", "fine") == call.counters.value("plugin_failures", "slow") == 0
    assert call.given_up == []


def test_all_sinks_get_the_same_bytes() -> None:
    first, second = CapturingSink(), CapturingSink()
    call = Call(watched_by(first), watched_by(second))
    call.audio(FRAME)
    assert first.calls[-1][1] is second.calls[-1][1] is FRAME


def test_audio_and_gaps_go_to_sinks_alone() -> None:
    heard: list[str] = []

    class Observer(SessionObserver):
        def opened(self) -> None:
            heard.append("opened")

        def paused(self) -> None:
            heard.append("paused")

    sink = CapturingSink()
    call = Call(watched_by(Observer()), watched_by(sink))
    call.audio()
    call.fanout.deliver(Gap(32_000, 800, GapCause.PAUSED))
    call.fanout.deliver(events.Paused())
    assert heard == ["opened", "paused"]
    assert sink.names == ["opened", "audio", "gap", "paused"]


def test_each_event_becomes_the_call_of_its_name() -> None:
    sink = CapturingSink()
    call = Call(watched_by(sink))
    for event in (
        events.Paused(),
        events.Resumed(),
        events.LanguageChanged("es-419"),
        events.RoundTrip(48_000_000),
        events.Dtmf("#"),
        events.Playback(True),
    ):
        call.fanout.deliver(event)
    call.fanout.message(True, b"{}", 1.5)
    assert sink.calls[1:] == [
        ("paused",),
        ("resumed",),
        ("language_changed", "es-419"),
        ("round_trip", 48_000_000),
        ("dtmf", "#"),
        ("playback", True),
        ("message", True, b"{}", 1.5),
    ]


def test_the_session_knows_the_language_that_came_last() -> None:
    seen: list[str | None] = []
    sink = CapturingSink(lambda method, *_: seen.append(call.session.language) if method != "opened" else None)
    call = Call(watched_by(sink))
    call.fanout.deliver(events.LanguageChanged("es-419"))
    assert seen == ["es-419"]


def test_a_plugin_that_does_not_want_to_watch_is_left_alone() -> None:
    call = Call(watched_by(None))
    call.audio()
    assert call.fanout.end("end").called
    assert call.counters.items() == []


@implementer(IAudioSink)
class Hollow:  # type: ignore[misc]
    """Says that it is a sink, and is none."""


@pytest.mark.parametrize("observer", [RuntimeError("no"), object(), Hollow()], ids=["raises", "foreign", "hollow"])
def test_a_plugin_that_cannot_watch_loses_its_own_view_only(observer: Any) -> None:
    fine = CapturingSink()
    call = Call(watched_by(observer, "broken"), watched_by(fine))
    call.audio()
    assert fine.names == ["opened", "audio"]
    assert call.counters.value("plugin_failures", "broken") == 1
    assert call.logged() == ["broken"]
    assert call.given_up == []


@pytest.mark.parametrize("observer", [RuntimeError("no"), RaisingSink("opened")], ids=["observe", "opened"])
def test_the_failure_of_a_required_plugin_ends_the_session(observer: Any) -> None:
    call = Call(watched_by(observer, "recorder", required=True))
    assert call.given_up == ["recorder"]


class Lapsing(CapturingSink):
    """Loses a part of all it is given."""

    def __init__(self) -> None:
        super().__init__(self._lapse)

    def _lapse(self, method: str, *_: Any) -> None:
        if method != "closed":
            raise PartialLoss("no space left")


def test_a_plugin_that_lost_a_part_is_counted_and_goes_on() -> None:
    lapsing = Lapsing()
    call = Call(watched_by(lapsing, "recorder"))
    call.audio()
    call.audio()
    call.fanout.deliver(events.Paused())
    assert lapsing.names == ["opened", "audio", "audio", "paused"]
    assert call.counters.value("plugin_failures", "recorder") == 4
    assert call.given_up == []
    assert {event["log_level"].name for event in call.session.logged} == {"debug"}
    assert all("log_failure" not in event for event in call.session.logged)


def test_a_required_plugin_that_lost_a_part_ends_the_session() -> None:
    call = Call(watched_by(Lapsing(), "recorder", required=True))
    assert call.given_up == ["recorder"]


def test_an_observer_without_one_of_its_methods_is_cut_off() -> None:
    @implementer(ISessionObserver)
    class Partial:  # type: ignore[misc]
        def __init__(self) -> None:
            self.reasons: list[str] = []

        def opened(self) -> None:
            pass

        def closed(self, reason: str) -> None:
            self.reasons.append(reason)

    observer = Partial()
    call = Call(watched_by(observer, "partial"))
    call.fanout.deliver(events.Paused())
    assert call.counters.value("plugin_failures", "partial") == 1
    call.fanout.end("end")
    assert observer.reasons == ["end"]


def test_a_loss_of_a_slow_plugin_is_counted_and_logged_once() -> None:
    call = Call(watched_by(Slow(), "slow"))
    frames = AUDIO_LIMIT // len(FRAME) + 3
    for _ in range(frames):
        call.audio()
    assert call.counters.value("overflow_samples", "slow") == 3 * 32_000
    assert call.logged() == ["slow"]


def test_closing_waits_for_every_last_word() -> None:
    slow, fine = Slow(), CapturingSink()
    call = Call(watched_by(slow), watched_by(fine))
    slow.go_on()
    said = call.fanout.closing("end")
    assert fine.calls[-1] == ("closing", "end")
    assert not said.called
    slow.go_on()
    assert said.called


def test_with_nobody_watching_closing_and_end_are_done_at_once() -> None:
    call = Call()
    assert call.fanout.closing("end").called
    assert call.fanout.end("end").called


def test_an_observer_that_hangs_is_closed_and_then_abandoned() -> None:
    slow, fine = Slow(), CapturingSink()
    call = Call(watched_by(slow, "slow"), watched_by(fine))
    ended = call.fanout.end("connection-lost")
    assert fine.calls[-1] == ("closed", "connection-lost")
    call.fanout.hurry()
    assert slow.names == ["opened", "closed"]
    assert not ended.called
    call.fanout.abandon()
    assert ended.called
    assert call.counters.value("plugin_failures", "slow") == call.counters.value("callback_timeouts", "slow") == 2
    assert call.counters.value("plugin_failures", "plugin") == 0


def test_each_session_is_shown_to_its_plugin_once() -> None:
    plugin = Plugin(CapturingSink())
    call = Call(Watcher("plugin", plugin))
    assert [session.id for session in plugin.sessions] == [call.session.id]


def test_a_loss_at_the_end_is_counted_and_logged() -> None:
    call = Call(watched_by(Slow(), "slow"), watched_by(CapturingSink(), "fine"))
    call.audio()
    call.fanout.end("end")
    assert call.logged() == []
    call.fanout.hurry()
    assert call.counters.value("overflow_samples", "slow") == 32_000
    assert call.counters.value("overflow_samples", "fine") == 0
    assert call.logged() == ["slow", "slow"]  # that it loses audio, and that opened is cancelled


def raising(fault: Exception, at: str) -> Callable[..., None]:
    def act(method: str, *_: object) -> None:
        if method == at:
            raise fault

    return act


@implementer(IRecorder)
class RecordingPlugin(Plugin):
    """Records what it observes."""


class TestTheEndOfACall:
    def ended(self, *watchers: Watcher, must_record: bool = True) -> Call:
        call = Call(*watchers, must_record=must_record)
        call.fanout.end("end")
        return call

    def warnings(self, call: Call) -> list[str]:
        events = [event for event in call.session.logged if event["log_level"] is LogLevel.warn]
        assert call.counters.value("unrecorded_sessions") == len(events)
        return [formatEvent(event) for event in events]

    def test_says_that_no_plugin_recorded_it(self) -> None:
        (line,) = self.warnings(self.ended(watched_by(CapturingSink())))
        assert line.startswith("not recorded: no plugin of the route records calls")

    @pytest.mark.parametrize("observer", [None, RuntimeError("no")])
    def test_says_which_plugin_did_not_record_it(self, observer: Any) -> None:
        (line,) = self.warnings(self.ended(Watcher("recorder", RecordingPlugin(observer))))
        assert line == "not recorded: plugin recorder did not record this call"

    def test_says_once_that_a_recording_ended_before_the_call(self) -> None:
        sink = CapturingSink(raising(ValueError("no\x1b[2J"), "audio"))
        call = Call(Watcher("recorder", RecordingPlugin(sink)), must_record=True)
        for _ in range(3):
            call.audio()
        call.fanout.end("end")
        lines = [formatEvent(event) for event in call.session.logged if "log_failure" not in event]
        reason = r"plugin recorder failed in audio: ValueError: no\u001b[2J; earlier audio is kept"
        assert lines == [f"not recorded from now on: {reason}"]

    @pytest.mark.parametrize(("fault", "method"), [(PartialLoss("a part"), "audio"), (ValueError("no"), "closed")])
    def test_says_nothing_of_a_recording_that_did_not_end_before_it(self, fault: Exception, method: str) -> None:
        sink = CapturingSink(raising(fault, method))
        other = watched_by(CapturingSink(raising(ValueError("no"), "audio")))
        call = Call(Watcher("recorder", RecordingPlugin(sink)), other, must_record=True)
        call.audio()
        call.fanout.end("end")
        assert [event for event in call.session.logged if formatEvent(event).startswith("not recorded")] == []

    def test_says_nothing_of_a_call_that_was_recorded(self) -> None:
        watchers = Watcher("recorder", RecordingPlugin(CapturingSink())), watched_by(CapturingSink())
        assert self.warnings(self.ended(*watchers)) == []

    def test_says_nothing_where_that_is_meant(self) -> None:
        assert self.warnings(self.ended(watched_by(CapturingSink()), must_record=False)) == []
