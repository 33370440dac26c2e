"""Checks the opening handshake of the WebSocket as RFC 6455, section 4.2.1, requires of a server (pure).

A server may ignore subprotocols, offers of extensions (it may decline each), ``Expect`` and unknown headers. Autobahn
rejects some of these, so it receives :func:`minimal_request` instead of the request.
"""

import re
from http import HTTPStatus
from typing import Final

import msgspec

from audiohookd.websocket.http_head import TCHARS, RequestHead

Headers = tuple[tuple[str, str], ...]

#: Headers from which the client learns how to retry (RFC 9110, section 15.5.22, and RFC 6455, section 4.4).
UPGRADE_REQUIRED_HEADERS: Final[Headers] = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
)

#: HTTP/1.1 or a later 1.x, which is processed as 1.1 (RFC 9110, section 2.5).
_version = re.compile(r"1\.[1-9]")
_absolute = re.compile(r"(?:https?|wss?)://([^/?#]*)(.*)", re.IGNORECASE)
#: ``uri-host [ ":" port ]`` of RFC 9112, section 3.2. A repeated Host does not match: the joined value has a space.
_host = re.compile(
    r"(?:\[[0-9A-Za-z._~!$&'()*+,;=:%-]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
#: Sixteen octets in base64. The unused last bits may have any value (RFC 4648, section 3.5).
_key = re.compile(r"[0-9A-Za-z+/]{22}==")
_WORD = rf'(?:{TCHARS}|"(?:[^"\\]|\\.)*")'
#: One extension of RFC 6455, section 9.1, with any name and parameters.
_EXTENSION = rf"{TCHARS}(?:[ \t]*;[ \t]*{TCHARS}(?:[ \t]*=[ \t]*{_WORD})?)*"
_extensions = re.compile(rf"[ \t,]*(?:{_EXTENSION}[ \t]*(?:,[ \t,]*{_EXTENSION}[ \t]*)*(?:,[ \t,]*)?)?")


class HandshakeRejected(Exception):
    """A request that is not a valid opening handshake. Its text, for the log, names the header without its value."""

    def __init__(self, status: HTTPStatus, reason: str, headers: Headers = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


def check_handshake(head: RequestHead) -> RequestHead:
    """Checks the opening handshake.

    :returns: the request in origin form: its target is path and query, and its Host is the effective one.
    :raises HandshakeRejected: the request is not an opening handshake of WebSocket version 13.
    """
    if head.method != "GET":
        raise HandshakeRejected(HTTPStatus.METHOD_NOT_ALLOWED, f"method {head.method[:16]}", (("Allow", "GET"),))
    if not _version.fullmatch(head.version):
        raise HandshakeRejected(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{head.version}")
    _check_body(head)
    request = _in_origin_form(head)
    _check_upgrade(request)
    if "origin" in request.headers:
        raise HandshakeRejected(HTTPStatus.FORBIDDEN, "header 'Origin': it comes from a browser")
    if not _key.fullmatch(request.headers.get("sec-websocket-key", "")):
        raise _bad("header 'Sec-WebSocket-Key': missing, repeated, or not 16 octets in base64")
    if not _extensions.fullmatch(request.headers.get("sec-websocket-extensions", "")):
        raise _bad("header 'Sec-WebSocket-Extensions': malformed")  # RFC 6455, section 9.1: MUST fail
    return request


def minimal_request(head: RequestHead) -> bytes:
    """The checked request for Autobahn, reduced to the headers that it needs."""
    key = head.headers["sec-websocket-key"].encode("ascii")
    return b"GET / HTTP/1.1\r\nHost: localhost\r\n" + _UPGRADE + b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"


_UPGRADE: Final = b"".join(f"{name}: {value}\r\n".encode() for name, value in UPGRADE_REQUIRED_HEADERS)


def _check_body(head: RequestHead) -> None:
    """Rejects an upgrade that announces a body: a proxy may split the following bytes into messages differently."""
    if "transfer-encoding" in head.headers:
        raise _bad("header 'Transfer-Encoding': an upgrade request has no body")
    if not re.fullmatch("0+", head.headers.get("content-length", "0")):
        raise _bad("header 'Content-Length': an upgrade request has no body")


def _in_origin_form(head: RequestHead) -> RequestHead:
    if not _host.fullmatch(head.headers.get("host", " ")):
        raise _bad("header 'Host': missing, repeated or malformed")
    if "#" in head.target:
        raise _bad("request target: it has a fragment")
    if head.target.startswith("/"):
        return head
    absolute = _absolute.fullmatch(head.target)
    authority, rest = absolute.groups() if absolute else ("", "")
    if not _host.fullmatch(authority) or authority.startswith(":") or not authority:
        raise _bad("request target: neither a path nor a URL of HTTP")
    # RFC 9112, section 3.2.2: an absolute target overrides the Host header.
    target = rest if rest.startswith("/") else f"/{rest}"
    return msgspec.structs.replace(head, target=target, headers={**head.headers, "host": authority})


def _check_upgrade(head: RequestHead) -> None:
    for name, value in (("Upgrade", "websocket"), ("Connection", "upgrade")):
        if value not in _elements(head.headers.get(name.lower(), "")):
            raise _upgrade_required(f"header {name!r}: missing, or without {value!r}")
    if head.headers.get("sec-websocket-version") != "13":
        raise _upgrade_required("header 'Sec-WebSocket-Version': missing, repeated, or not 13")


def _elements(value: str) -> set[str]:
    """The elements of a comma-separated list, in lower case."""
    return {element.strip(" \t").lower() for element in value.split(",")}


def _bad(reason: str) -> HandshakeRejected:
    return HandshakeRejected(HTTPStatus.BAD_REQUEST, reason)


def _upgrade_required(reason: str) -> HandshakeRejected:
    return HandshakeRejected(HTTPStatus.UPGRADE_REQUIRED, reason, UPGRADE_REQUIRED_HEADERS)
