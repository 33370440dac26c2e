"""A client on paper: it speaks JSON to a Session, keeps its own counters and time, and checks every answer."""

import json
from typing import Any

from audiohookd.protocol import events
from audiohookd.protocol.session import Session
from audiohookd.protocol.timeouts import Timeouts

SESSION_ID = "e160e428-53e2-487c-977d-96989bf5c99d"
OTHER_ID = "00000000-53e2-487c-977d-96989bf5c99d"
ORGANIZATION_ID = "d7934305-0972-4844-938e-9060eef73d05"

#: What Monitor offers for "both" channels.
OFFERS = [
    {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000},
    {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000},
    {"type": "audio", "format": "PCMU", "channels": ["internal"], "rate": 8000},
]

#: The least that each message of the client must hold to be understood, and a little more.
PARAMETERS: dict[str, dict[str, Any]] = {
    "open": {
        "organizationId": ORGANIZATION_ID,
        "conversationId": "090eaa2f-72fa-480a-83e0-8667ff89c0ec",
        "participant": {
            "id": "883efee8-3d6c-4537-b500-6d7ca4b92fa0",
            "ani": "+1-555-555-1234",
            "aniName": "John Doe",
            "dnis": "+1-800-555-6789",
        },
        "media": OFFERS,
        "language": "en-US",
    },
    "close": {"reason": "end"},
    "ping": {"rtt": "PT0.048S"},
    "paused": {},
    "resumed": {"start": "PT0S", "discarded": "PT1S"},
    "discarded": {"start": "PT0S", "discarded": "PT2S"},
    "update": {"language": "es-US"},
    "error": {"code": 429, "message": "Rate limit exceeded", "retryAfter": "PT3S"},
    "dtmf": {"digit": "5"},
    "barge_in": {},
    "playback_started": {},
    "playback_completed": {},
}


class WireClient:
    """One session and its client.

    ``said`` takes the messages of the server out, ``happened`` the events (without events that only repeat the
    messages: they are compared with the wire here).
    """

    def __init__(self, timers: Timeouts | None = None, **options: Any) -> None:
        self.now = 1000.0
        self.session = Session(SESSION_ID, ORGANIZATION_ID, timers or Timeouts(), lambda: self.now, **options)
        self.seq = 0
        self.serverseq = 0
        self.audio_taken = 0
        self._wire: list[bytes] = []
        self._reported: list[bytes] = []
        self._happened: list[events.Event] = []

    def say(self, name: str, parameters: Any = None, **envelope: Any) -> None:
        """Sends a message, right in everything that ``envelope`` does not overrule."""
        message = {
            "version": "2",
            "id": SESSION_ID,
            "type": name,
            "seq": self.seq + 1,
            "serverseq": self.serverseq,
            "position": "PT0S",
            "parameters": PARAMETERS.get(name, {}) if parameters is None else parameters,
        } | envelope
        self.seq = message["seq"] if isinstance(message["seq"], int) else self.seq + 1
        self.say_bytes(json.dumps(message).encode())

    def say_bytes(self, data: bytes) -> None:
        self.session.receive_text(data)

    def send_audio(self, size: int) -> bool:
        taken = self.session.receive_audio(b"\xff" * size)
        self.audio_taken += size if taken else 0
        return taken

    def wait(self, seconds: float) -> None:
        """Lets time pass, and ticks whenever the session wants it, as its driver does."""
        end = self.now + seconds
        while (due := self.session.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.session.tick()
            assert self.session.next_deadline() != due
        self.now = end

    def said(self) -> list[dict[str, Any]]:
        """What the server said since the last call, each checked as Genesys' own client checks it."""
        messages = []
        for data in self.session.take_outgoing():
            self._wire.append(data)
            messages.append(self._checked(data))
        return messages

    def happened(self) -> list[events.Event]:
        """What the session reported since the last call."""
        found = []
        while (event := self.session.next_event()) is not None:
            if not isinstance(event, events.Message):
                found.append(event)
            elif event.outgoing:
                self._reported.append(event.data)
        return found

    def assert_all_reported(self) -> None:
        """Every message that went out was reported, in order: the sidecar lives on that."""
        assert self._reported == self._wire

    def _checked(self, data: bytes) -> dict[str, Any]:
        assert len(data) <= 64_000
        message: dict[str, Any] = json.loads(data.decode(), parse_constant=_refuse)
        assert list(message) == ["version", "id", "type", "seq", "clientseq", "parameters"]
        assert (message["version"], message["id"]) == ("2", SESSION_ID)
        assert message["seq"] == self.serverseq + 1
        assert isinstance(message["clientseq"], int)
        assert isinstance(message["parameters"], dict)
        self.serverseq = message["seq"]
        return message


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def opening(timers: Timeouts | None = None, **parameters: Any) -> WireClient:
    """A client after its ``open`` was received."""
    client = WireClient(timers)
    client.say("open", PARAMETERS["open"] | parameters)
    return client


def opened(timers: Timeouts | None = None, *, media: bool = True, **parameters: Any) -> WireClient:
    """A client in an open session, with the first of its offers selected (or none)."""
    client = opening(timers, **parameters)
    request = next(event for event in client.happened() if isinstance(event, events.OpenRequested))
    assert client.session.accept(request.offers[0] if media else None)
    assert [message["type"] for message in client.said()] == ["opened"]
    assert [type(event) for event in client.happened()] == [events.Opened]
    return client
