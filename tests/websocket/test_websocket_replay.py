"""During a replay check: the client waits, all rejections take equally long, and a lost client is forgotten."""

import dataclasses
import gc
import weakref
from collections import deque

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, eventAsText
from zope.interface import implementer

from audiohookd.auth.replay.store import IReplayStore, StoreUnavailable
from audiohookd.edge.policy import ReceiveLimits
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.runtime.token_bucket import Rate
from tests.websocket.websocket_rig import OPEN, OPEN_KEY, Peer, Server, frame, request_head, text, unframed


@implementer(IReplayStore)
class SlowStore:
    """Answers when the test says so."""

    window = 16.0

    def __init__(self) -> None:
        self.pending: deque[Deferred[bool]] = deque()

    def first_use(self, key_id: str, nonce: str, now: float) -> "Deferred[bool]":
        self.pending.append(Deferred())
        return self.pending[-1]

    def answer(self, answer: bool | Exception) -> None:
        asked = self.pending.popleft()
        if isinstance(answer, bool):
            asked.callback(answer)
        else:
            asked.errback(answer)


class Rig:
    """A server with a slow store, and a client that has sent its request."""

    def __init__(self, failure: str = "http", max_sessions: int = 10) -> None:
        self.server = Server(failure, max_sessions=max_sessions)
        self.store = SlowStore()
        authenticator = dataclasses.replace(self.server.authenticator, replay=self.store)
        self.server.factory.policy = msgspec.structs.replace(self.server.factory.policy, authenticator=authenticator)
        self.peer: Peer = self.server.connect()
        self.peer.send(request_head())

    def refusals(self) -> list[tuple[str, int]]:
        return [(label, count) for name, label, count in self.server.counters.items() if name == "rejections"]


def test_a_new_nonce_is_accepted_when_the_store_answers() -> None:
    rig = Rig()
    rig.server.clock.advance(0.2)
    assert rig.peer.answer() == b""
    rig.store.answer(True)
    assert rig.peer.answer().startswith(b"HTTP/1.1 101 ")
    rig.peer.send(text(OPEN))
    assert rig.server.counters.value("sessions") == 1


def test_data_after_the_request_waits_for_the_store_and_is_counted() -> None:
    rig = Rig()
    rig.server.factory.receive_limits = ReceiveLimits(control_frames=Rate(10, 20))
    peer = rig.server.connect()
    peer.send(request_head(nonce="VGhpc0lzQW5vdGhlck5vbmNl") + text(OPEN) + frame(9) * 21)
    assert peer.answer() == b""
    rig.store.answer(True)
    rig.store.answer(True)
    rig.server.clock.advance(0)
    _, _, rest = peer.answer().partition(b"\r\n\r\n")
    frames = unframed(rest)
    assert b'"type":"opened"' in frames[0][1]
    assert b"too many control frames" in [message for opcode, message in frames if opcode == 1][1]


@pytest.mark.parametrize("failure", ["http", "disconnect"])
def test_while_the_store_is_down_a_good_signature_is_told_to_come_again(failure: str) -> None:
    """Genesys Cloud does that after an error, and not after a 401."""
    rig = Rig(failure)
    rig.store.answer(StoreUnavailable("it is on fire"))
    head, _, rest = rig.peer.answer().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    ((_, message),) = unframed(rest)
    assert b'"type":"disconnect"' in message
    assert b'"reason":"error"' in message
    assert rig.refusals() == [("replay-store-down", 1)]
    assert len(rig.server.registry) == 0


def test_half_as_many_as_there_may_be_calls_are_told_to_come_again_at_a_time() -> None:
    """While the store is unavailable a captured request can be repeated, but takes only one of these places."""
    rig = Rig(max_sessions=6)
    peers = [rig.peer, *(rig.server.connect() for _ in range(4))]
    for number, peer in enumerate(peers[1:]):
        peer.send(request_head(nonce=f"VGhpc0lzQVVuaXF1ZU5vb{number}"))
    for _ in peers:
        rig.store.answer(StoreUnavailable("it is on fire"))
    answers = [peer.answer().partition(b"\r\n")[0] for peer in peers]
    unavailable = b"HTTP/1.1 503 Service Unavailable"
    assert answers == [b"HTTP/1.1 101 Switching Protocols"] * 3 + [unavailable] * 2
    assert rig.server.counters.value("limit_hits", "put-off") == 2
    assert len(list(rig.server.registry)) == 3
    peers[0].lose()
    again = rig.server.connect()
    again.send(request_head())
    rig.store.answer(StoreUnavailable("it is on fire"))
    assert again.answer().startswith(b"HTTP/1.1 101 ")


