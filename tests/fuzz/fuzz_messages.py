"""Fuzzes text messages: the decoder and a session accept each one or raise one kind of error.

The bytes are messages separated by line breaks. The line ``audio`` is a frame of audio, ``tick`` advances the time.
"""

import json
import re
from collections.abc import Iterator

import msgspec

from audiohookd.protocol import codec
from audiohookd.protocol.errors import LocalProtocolError, RemoteProtocolError
from audiohookd.protocol.json_text import one_line
from audiohookd.protocol.session import Session
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.testing import ORGANIZATION_ID, SESSION_ID

_TYPES = ("open", "ping", "close", "discarded", "paused", "resumed", "error", "update", "dtmf", "x-new")


def check(data: bytes) -> None:
    """Raises an AssertionError, or any exception that the decoder and the session must not raise."""
    lines = data.split(b"\n")
    for line in lines:
        _check_line(line)
        _check_client(line)
        _check_server(line)
    _check_session(lines)


def seeds() -> Iterator[bytes]:
    """A whole call, and a message of each type."""
    opening = message("open", 1, _OPEN)
    yield b"\n".join([opening, b"audio", message("ping", 2), b"tick", message("close", 3, b'{"reason":"end"}')])
    yield b"\n".join([opening, b"audio", b"audio", message("discarded", 2, b'{"start":"PT0S","discarded":"PT1.5S"}')])
    for name in _TYPES:
        yield message(name, 1, b'{"start":"PT1S","discarded":"PT2S","code":400,"message":"m","digit":"1","x":[{}]}')
    yield message("x", 1).replace(b'"type":', b'"type":"close","type":')
    yield message("close", 1).replace(b'"type":', b'"type":"x","type":')
    yield b'{"version":"2","type":"close","seq":"' + b"[" * 100
    odd = b'{"x":"\\ud800\\\\ud83d\\ude00","y":[1e999,-1.0],"inputVariables":{"a":1e999,"":"\\udfff"},' + _OPEN[1:]
    yield b"\xef\xbb\xbf" + message("open", 1, odd).replace(b'"seq":1', b'"seq":1.0')


_OPEN = (
    b'{"organizationId":"%s","conversationId":"090eaa2f-72fa-480a-83e0-8667ff89c0ec",'
    b'"participant":{"id":"883efee8-3d6c-4537-b500-6d7ca4b92fa0","ani":"","aniName":"","dnis":""},'
    b'"media":[{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}]}'
) % ORGANIZATION_ID.encode()


def message(name: str, seq: int, parameters: bytes = b"{}") -> bytes:
    """A message of the client."""
    head = f'{{"version":"2","id":"{SESSION_ID}","type":"{name}","seq":{seq},"serverseq":0,"position":"PT0S"'
    return head.encode() + b',"parameters":' + parameters + b"}"


def _check_line(line: bytes) -> None:
    """Checks that an accepted line is JSON for another parser, too, and survives unchanged."""
    try:
        found = one_line(line)
    except ValueError:
        return
    assert not re.search(rb"[\r\n]", found)
    assert one_line(found) == found
    json.loads(found)
    msgspec.json.decode(found)


def _check_client(line: bytes) -> None:
    try:
        envelope = codec.decode_client_envelope(line)
        is_close = codec.is_close(line)
        _check_is_close(line, is_close, envelope.type)
        parameters = codec.decode_parameters(envelope)
    except RemoteProtocolError:
        return
    assert len(line) <= codec.MAX_RECEIVED
    if parameters is None:
        return
    try:
        again = codec.encode_client(envelope.id, envelope.seq, envelope.serverseq, envelope.position, parameters)
    except LocalProtocolError:
        return  # received messages may be longer than sent ones
    envelope = codec.decode_client_envelope(again)
    assert codec.decode_parameters(envelope) == parameters


def _check_is_close(line: bytes, is_close: bool, name: str) -> None:
    """Checks that both agree. With two members ``type`` only one counts, and the other may not be a valid type."""
    assert name == "close" or not is_close
    if line.count(b"type") == 1 and b"\\" not in line:
        assert is_close is (name == "close")


def _check_server(line: bytes) -> None:
    try:
        codec.decode_parameters(codec.decode_server_envelope(line))
    except RemoteProtocolError:
        return
    assert len(line) <= codec.MAX_RECEIVED


def _check_session(lines: list[bytes]) -> None:
    now = 0.0
    session = Session(SESSION_ID, ORGANIZATION_ID, Timeouts(), lambda: now)
    for line in lines:
        if line == b"audio":
            session.receive_audio(bytes(320))
        elif line == b"tick":
            now += 5.0
            session.tick()
        else:
            session.receive_text(line)
        while session.next_event() is not None:
            pass
        for outgoing in session.take_outgoing():
            codec.decode_parameters(codec.decode_server_envelope(outgoing))
    session.connection_lost()
    assert session.next_deadline() is None
