"""The probe of ``doctor``: messages of a server, and the result for each."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from audiohookd.cli.doctor.probe import Closed, Probe, WebSocketClient, opening
from audiohookd.cli.doctor.steps import ActivationError, Deadline, State, StepFailed
from audiohookd.cli.websocket import CLOSE, PONG
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import NULL_UUID
from tests.cli.test_websocket import unmasked

ID = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
MEDIA = [{"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}]


def soon() -> Deadline:
    return Deadline(time.monotonic, 0.2)


class Script:
    """A WebSocket on which the server sends scripted messages, then nothing or a close."""

    def __init__(self, *messages: dict[str, Any] | bytes | Closed) -> None:
        self.sent: list[dict[str, Any]] = []
        self.is_closed = False
        self._messages = list(messages)

    def send(self, data: bytes, deadline: Deadline) -> None:
        opcode, payload = unmasked(data)
        if opcode == CLOSE:
            self.is_closed = True
        else:
            self.sent.append(json.loads(payload))

    def receive(self, deadline: Deadline) -> tuple[bytes, bool]:
        if not self._messages:
            raise TimeoutError
        message = self._messages.pop(0)
        if isinstance(message, Closed):
            raise message
        return (message, True) if isinstance(message, bytes) else (json.dumps(message).encode(), False)


def said(type_: str, seq: int, **parameters: Any) -> dict[str, Any]:
    return {"version": "2", "id": ID, "type": type_, "seq": seq, "clientseq": seq, "parameters": parameters}


def probe(*messages: Any) -> tuple[Probe, Script]:
    script = Script(*messages)
    session = ClientSession(ID, opening(ORGANIZATION, 2), time.monotonic)
    return Probe(session, script), script  # type: ignore[arg-type]


def examine(*messages: Any) -> None:
    patient, _ = probe(*messages)
    patient.open(soon())
    patient.close(soon())


def test_a_correct_server_passes() -> None:
    patient, script = probe(said("opened", 1, media=MEDIA), said("closed", 2), Closed(1000, ""))
    assert patient.open(soon()).text == "opened, PCMU audio"
    assert patient.close(soon()).text == "closed"
    assert patient.end(soon()).state is State.OK
    assert [message["type"] for message in script.sent] == ["open", "close"]
    assert script.is_closed


def test_the_session_is_recognised_as_a_probe() -> None:
    patient, script = probe(said("opened", 1, media=[]))
    assert patient.open(soon()).text == "opened, without audio"
    asked = script.sent[0]["parameters"]
    assert (asked["conversationId"], asked["participant"]["id"]) == (NULL_UUID, NULL_UUID)
    assert asked["participant"]["ani"] == ""
    assert asked["organizationId"] == ORGANIZATION


@pytest.mark.parametrize(
    ("messages", "complaint", "text"),
    [
        ([], ActivationError.LATE, "no opened within 5 s"),
        ([said("opened", 1, media=MEDIA)], ActivationError.UNCLOSED, "no closed in time"),
        ([said("opened", 2, media=MEDIA)], ActivationError.MALFORMED, "out of sequence"),
        ([said("opened", 1, media="x")], ActivationError.MALFORMED, "violates the protocol"),
        ([said("opened", 1, media=MEDIA), said("closed", 1)], ActivationError.MALFORMED, "out of sequence"),
        ([b"audio"], ActivationError.MALFORMED, "audio not expected"),
        ([said("disconnect", 1, reason="unauthorized")], ActivationError.UNAUTHORIZED, "--recent"),
        (
            [said("disconnect", 1, reason="error", info="full")],
            ActivationError.DISCONNECTED,
            "disconnect error: full",
        ),
        ([Closed(1011, "oops")], ActivationError.CONNECTION, "closed the WebSocket instead: 1011 oops"),
        ([said("opened", 1, media=MEDIA), Closed(None, "")], ActivationError.CONNECTION, "without a close frame"),
    ],
)
def test_each_error_of_a_server_is_reported(messages: list[Any], complaint: ActivationError, text: str) -> None:
    with pytest.raises(StepFailed) as caught:
        examine(*messages)
    assert caught.value.complaint is complaint
    assert text in str(caught.value)


@pytest.mark.parametrize("end", [[], [Closed(None, "")], [Closed(1011, "")]])
def test_a_bad_end_is_a_note(end: list[Any]) -> None:
    patient, _ = probe(*end)
    assert patient.end(soon()).state is State.NOTE


class TestTheWire:
    """Frames, over a pair of sockets."""

    @pytest.fixture
    def sockets(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.settimeout(5)
            yield ours, theirs

    def test_fragments_with_a_ping_between_are_joined(self, sockets: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = sockets
        theirs.sendall(b"\x89\x02hi\x80\x03lo!\x82\x01x")
        wire = WebSocketClient(ours, b"\x01\x03hel")
        assert wire.receive(soon()) == (b"hello!", False)
        assert wire.receive(soon()) == (b"x", True)
        assert unmasked(theirs.recv(100)) == (PONG, b"hi")

    @pytest.mark.parametrize(("frame", "code"), [(b"\x88\x02\x03\xe8", 1000), (b"\x88\x00", 1005)])
    def test_the_close_code_is_reported(
        self, frame: bytes, code: int, sockets: tuple[socket.socket, socket.socket]
    ) -> None:
        with pytest.raises(Closed) as caught:
            WebSocketClient(sockets[0], frame).receive(soon())
        assert caught.value.code == code

    def test_an_end_without_a_close_frame_is_reported(self, sockets: tuple[socket.socket, socket.socket]) -> None:
        sockets[1].close()
        with pytest.raises(Closed) as caught:
            WebSocketClient(sockets[0], b"\x81").receive(soon())
        assert caught.value.code is None

    def test_illegal_frames_are_rejected(self, sockets: tuple[socket.socket, socket.socket]) -> None:
        with pytest.raises(StepFailed, match="masked") as caught:
            WebSocketClient(sockets[0], b"\x81\x81aaaax").receive(soon())
        assert caught.value.complaint is ActivationError.MALFORMED

    def test_a_slow_server_does_not_extend_the_deadline(self, sockets: tuple[socket.socket, socket.socket]) -> None:
        with pytest.raises(TimeoutError):
            WebSocketClient(sockets[0], b"\x81\x05he").receive(soon())
