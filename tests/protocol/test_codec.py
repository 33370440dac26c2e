"""Two steps from bytes to parameters: whatever the bytes are, there is one way to fail."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd.protocol import messages
from audiohookd.protocol.codec import (
    MAX_RECEIVED,
    MAX_SENT,
    ClientEnvelope,
    ServerEnvelope,
    decode_client_envelope,
    decode_parameters,
    decode_server_envelope,
    encode_client,
    encode_server,
    is_close,
)
from audiohookd.protocol.errors import LocalProtocolError, RemoteProtocolError
from tests.protocol.wire_client import PARAMETERS, SESSION_ID

NOTHING: dict[str, Any] = {}


def message(name: str = "ping", parameters: Any = NOTHING, **changes: Any) -> bytes:
    """A message of the client, in JSON."""
    whole = {"version": "2", "id": SESSION_ID, "type": name, "seq": 1, "serverseq": 0, "position": "PT0S"}
    return json.dumps(whole | {"parameters": parameters} | changes).encode()


def read(data: bytes) -> tuple[ClientEnvelope, Any]:
    envelope = decode_client_envelope(data)
    return envelope, decode_parameters(envelope)


# ---- anything at all ---------------------------------------------------------------------------------

legal = st.sampled_from([message(name, parameters) for name, parameters in PARAMETERS.items()])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A legal message with a piece of it exchanged."""
    data = draw(legal)
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 8)))
    return data[:start] + draw(st.binary(max_size=8)) + data[end:]


def outcome(
    decode: Callable[[bytes], ClientEnvelope | ServerEnvelope], data: bytes
) -> messages.Parameters | str | None:
    """What became of it; any other exception than the one goes through."""
    try:
        envelope = decode(data)
        return decode_parameters(envelope)
    except RemoteProtocolError as fault:
        return fault.info


@given(st.binary() | st.text().map(str.encode) | damaged())
@example(b"")
@example(b"[" * 60_000)
@example(b'{"a":' * 12_000)
@example(message("open", PARAMETERS["open"], extra="?").replace(b'"?"', b'"\xff"'))
@example(message("open", PARAMETERS["open"] | {"customConfig": "?"}).replace(b'"?"', b'"\xed\xa0\x80"'))
@example(message("ping", {"rtt": "PT1S"}).replace(b"PT1S", b"\xed\xa0\x80"))
@example(message("open", PARAMETERS["open"]).replace(b"en-US", b"\\ud800"))
@example(message(seq=1).replace(b'"seq": 1', b'"seq": ' + b"1" * 5000))
@example(message(seq=1).replace(b'"seq": 1', b'"seq": 1e400'))
@example(message("error", {"code": 1}).replace(b'"code": 1', b'"code": ' + b"9" * 400))
def test_bytes_are_a_message_or_one_kind_of_error(data: bytes) -> None:
    for decode in (decode_client_envelope, decode_server_envelope):
        result = outcome(decode, data)
        assert result in ("message malformed", None) or isinstance(result, messages.Parameters)
        # Not even in what is skipped or kept as text: it would come out again in ``opened`` and in the sidecar.
        assert result == "message malformed" or data.decode()


@given(st.binary() | damaged())
@example(b'{"type":"close"}')
def test_whatever_else_it_is_it_is_a_close_or_not(data: bytes) -> None:
    try:
        claims = json.loads(data)["type"] == "close"
    except (ValueError, KeyError, TypeError, RecursionError):
        claims = False
    # json is the more generous of the two: lone surrogates, NaN.
    assert claims or not is_close(data)


@pytest.mark.parametrize("data", [message("close", 7), b'{"type":"close","id":1}', b' {"type" : "close"}'])
def test_a_broken_close_is_seen(data: bytes) -> None:
    assert is_close(data)


@pytest.mark.parametrize("data", [message(), b"close", b'{"type":["close"]}', b'{"type":"close"', message("closed")])
def test_another_message_is_not_taken_for_a_close(data: bytes) -> None:
    assert not is_close(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2}, {"version": "1"}, {"version": None}, {"id": "x"}, {"id": SESSION_ID + "\n"}, {"id": None},
        {"id": "{" + SESSION_ID + "}"}, {"type": ""}, {"type": "x" * 65}, {"type": None}, {"type": 5}, {"seq": -1},
        {"seq": 2**53}, {"seq": "1"}, {"seq": 1.5}, {"seq": True}, {"seq": None}, {"serverseq": -1},
        {"serverseq": None}, {"position": "PT5.S"}, {"position": 0}, {"position": None}, {"position": "PT1S\n"},
        {"parameters": None}, {"parameters": []}, {"parameters": "{}"}, {"parameters": 0},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["ping", "weather_report"])
