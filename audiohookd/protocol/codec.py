"""Messages to and from JSON, in two steps: the envelope, then the parameters by type (protocol section 3.1).

Two steps because an unknown type or an extra field is no error, while a broken envelope is.
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
    Parameters,
    Seq,
    Uuid,
)

#: Bytes of a text or binary message that we accept. Genesys documents 64,000; its own server takes 65,536.
MAX_RECEIVED = 65_536
#: Bytes of a text or binary message that we send.
MAX_SENT = 64_000

_T = TypeVar("_T")
_Type = Annotated[str, Meta(min_length=1, max_length=64)]


class ClientEnvelope(Struct, frozen=True):
    """What every message of the client carries. ``parameters`` is still JSON."""

    version: Literal["2"]
    id: Uuid
    type: _Type
    seq: Seq
    serverseq: Seq
    position: Duration
    parameters: Raw


class ServerEnvelope(Struct, frozen=True):
    """What every message of the server carries. ``parameters`` is still JSON."""

    version: Literal["2"]
    id: Uuid
    type: _Type
    seq: Seq
    clientseq: Seq
    parameters: Raw


class _Outgoing(Struct, frozen=True):
    """As :class:`ClientEnvelope` or :class:`ServerEnvelope`, with what is still to become JSON."""

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
    """First step for a message of the client.

    :raises RemoteProtocolError: too long, no JSON, or no envelope.
    """
    return _decode(_client_envelope, _checked_text(data))


def decode_server_envelope(data: bytes) -> ServerEnvelope:
    """First step for a message of the server.

    :raises RemoteProtocolError: too long, no JSON, or no envelope.
    """
    return _decode(_server_envelope, _checked_text(data))


def is_close(data: bytes) -> bool:
    """Whether this is a ``close``, however broken the rest of it may be."""
    try:
        _decode(_any_close, _checked_text(data))
    except RemoteProtocolError:
        return False
    return True


def decode_parameters(envelope: ClientEnvelope | ServerEnvelope) -> Parameters | None:
    """Second step: the parameters of a message; None for a type that we do not know.

    :raises RemoteProtocolError: the parameters are no object, or not as the type wants them.
    """
    decoders = _client_parameters if isinstance(envelope, ClientEnvelope) else _server_parameters
    decoder = decoders.get(envelope.type)
    if decoder is None:
        _decode(_any_object, envelope.parameters)
        return None
    return _decode(decoder, envelope.parameters)


def encode_client(  # the envelope is what it is
    session_id: str, seq: int, serverseq: int, position: str, parameters: Parameters
) -> bytes:
    """A message of the client as JSON; its type follows from the class of ``parameters``."""
    name = _type_names[type(parameters)]
    return _sendable(_ToServer("2", session_id, name, seq, serverseq, position, parameters))


def encode_server(session_id: str, seq: int, clientseq: int, parameters: Parameters) -> bytes:
    """A message of the server as JSON; its type follows from the class of ``parameters``.

    :raises LocalProtocolError: longer than :data:`MAX_SENT`, or it holds what JSON cannot say.
    """
    name = _type_names[type(parameters)]
    return _sendable(_ToClient("2", session_id, name, seq, clientseq, parameters))


def _sendable(envelope: _Outgoing) -> bytes:
    try:
        data = msgspec.json.encode(envelope)
    except (TypeError, ValueError, RecursionError) as fault:
        raise LocalProtocolError(f"{envelope.type}: not sendable as JSON: {fault}") from fault
    if len(data) > MAX_SENT:
        raise LocalProtocolError(f"{envelope.type}: {len(data)} bytes, and {MAX_SENT} may be sent")
    return data


def _checked_text(data: bytes) -> bytes:
    """``data``, once it is short enough and UTF-8; msgspec does not look into what it skips or keeps raw.

    Without the byte order mark that some writers begin with (RFC 8259, section 8.1).
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
