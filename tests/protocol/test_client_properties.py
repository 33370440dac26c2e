"""The client's side of a session in talk with the server's side, and with servers that talk nonsense."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from audiohookd.protocol import events, messages
from audiohookd.protocol.client.events import Results
from audiohookd.protocol.client.session import ClientSession, ClientTimers
from audiohookd.protocol.entities import BargeIn
from audiohookd.protocol.session import Session
from audiohookd.protocol.states import State
from audiohookd.protocol.timeouts import Timeouts
from tests.protocol.client_rig import ID, OFFERED, OPENING, OTHER_ID, FakeTime, Wire, open_wire, types


class Pair:
    """A client and the real server's side, with a wire that keeps the order of texts and audio."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.client = ClientSession(ID, OPENING, self.time, ClientTimers())
        self.server = Session(ID, OTHER_ID, Timeouts(), self.time)
        self.received = 0
        self.gaps: list[events.Gap] = []
        self.faults: list[events.Event] = []
        self.results: list[Any] = []
        self.client.start()
        self.talk()

    def talk(self) -> None:
        """Exchanges messages until both sides have none left."""
        while self._to_server() | self._to_client():
            pass

    def _to_server(self) -> bool:
        outgoing = self.client.take_outgoing()
        for data in outgoing:
            self.server.receive_text(data)
            self._tell_server()
        return bool(outgoing)

    def _to_client(self) -> bool:
        outgoing = self.server.take_outgoing()
        for data in outgoing:
            self.client.receive_text(data)
        while (event := self.client.next_event()) is not None:
            if isinstance(event, events.Fault):
                self.faults.append(event)
            if isinstance(event, Results):
                self.results += event.entities
        return bool(outgoing)

    def _tell_server(self) -> None:
        while (event := self.server.next_event()) is not None:
            match event:
                case events.OpenRequested(offers=offered):
                    self.server.accept(offered[0])
                case events.Closing():
                    self.server.send_event([BargeIn()])
                    self.server.finish()
                case events.Gap():
                    self.gaps.append(event)
                case events.Fault() | events.Tolerated():
                    self.faults.append(event)

    def speak(self, samples: int) -> None:
        """Time and audio go on."""
        self.time.now += samples / 8000
        self.client.tick()
        self.server.tick()
        self.talk()
        if self.client.advance(samples):
            assert self.server.receive_audio(b"\xff" * (2 * samples))
            self.received += samples


ACTIONS = st.one_of(
    st.tuples(st.just("speak"), st.integers(1, 32_000)),
    st.tuples(st.sampled_from(["server.pause", "server.resume", "client.pause", "client.resume", "update"])),
)


@given(st.lists(ACTIONS, max_size=40))
@settings(deadline=None)
def test_both_sides_agree_whoever_pauses(actions: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    for name, *arguments in actions:
        if name == "speak":
            pair.speak(*arguments)
        elif name == "update":
            pair.client.update("de-DE")
        else:
            side, _, verb = name.partition(".")
            getattr(getattr(pair, side), verb)()
        pair.talk()
    if pair.client.paused:
        pair.client.resume()
        pair.server.resume()
        pair.talk()
    assert pair.client.position == pair.server.position
    assert pair.server.paused is pair.client.paused is False
    assert pair.received == pair.client.samples_sent
    assert pair.received + sum(gap.samples for gap in pair.gaps) == pair.server.position
    pair.client.close()
    pair.talk()
    assert pair.client.finished
    assert pair.server.state is State.CLOSED
    assert pair.results == [{"type": "barge_in", "data": {}}]
    assert [fault for fault in pair.faults if fault != events.Tolerated("paused")] == []


SERVER_TYPES = st.sampled_from([*messages.SERVER_MESSAGES, "unknown"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PARAMETERS = st.one_of(
    st.just({}),
    st.just({"media": [OFFERED[0]]}),
    st.just({"reason": "error"}),
    st.fixed_dictionaries({"media": st.lists(JSON, max_size=2), "discardTo": st.just("PT3S")}),
    st.fixed_dictionaries({"entities": st.lists(JSON, max_size=2)}),
    JSON,
)


@given(st.lists(st.tuples(SERVER_TYPES, PARAMETERS, st.integers(0, 3), st.integers(0, 11)), max_size=12))
def test_whatever_the_server_says_never_raises(said: list[tuple[str, Any, int, int]]) -> None:
    wire = Wire()
    for number, (type_, parameters, clientseq, seconds) in enumerate(said, 1):
        envelope = {"version": "2", "id": ID, "type": type_, "seq": number, "clientseq": clientseq}
        wire.say_raw(json.dumps(envelope | {"parameters": parameters}).encode())
        wire.wait(seconds)
    assert [message["seq"] for message in wire.sent] == list(range(1, len(wire.sent) + 1))
    assert types(wire.sent).count("close") <= 1
    assert types(wire.sent).count("error") <= 1
    assert len(wire.told(events.Ended)) <= 1


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    wire = open_wire()
    wire.say_raw(data)
    assert len(wire.told(events.Fault)) == 1


def test_deep_nesting_is_a_fault_and_no_more() -> None:
    for data in (b"[" * 60_000, b'{"parameters":' * 4000):
        wire = open_wire()
        wire.say_raw(data)
        assert wire.told(events.Fault)
