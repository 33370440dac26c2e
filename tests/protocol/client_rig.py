"""A client's side of a session, and a server that says what a test wants."""

import json
from collections.abc import Iterable
from typing import Any

from audiohookd.protocol import events, messages
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.client.states import ClientState
from audiohookd.protocol.codec import encode_server

ID = "11111111-1111-4111-8111-111111111111"
OTHER_ID = "22222222-2222-4222-8222-222222222222"
OPENING = messages.Open(
    organization_id=OTHER_ID,
    conversation_id=ID,
    participant=messages.Participant(ID),
    media=offers(2),
)

OFFERED = [json.loads(bytes(offer)) for offer in OPENING.media]


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Wire:
    """A client, and a server that says what the test wants, well counted."""

    def __init__(self, opening: messages.Open = OPENING, **options: Any) -> None:
        self.time = FakeTime()
        self.client = ClientSession(ID, opening, self.time, **options)
        self.server_seq = 0
        self.sent: list[dict[str, Any]] = []
        self.events: list[events.Event] = []
        self.client.start()

    def take(self) -> list[dict[str, Any]]:
        """What the client has sent since."""
        taken = [json.loads(data) for data in self.client.take_outgoing()]
        self.sent += taken
        while (event := self.client.next_event()) is not None:
            self.events.append(event)
        return taken

    def say(self, parameters: messages.Parameters, /, **changes: Any) -> list[dict[str, Any]]:
        """The server says this; returns what the client answers."""
        self.take()
        self.server_seq += 1
        data = json.loads(encode_server(ID, self.server_seq, len(self.sent), parameters))
        return self.say_raw(json.dumps(data | changes).encode())

    def say_raw(self, data: bytes) -> list[dict[str, Any]]:
        self.client.receive_text(data)
        return self.take()

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Time goes by, and the client's deadlines with it."""
        end = self.time.now + seconds
        while (due := self.client.next_deadline()) is not None and due <= end:
            self.time.now = max(self.time.now, due)
            self.client.tick()
            if self.client.finished:
                break
        self.time.now = end
        return self.take()

    def told(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def opened(media: Iterable[Any] = OPENING.media[:1], **more: Any) -> messages.Opened:
    return messages.Opened(media=tuple(media), **more)


def open_wire(**more: Any) -> Wire:
    wire = Wire()
    wire.say(opened(**more))
    assert wire.client.is_open
    return wire


def types(sent: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in sent]


def assert_refused(wire: Wire, answer: list[dict[str, Any]], code: int) -> None:
    """The client said error and close, and reports one fault."""
    assert types(answer) == ["error", "close"]
    assert answer[0]["parameters"]["code"] == code
    assert answer[1]["parameters"] == {"reason": "error"}
    (fault,) = wire.told(events.Fault)
    assert fault.detail.startswith(str(code))
    assert wire.client.state is ClientState.CLOSING