def test_a_request_that_is_repeated_takes_one_place() -> None:
    """Otherwise one that was recorded could have all calls that are real refused for good."""
    rig = Rig()
    rig.store.answer(StoreUnavailable("it is on fire"))
    assert rig.peer.answer().startswith(b"HTTP/1.1 101 ")
    head = request_head(nonce="VGhpc0lzQW5vdGhlck5vbmNl")
    peers = [rig.server.connect() for _ in range(2)]
    for peer in peers:
        peer.send(head)
        rig.store.answer(StoreUnavailable("it is on fire"))
    lines = [peer.answer().partition(b"\r\n")[0] for peer in peers]
    assert lines == [b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 503 Service Unavailable"]
    peers[0].lose()
    again = rig.server.connect()
    again.send(head)
    rig.store.answer(StoreUnavailable("it is on fire"))
    assert again.answer().startswith(b"HTTP/1.1 101 ")


def test_a_rejected_client_that_does_not_close_is_disconnected() -> None:
    rig = Rig(max_sessions=1)
    rig.store.answer(StoreUnavailable("it is on fire"))
    _, _, rest = rig.peer.answer().partition(b"\r\n\r\n")
    assert [opcode for opcode, _ in unframed(rest)] == [1]
    rig.server.clock.advance(Timeouts().disconnect_timeout)
    assert [opcode for opcode, _ in rig.peer.frames()] == [8]


def test_they_take_no_place_of_calls() -> None:
    rig = Rig(max_sessions=1)
    rig.store.answer(StoreUnavailable("it is on fire"))
    caller = rig.server.connect().upgrade(signed=False, X_API_KEY=OPEN_KEY)
    caller.send(text(OPEN))
    assert len(rig.server.registry) == 1


@pytest.mark.parametrize("took", [0.0, 0.1, 0.4])
def test_a_refusal_takes_half_a_second_in_all(took: float) -> None:
    rig = Rig()
    rig.server.clock.advance(took)
    rig.store.answer(False)
    rig.server.clock.advance(0.499 - took)
    assert rig.peer.answer() == b""
    rig.server.clock.advance(0.001)
    assert rig.peer.status() == b"HTTP/1.1 401 Unauthorized"
    assert rig.peer.is_closed
    assert rig.refusals() == [("replayed", 1)]


@pytest.mark.parametrize("failure", ["http", "disconnect"])
@pytest.mark.parametrize(
    "answer", [True, False, StoreUnavailable("it is on fire"), ZeroDivisionError("oops")], ids=repr
)
def test_nothing_happens_to_who_hung_up_meanwhile(failure: str, answer: bool | Exception) -> None:
    rig = Rig(failure)
    rig.peer.lose()
    counted = rig.server.counters.items()
    rig.store.answer(answer)
    rig.server.clock.advance(1.0)
    assert rig.peer.answer() == b""
    assert rig.server.clock.getDelayedCalls() == []
    assert list(rig.server.registry) == []
    assert len(rig.server.factory.pending) == 0
    assert rig.server.sink.calls == []
    assert rig.server.counters.items() == counted


@pytest.mark.parametrize("answer", [True, False, StoreUnavailable("it is on fire")], ids=repr)
def test_a_client_that_hangs_up_while_the_store_is_asked_leaves_nothing(answer: bool | Exception) -> None:
    gc.disable()
    try:
        rig = Rig()
        protocol = weakref.ref(rig.peer.protocol)
        rig.peer.lose()
        del rig.peer
        rig.store.answer(answer)
        assert protocol() is None
    finally:
        gc.enable()


def test_messages_before_the_answer_are_not_kept() -> None:
    rig = Rig()
    rig.peer.send(text(OPEN))
    rig.store.answer(True)
    assert rig.peer.answer().startswith(b"HTTP/1.1 101 ")
    assert rig.server.counters.value("sessions") == 0


def test_an_error_of_our_own_is_not_told_to_the_peer_later_either(logged: list[LogEvent]) -> None:
    rig = Rig()
    rig.store.answer(ZeroDivisionError("the secret of the universe"))
    assert rig.peer.status() == b"HTTP/1.1 500 Internal Server Error"
    assert any("secret of the universe" in eventAsText(event) for event in logged)
    assert rig.server.counters.value("internal_errors") == 1


def test_a_connection_that_waits_for_the_store_can_be_evicted() -> None:
    rig = Rig()
    others = [rig.server.connect() for _ in range(100)]
    assert rig.peer.is_aborted
    rig.peer.lose()
    rig.store.answer(True)
    assert rig.peer.answer() == b""
    assert not any(other.is_aborted for other in others)