def test_a_wrong_envelope_is_an_error(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        read(message(name, **changes))


@pytest.mark.parametrize("field", ["version", "id", "type", "seq", "serverseq", "position", "parameters"])
def test_every_field_of_the_envelope_is_wanted(field: str) -> None:
    whole = json.loads(message())
    del whole[field]
    with pytest.raises(RemoteProtocolError):
        read(json.dumps(whole).encode())


@given(st.sampled_from(list(PARAMETERS)), st.dictionaries(st.text(), st.integers() | st.none(), max_size=3))
@example("ping", {"constructor": 1, "__proto__": None, "__class__": 2, "parameters": None, "type": 1})
def test_fields_that_nobody_knows_are_ignored(name: str, extra: Any) -> None:
    known = {"version", "id", "type", "seq", "serverseq", "position", "parameters"}
    fields = {key for kind in messages.CLIENT_MESSAGES.values() for key in kind.__struct_encode_fields__}
    plain = read(message(name, PARAMETERS[name]))
    outside = {key: value for key, value in extra.items() if key not in known}
    inside = {key: value for key, value in extra.items() if key not in fields}
    adorned = read(message(name, PARAMETERS[name] | inside, **outside))
    assert adorned[1] == plain[1]
    assert (adorned[0].type, adorned[0].seq) == (plain[0].type, plain[0].seq)


@pytest.mark.parametrize("name", ["toString", "constructor", "__proto__", "OPEN", "opened", "closed", " ping"])
def test_a_type_that_nobody_knows_is_no_error(name: str) -> None:
    envelope, parameters = read(message(name))
    assert (envelope.type, parameters) == (name, None)


def test_the_size_counts_in_bytes() -> None:
    euros = "€" * 21_000  # 63,000 bytes, though JSON text of 21,000 characters
    data = json.dumps(json.loads(message("note", {"text": euros})), ensure_ascii=False).encode()
    padded = data + b" " * (MAX_RECEIVED - len(data))
    assert read(padded)[0].type == "note"
    with pytest.raises(RemoteProtocolError, match="message too large"):
        read(padded + b" ")


# ---- what we write -----------------------------------------------------------------------------------

counters = st.integers(0, 2**53 - 1)


@given(st.sampled_from(list(PARAMETERS)), counters, counters)
def test_messages_of_the_client_survive_the_wire(name: str, seq: int, serverseq: int) -> None:
    _, parameters = read(message(name, PARAMETERS[name]))
    data = encode_client(SESSION_ID, seq, serverseq, "PT1.5S", parameters)
    envelope, again = read(data)
    assert (envelope.id, envelope.type, envelope.seq, envelope.serverseq) == (SESSION_ID, name, seq, serverseq)
    assert envelope.position == "PT1.5S"
    if name != "open":  # its media and configuration are kept as text, which knows no equality
        assert again == parameters
    assert json.loads(data)["parameters"] == PARAMETERS[name]


@given(counters, counters, st.none() | st.text(max_size=50), st.none() | st.dictionaries(st.text(), st.text()))
def test_messages_of_the_server_survive_the_wire(seq: int, clientseq: int, info: str | None, outputs: Any) -> None:
    parameters = messages.Disconnect("completed", info, outputs)
    envelope = decode_server_envelope(encode_server(SESSION_ID, seq, clientseq, parameters))
    assert (envelope.id, envelope.type) == (SESSION_ID, "disconnect")
    assert (envelope.seq, envelope.clientseq) == (seq, clientseq)
    assert decode_parameters(envelope) == parameters


@pytest.mark.parametrize("wrong", [object(), {1, object()}, "\ud800", 10**5000, {("a", "b"): 1}], ids=type)
def test_a_value_that_json_cannot_express_is_a_local_error(wrong: object) -> None:
    with pytest.raises(LocalProtocolError, match=r"^event: not sendable as JSON"):
        encode_server(SESSION_ID, 1, 1, messages.Event(({"type": "note", "data": wrong},)))


def test_a_cyclic_value_is_a_local_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(LocalProtocolError):
        encode_server(SESSION_ID, 1, 1, messages.Event((loop,)))


def test_more_than_genesys_takes_is_our_own_fault() -> None:
    room = MAX_SENT - len(encode_server(SESSION_ID, 1, 1, messages.Reconnect("")))
    assert len(encode_server(SESSION_ID, 1, 1, messages.Reconnect("x" * room))) == 64_000
    with pytest.raises(LocalProtocolError, match="64001 bytes"):
        encode_server(SESSION_ID, 1, 1, messages.Reconnect("x" * (room + 1)))
