"""Converts messages to and from JSON in two steps: the envelope, then the parameters (protocol section 3.1).

Two steps, because an unknown type or field is not an error, but an invalid envelope is.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from audiohookd.protocol import json_text
from audiohookd.protocol.errors import LocalProtocolError, RemoteProtocolError
from audiohookd.protocol.messages import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    Duration,
    Event,
    Parameters,
    Seq,
    Uuid,
)

#: The most bytes of a received text or binary message. Genesys documents 64,000; its own server accepts 65,536.
MAX_RECEIVED = 65_536
#: The most bytes of a sent text or binary message.
MAX_SENT = 64_000

_T = TypeVar("_T")
_Type = Annotated[str, Meta(min_length=1, max_length=64)]


class ClientEnvelope(Struct, frozen=True):
    """The envelope of every client message. ``parameters`` is undecoded JSON."""

    version: Literal["2"]
    id: Uuid
    type: _Type
    seq: Seq
    serverseq: Seq
    position: Duration
    parameters: Raw


class ServerEnvelope(Struct, frozen=True):
    """The envelope of every server message. ``parameters`` is undecoded JSON."""

    version: Literal["2"]
    id: Uuid
    type: _Type
    seq: Seq
    clientseq: Seq
    parameters: Raw


class _Outgoing(Struct, frozen=True):
    """The fields of both envelopes, before encoding."""

    version: Literal["2"]
    id: str
    type: str
    seq: int


class _ToServer(_Outgoing, frozen=True):
    serverseq: int
    position: str
    parameters: Parameters


class _ToClient(_Outgoing, frozen=True):
    clientseq: int
    parameters: Parameters


class _AnyClose(Struct, frozen=True):
    type: Literal["close"]


_client_envelope = msgspec.json.Decoder(ClientEnvelope)
_server_envelope = msgspec.json.Decoder(ServerEnvelope)
_any_close = msgspec.json.Decoder(_AnyClose)
_client_parameters = {name: msgspec.json.Decoder(kind) for name, kind in CLIENT_MESSAGES.items()}
_server_parameters = {name: msgspec.json.Decoder(kind) for name, kind in SERVER_MESSAGES.items()}
_any_object = msgspec.json.Decoder(dict[str, Raw])
_type_names = {kind: name for name, kind in (CLIENT_MESSAGES | SERVER_MESSAGES).items()}


def decode_client_envelope(data: bytes) -> ClientEnvelope:
    """Decodes the envelope of a client message.

    :raises RemoteProtocolError: ``data`` is too long, not JSON, or not a valid envelope.
    """
    return _decode(_client_envelope, _checked_text(data))


def decode_server_envelope(data: bytes) -> ServerEnvelope:
    """Decodes the envelope of a server message.

    :raises RemoteProtocolError: ``data`` is too long, not JSON, or not a valid envelope.
    """
    return _decode(_server_envelope, _checked_text(data))


def is_close(data: bytes) -> bool:
    """True if ``data`` is a ``close``, even if the rest of the message is invalid."""
    try:
        _decode(_any_close, _checked_text(data))
    except RemoteProtocolError:
        return False
    return True


def decode_parameters(envelope: ClientEnvelope | ServerEnvelope) -> Parameters | None:
    """Decodes the parameters of a message.

    :returns: the parameters; None if the type is unknown.
    :raises RemoteProtocolError: the parameters are not an object, or are invalid for the type.
    """
    decoders = _client_parameters if isinstance(envelope, ClientEnvelope) else _server_parameters
    decoder = decoders.get(envelope.type)
    if decoder is None:
        _decode(_any_object, envelope.parameters)
        return None
    return _decode(decoder, envelope.parameters)


def encode_client(session_id: str, seq: int, serverseq: int, position: str, parameters: Parameters) -> bytes:
    """Encodes a client message. The class of ``parameters`` determines its type."""
    name = _type_names[type(parameters)]
    return _sendable(_ToServer("2", session_id, name, seq, serverseq, position, parameters))


def encode_server(session_id: str, seq: int, clientseq: int, parameters: Parameters) -> bytes:
    """Encodes a server message. The class of ``parameters`` determines its type.

    :raises LocalProtocolError: longer than :data:`MAX_SENT`, or a value cannot be encoded as JSON.
    """
    name = _type_names[type(parameters)]
    return _sendable(_ToClient("2", session_id, name, seq, clientseq, parameters))


def max_entities(session_id: str) -> int:
    """Bytes of entities, with a comma after each, that fit in an ``event`` whatever its counters are."""
    largest = 2**53 - 1
    return MAX_SENT + 1 - len(encode_server(session_id, largest, largest, Event(())))


def _sendable(envelope: _Outgoing) -> bytes:
    try:
        data = msgspec.json.encode(envelope)
    except (TypeError, ValueError, RecursionError) as fault:
        raise LocalProtocolError(f"{envelope.type}: not sendable as JSON: {fault}") from fault
    if len(data) > MAX_SENT:
        raise LocalProtocolError(f"{envelope.type}: {len(data)} bytes exceed the limit of {MAX_SENT}")
    return data


def _checked_text(data: bytes) -> bytes:
    """Checks size and encoding, because msgspec does not check skipped and raw parts.

    :returns: ``data`` without the byte order mark that some writers prepend (RFC 8259, section 8.1).
    :raises RemoteProtocolError: ``data`` is too long or not UTF-8.
    """
    if len(data) > MAX_RECEIVED:
        raise RemoteProtocolError("message too large", f"{len(data)} bytes")
    try:
        data.decode()
    except UnicodeDecodeError as fault:
        raise RemoteProtocolError("message malformed", str(fault)) from fault
    return data.removeprefix(json_text.BYTE_ORDER_MARK)


def _decode(decoder: "msgspec.json.Decoder[_T]", data: bytes | Raw) -> _T:
    try:
        return json_text.decode(decoder, data)
    except ValueError as fault:
        raise RemoteProtocolError("message malformed", str(fault)) from fault
