"""What goes wrong in a call, on either side, and the end of the daemon."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent

from audiohookd.protocol.session import Session
from audiohookd.session.fanout import Watcher
from audiohookd.session.registry import Registry
from audiohookd.testing import CONVERSATION_ID, PATH, SESSION_ID, CapturingSink
from audiohookd.testing.client import ScriptedClient
from tests.session.connection_rig import FRAME, gone, message_type, opened, without_messages
from tests.websocket.server_rig import Plugin, watched_by

# ---- what goes wrong ---------------------------------------------------------------------------------


def test_a_client_that_breaks_the_protocol_is_disconnected_and_still_gets_its_closed() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink))
    client.say("ping", seq=7)
    assert client.wire.heard[-1]["parameters"]["reason"] == "error"
    client.say("close", {"reason": "disconnect"}, seq=8)
    assert client.types == ["opened", "disconnect", "closed"]
    assert client.counters.value("protocol_errors") == 1
    assert sink.calls[-1] == ("closed", "disconnect")


def test_odd_things_are_counted_each_time_and_logged_once(logged: list[LogEvent]) -> None:
    client = opened()
    for _ in range(3):
        client.say("invented")
    assert client.counters.value("protocol_anomalies", "unknown-type") == 3
    lines = [formatEvent(event) for event in logged]
    assert sum("tolerated a protocol anomaly of the client: unknown-type" in line for line in lines) == 1


def test_an_error_message_of_the_client_is_logged(logged: list[LogEvent]) -> None:
    client = opened()
    client.say("error", {"code": 429, "message": "Rate limit exceeded", "retryAfter": "PT3S"})
    assert client.counters.value("peer_errors") == 1
    assert any("the client reported error 429 " in formatEvent(event) for event in logged)


def test_endless_error_messages_do_not_fill_the_log(logged: list[LogEvent]) -> None:
    client = opened()
    for number in range(300):
        client.say("error", {"code": 400 + number % 100, "message": "no"})
    assert client.counters.value("peer_errors") == 300
    assert 10 < sum("the client reported error" in formatEvent(event) for event in logged) <= 20


def test_of_what_a_stranger_says_the_log_tells_nothing(logged: list[LogEvent]) -> None:
    client = ScriptedClient(authentic=False)
    for _ in range(3):
        client.say("error", {"code": 400, "message": "no"})
        client.say("nonsense")
        client.speak(FRAME)
    assert client.counters.value("peer_errors") == 3
    assert [formatEvent(event) for event in logged if event["log_namespace"] == "audiohookd.session"] == []


def test_each_line_names_the_session(logged: list[LogEvent]) -> None:
    plugin = Plugin(CapturingSink())
    opened(Watcher("plugin", plugin))
    (session,) = plugin.sessions
    session.log.info("said {what} in {session}", what="a word", session="another one")
    assert formatEvent(logged[-1]) == f"{session.id} said a word in {session.id}"
    assert logged[-1]["organization"] == session.organization_id


def test_one_line_tells_of_the_beginning_and_one_of_the_end(logged: list[LogEvent]) -> None:
    client = ScriptedClient()
    client.open(position="PT60S")
    client.say("discarded", {"start": "PT60S", "discarded": "PT1.26S"})
    client.speak(FRAME)
    client.close()
    first, last = [formatEvent(event) for event in logged if event["log_namespace"] == "audiohookd.session"]
    assert first == f"{SESSION_ID} opened: PCMU external+internal on {PATH}, conversation {CONVERSATION_ID}"
    assert last == f"{SESSION_ID} ended after 1.5 s: end"


def test_a_call_without_audio_has_its_lines_too(logged: list[LogEvent]) -> None:
    client = ScriptedClient()
    client.open(media=[])
    client.leave()
    first, last = [formatEvent(event) for event in logged if event["log_namespace"] == "audiohookd.session"]
    assert "opened: no audio on" in first
    assert last.endswith("ended after 0.0 s: connection-lost")


@pytest.mark.parametrize("message", ["receive_audio", "receive_text"])
def test_an_error_of_our_own_ends_the_session_and_no_timer_remains(
    logged: list[LogEvent], monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    client = opened(watched_by(sink := CapturingSink()))
    with monkeypatch.context() as broken:
        broken.delattr(Session, message)
        client.speak(FRAME)
        client.say("ping")
    assert sum("log_failure" in event for event in logged) == 1
    assert client.counters.value("internal_errors") == 1
    assert {"reason": "error", "info": "internal error"} in [message["parameters"] for message in client.wire.heard]
    client.close("disconnect")
    client.leave()
    assert sink.calls[-1] == ("closed", "disconnect")
    assert gone(client)


def test_an_error_while_something_is_delivered_does_not_stop_the_connection(logged: list[LogEvent]) -> None:
    class Broken(Registry):
        def admit(self, *arguments: Any, **options: Any) -> Any:
            raise ZeroDivisionError

    clock = Clock()
    client = opened(clock=clock, registry=Broken(clock, 1, 60.0))
    assert client.wire.heard[-1]["parameters"] == {"reason": "error", "info": "internal error"}
    assert any("log_failure" in event for event in logged)
    assert client.counters.value("internal_errors") == 1
    client.close("disconnect")
    client.leave()
    assert client.types == ["disconnect", "closed"]
    assert gone(client)


def test_a_wire_that_is_lost_while_it_is_written_to() -> None:
    class Fragile(ScriptedClient):
        def break_at(self, message: str) -> None:
            def send(data: bytes) -> None:
                keep(data)
                if message_type(data) == message:
                    self.leave()

            keep = self.wire.send
            self.wire.send = send  # type: ignore[assignment, method-assign]

    sink = CapturingSink()
    client = Fragile(watched_by(sink))
    client.break_at("opened")
    client.open()
    assert without_messages(sink) == [("opened",), ("closed", "connection-lost")]
    assert gone(client)


# ---- the daemon ends ---------------------------------------------------------------------------------


def test_shut_down_asks_the_client_to_close() -> None:
    client = opened(watched_by(sink := CapturingSink()))
    client.connection.shut_down()
    assert client.wire.heard[-1]["parameters"] == {"reason": "error", "info": "server is shutting down"}
    client.close("disconnect")
    client.leave()
    assert sink.calls[-1] == ("closed", "disconnect")


def test_abort_ends_it_now_and_waits_only_for_closed() -> None:
    recording: Deferred[None] = Deferred()
    sink = CapturingSink(lambda method, *_: {"audio": Deferred(), "closed": recording}.get(method))
    client = opened(watched_by(sink))
    client.speak(FRAME)
    client.connection.abort()
    assert client.wire.ends == ["abort"]
    assert sink.calls[-1] == ("closed", "connection-lost")
    client.leave()
    assert not client.connection.finished.called
    recording.callback(None)
    assert gone(client)


def test_abort_before_open() -> None:
    client = ScriptedClient()
    client.connection.abort()
    assert client.wire.ends == ["abort"]
    assert gone(client)
