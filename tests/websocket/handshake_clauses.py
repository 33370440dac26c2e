"""What RFC 9110, 9112, 6455 and 7692 say of an opening handshake, clause by clause, as changes to a request head.

Each change keeps what was signed, so an accepted request ends with 101. The key begins with RFC and section.
"""

from collections.abc import Callable
from typing import NamedTuple

Change = Callable[[bytes], bytes]
END = b"\r\n\r\n"


def with_line(line: bytes) -> Change:
    """One more header line, the first."""
    return lambda head: head.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


def with_value(name: str, *values: bytes) -> Change:
    """Other lines of the header, one for each value; none removes it."""
    return lambda head: _with_value(head, name.lower().encode(), values)


def _with_value(head: bytes, name: bytes, values: tuple[bytes, ...]) -> bytes:
    first, *lines = head.removesuffix(END).split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() != name]
    return b"\r\n".join([first, *kept, *(name + b":" + value for value in values)]) + END


def with_request_line(change: Change) -> Change:
    """Another request line."""

    def changed(head: bytes) -> bytes:
        first, end, rest = head.partition(b"\r\n")
        return change(first) + end + rest

    return changed


def host_of(head: bytes) -> bytes:
    """The value of Host."""
    return next(line[5:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"host:"))


def in_absolute_form(scheme: bytes, host: bytes | None = None) -> Change:
    """The target with scheme and authority; ``host`` is what Host says then, if that is something else."""

    def changed(head: bytes) -> bytes:
        authority = host_of(head)
        head = head.replace(b" /", b" " + scheme + b"://" + authority + b"/", 1)
        return head if host is None else with_value("Host", host)(head)

    return changed


def with_host(change: Change) -> Change:
    """Another spelling of Host."""
    return lambda head: with_value("Host", change(host_of(head)))(head)


def key_of(head: bytes) -> bytes:
    """The value of Sec-WebSocket-Key."""
    return next(line[18:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))


def spaced(head: bytes) -> bytes:
    """White space around all values."""
    first, *lines = head.removesuffix(END).split(b"\r\n")
    parts = (line.partition(b":") for line in lines)
    return b"\r\n".join([first, *(name + b":\t  " + value.strip() + b" \t" for name, _, value in parts)]) + END


def tight(head: bytes) -> bytes:
    """No white space before any value, and names in upper case."""
    first, *lines = head.removesuffix(END).split(b"\r\n")
    parts = (line.partition(b":") for line in lines)
    return b"\r\n".join([first, *(name.upper() + b":" + value.strip() for name, _, value in parts)]) + END


def filled(size: int) -> Change:
    """With one long header, so that the head has ``size`` bytes."""
    line = b"\r\nX-Long: "
    return lambda head: head.removesuffix(END) + line + b"a" * (size - len(head) - len(line)) + END


ACCEPTED: dict[str, Change] = {
    # ---- RFC 9112: HTTP/1.1 ----
    "9112-2.2 an empty line before the request line": lambda head: b"\r\n" + head,
    "9112-2.3 a later minor version": with_request_line(lambda line: line.replace(b"HTTP/1.1", b"HTTP/1.2")),
    "9112-3.2 a Host with an empty port": with_host(lambda host: host + b":" if b":" not in host else host),
    "9112-3.2 a Host in upper case": with_host(bytes.upper),
    "9112-3.2.2 absolute form": in_absolute_form(b"http"),
    "9112-3.2.2 absolute form, another scheme": in_absolute_form(b"WSS"),
    "9112-3.2.2 absolute form, Host does not count": in_absolute_form(b"https", b"elsewhere.example.com"),
    "9112-3.2 absolute form, Host is empty": in_absolute_form(b"http", b""),
    "9112-5.1 no white space after the colon": tight,
    "9112-5.1 white space around all values": spaced,
    "9112-6.3 a body of no octets": with_line(b"Content-Length: 0"),
    "9112-6.3 no octets with leading zeros": with_line(b"Content-Length: 000"),
    "9112-9.3 Keep-Alive beside Upgrade": with_value("Connection", b" keep-alive, Upgrade"),
    "9112-9.6 close beside Upgrade": with_value("Connection", b" Upgrade, close"),
    # ---- RFC 9110: HTTP ----
    "9110-5.1 a name of all kinds of characters": with_line(b"!#$%&'*+-.^_`|~0aZ: x"),
    "9110-5.1 a header that is not known": with_line(b"X-Invented: x"),
    "9110-5.3 a header in two lines": with_line(b"X-A: b\r\nX-A: c"),
    "9110-5.4 a head of 16 KiB": filled(16_384),
    "9110-5.5 an empty value": with_line(b"X-Empty:"),
    "9110-5.5 a value of white space": with_line(b"X-Empty: \t "),
    "9110-5.5 a tab inside a value": with_line(b"X-A: a\tb"),
    "9110-5.5 obs-text in UTF-8": with_line("Cf-Ipcity: S\u00e3o Paulo".encode()),
    "9110-5.5 obs-text in ISO 8859-1": with_line("Cf-Ipcity: S\u00e3o Paulo".encode("latin-1")),
    "9110-5.5 obs-text in Cyrillic": with_line("X-Name: \u0418\u0440\u0438\u043d\u0430".encode()),
    "9110-5.5 every octet of obs-text": with_line(b"X-A: " + bytes(range(0x80, 0x100))),
    "9110-5.5 obs-text at both ends of a value": with_line(b"X-A: \xa0b\x85"),
    "9110-5.5 obs-text in a header that is recorded": with_value("User-Agent", b" \xe3\x85"),
    "9110-5.6.1 empty elements in Upgrade": with_value("Upgrade", b" ,, websocket ,"),
    "9110-5.6.1 empty elements in Connection": with_value("Connection", b" , ,\tUpgrade,"),
    "9110-5.6.1 Connection in two lines": with_value("Connection", b" keep-alive", b" Upgrade"),
    "9110-5.6.1 Upgrade in two lines": with_value("Upgrade", b" h2c", b" websocket"),
    "9110-7.6.1 Connection in lower case": with_value("Connection", b" upgrade"),
    "9110-7.6.1 Connection in upper case": with_value("Connection", b" UPGRADE"),
    "9110-7.6.2 Max-Forwards": with_line(b"Max-Forwards: 10"),
    "9110-7.6.3 Via": with_line(b"Via: 1.1 proxy.example.com (a \xe9 comment)"),
    "9110-7.8 Upgrade names other protocols, too": with_value("Upgrade", b" h2c, websocket, IRC/6.9"),
    "9110-10.1.1 Expect: 100-continue": with_line(b"Expect: 100-continue"),
    "9110-10.1.1 another expectation": with_line(b"Expect: something=else"),
    "9110-10.1.4 TE and Trailer": with_line(b"TE: trailers, deflate;q=0.5\r\nTrailer: X-A"),
    "9110-10.1.5 no User-Agent": with_value("User-Agent"),
    "9110-12.5 Accept and its relatives": with_line(b"Accept: */*\r\nAccept-Encoding: gzip, br"),
    # ---- RFC 6455: the WebSocket ----
    "6455-4.2.1-3 Upgrade in mixed case": with_value("Upgrade", b" WebSocket"),
    "6455-4.2.1-5 a key with non-zero last bits": with_value("Sec-WebSocket-Key", b" x3JJHMbDL1EzLkh9GBhXDx=="),
    "6455-4.2.1-5 a key with + and /": with_value("Sec-WebSocket-Key", b"+/+/+/+/+/+/+/+/+/+/+w=="),
    "6455-4.2.1-8 a subprotocol": with_line(b"Sec-WebSocket-Protocol: audiohook"),
    "6455-4.2.1-8 several subprotocols": with_line(b"Sec-WebSocket-Protocol: a, b,,c"),
    "6455-4.2.1-8 an empty list of subprotocols": with_line(b"Sec-WebSocket-Protocol:"),
    "6455-11.3.4 a subprotocol twice": with_line(b"Sec-WebSocket-Protocol: a, a"),
    "6455-11.3.4 subprotocols in two lines": with_line(b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b"),
    "6455-4.2.1-9 an unknown extension": with_line(b'Sec-WebSocket-Extensions: x-invented; a; b=1; c="d"'),
    "6455-9.1 an empty list of extensions": with_line(b"Sec-WebSocket-Extensions:"),
    "6455-9.1 empty elements and white space": with_line(b"Sec-WebSocket-Extensions: , a ; b = c\t,, d,"),
    "6455-9.1 a parameter in quotes with a comma": with_line(b'Sec-WebSocket-Extensions: a; b="c,\\"d"'),
    "6455-11.3.2 extensions in two lines": with_line(b"Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b"),
    "6455-4.2.1-10 a cookie": with_line(b"Cookie: a=b"),
    "6455-11.3.3 Sec-WebSocket-Accept in a request": with_line(b"Sec-WebSocket-Accept: x"),
    # ---- RFC 7692: offers of compression are declined ----
    "7692-5 an offer": with_line(b"Sec-WebSocket-Extensions: permessage-deflate"),
    "7692-7 of Chromium": with_line(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    "7692-7 every parameter": with_line(
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover;"
        b' server_max_window_bits=10; client_max_window_bits="12", permessage-deflate'
    ),
    "7692-7.1 an unknown parameter": with_line(b"Sec-WebSocket-Extensions: permessage-deflate; what=7"),
    "7692-7.1 a parameter twice": with_line(
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10; client_max_window_bits=11"
    ),
    "7692-7.1.1 a flag with a value": with_line(
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover=1"
    ),
    "7692-7.1.2 a window that is too large": with_line(
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16"
    ),
    "7692-7.1.2 a window with a leading zero": with_line(
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=08"
    ),
    "7692-7.1.2 a window without a value": with_line(
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits"
    ),
    "7692-5 an older kind of compression": with_line(b"Sec-WebSocket-Extensions: x-webkit-deflate-frame"),
}


class Rejected(NamedTuple):
    """A change, the status that it gets, and what the log says of it."""

    change: Change
    status: int
    logged: str


def _bad(line: bytes, logged: str) -> Rejected:
    return Rejected(with_line(line), 400, logged)


def _without_websocket(name: str, *values: bytes, status: int = 426) -> Rejected:
    return Rejected(with_value(name, *values), status, f"header '{name}'")


REJECTED: dict[str, Rejected] = {
    # ---- RFC 9112 ----
    "9112-2.2 a bare CR": _bad(b"X-A: b\rX-B: c", "header 'X-A': octet 0x0d"),
    "9112-2.2 a bare LF": _bad(b"X-A: b\nX-B: c", "header 'X-A': octet 0x0a"),
    "9112-2.2 several empty lines before the request line": Rejected(
        lambda head: b"\r\n\r\n" + head, 400, "request line"
    ),
    "9112-2.2 white space before the first header": _bad(b" X-A: b", "folded line after the request line"),
    "9112-2.3 HTTP/1.0": Rejected(lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.0", 1), 505, "HTTP/1.0"),
    "9112-2.3 HTTP/2.0": Rejected(lambda head: head.replace(b"HTTP/1.1", b"HTTP/2.0", 1), 505, "HTTP/2.0"),
    "9112-2.3 no HTTP": Rejected(lambda head: head.replace(b"HTTP/1.1", b"HTTP/1", 1), 400, "request line"),
    "9112-3 two spaces": Rejected(lambda head: head.replace(b"GET ", b"GET  ", 1), 400, "request line"),
    "9112-3.2 no Host": _without_websocket("Host", status=400),
    "9112-3.2 two Hosts": _bad(b"Host: elsewhere.example.com", "header 'Host'"),
    "9112-3.2 the same Host twice": Rejected(
        lambda head: with_line(b"Host: " + host_of(head))(head), 400, "header 'Host'"
    ),
    "9112-3.2 two Hosts, one empty": _bad(b"Host:", "header 'Host'"),
    "9112-3.2 no host at all": _without_websocket("Host", b" user@example.com", status=400),
    "9112-3.2 a port that is none": _without_websocket("Host", b" example.com:http", status=400),
    "9112-3.2 obs-text in Host": _without_websocket("Host", "\u00e4.example.com".encode(), status=400),
    "9112-3.2.2 absolute form without a host": Rejected(
        lambda head: head.replace(b" /", b" http:///", 1), 400, "request target"
    ),
    "9112-3.2.2 absolute form with a user": Rejected(
        lambda head: head.replace(b" /", b" http://user@example.com/", 1), 400, "request target"
    ),
    "9112-3.2 another form of target": Rejected(
        with_request_line(lambda line: b"GET * HTTP/1.1"), 400, "request target"
    ),
    "9112-3.2.2 absolute form, a scheme of another protocol": Rejected(
        lambda head: head.replace(b" /", b" ftp://example.com/", 1), 400, "request target"
    ),
    "9112-5.1 a space before the colon": _bad(b"X-A : b", "header 'X-A': white space before the colon"),
    "9112-5.1 a tab before the colon": _bad(b"X-A\t: b", "header 'X-A': white space before the colon"),
    "9112-5.2 obs-fold": _bad(b"X-A: b\r\n c", "folded line after header 'X-A'"),
    "9112-5.2 obs-fold with a tab": _bad(b"X-A: b\r\n\tc", "folded line after header 'X-A'"),
    "9112-6.1 chunks": _bad(b"Transfer-Encoding: chunked", "header 'Transfer-Encoding'"),
    "9112-6.1 a coding that is none": _bad(b"Transfer-Encoding: identity", "header 'Transfer-Encoding'"),
    "9112-6.3 a body": _bad(b"Content-Length: 5", "header 'Content-Length'"),
    "9112-6.3 two lengths": _bad(b"Content-Length: 0\r\nContent-Length: 5", "header 'Content-Length'"),
    "9112-6.3 a length that is none": _bad(b"Content-Length: +0", "header 'Content-Length'"),
    "9112-6.3 an empty length": _bad(b"Content-Length:", "header 'Content-Length'"),
    # ---- RFC 9110 ----
    "9110-5.1 no colon": _bad(b"X-A", "line without a header name after the request line"),
    "9110-5.1 no name": _bad(b": b", "line without a header name"),
    "9110-5.1 obs-text in a name": _bad(b"X-\xe4: b", "line without a header name"),
    "9110-5.4 more than 16 KiB": Rejected(filled(16_385), 431, "16384 bytes"),
    "9110-5.4 more than 64 headers": _bad(b"X-A: b\r\n" * 64 + b"X-A: b", "64 are allowed"),
    "9110-5.5 NUL": _bad(b"X-A: b\x00", "header 'X-A': octet 0x00"),
    "9110-5.5 another control character": _bad(b"X-A: b\x0bX-B: c", "header 'X-A': octet 0x0b"),
    "9110-5.5 DEL": _bad(b"X-A: b\x7f", "header 'X-A': octet 0x7f"),
    "9110-9.1 another method": Rejected(lambda head: head.replace(b"GET", b"POST", 1), 405, "method POST"),
    "9110-9.1 methods are case-sensitive": Rejected(lambda head: head.replace(b"GET", b"get", 1), 405, "method get"),
    "9110-9.3.6 CONNECT": Rejected(lambda head: head.replace(b"GET", b"CONNECT", 1), 405, "method CONNECT"),
    "9110-15.5.22 no Upgrade": _without_websocket("Upgrade"),
    "9110-7.8 another protocol": _without_websocket("Upgrade", b" h2c"),
    "9110-7.8 a part of the name": _without_websocket("Upgrade", b" websockets"),
    "9110-7.8 no Connection": _without_websocket("Connection"),
    "9110-7.8 Connection without Upgrade": _without_websocket("Connection", b" keep-alive"),
    # ---- RFC 6455 ----
    "6455-3 a fragment": Rejected(lambda head: head.replace(b" HTTP/", b"#a HTTP/", 1), 400, "fragment"),
    "6455-4.2.1-5 no key": _without_websocket("Sec-WebSocket-Key", status=400),
    "6455-4.2.1-5 an empty key": _without_websocket("Sec-WebSocket-Key", b"", status=400),
    "6455-4.2.1-5 a key of 15 octets": _without_websocket("Sec-WebSocket-Key", b"x3JJHMbDL1EzLkh9GBhX", status=400),
    "6455-4.2.1-5 a key of 18 octets": _without_websocket(
        "Sec-WebSocket-Key", b"x3JJHMbDL1EzLkh9GBhXDwxx", status=400
    ),
    "6455-4.2.1-5 a key without padding": _without_websocket(
        "Sec-WebSocket-Key", b"x3JJHMbDL1EzLkh9GBhXDw", status=400
    ),
    "6455-4.2.1-5 base64url": _without_websocket("Sec-WebSocket-Key", b"_-JJHMbDL1EzLkh9GBhXDw==", status=400),
    "6455-11.3.1 two keys": Rejected(
        lambda head: with_line(b"Sec-WebSocket-Key: " + key_of(head))(head), 400, "header 'Sec-WebSocket-Key'"
    ),
    "6455-4.2.1-6 no version": _without_websocket("Sec-WebSocket-Version"),
    "6455-4.4 an older version": _without_websocket("Sec-WebSocket-Version", b" 8"),
    "6455-4.4 a later version": _without_websocket("Sec-WebSocket-Version", b" 25"),
    "6455-4.4 a version that is none": _without_websocket("Sec-WebSocket-Version", b" 1_3"),
    "6455-11.3.5 a list of versions": _without_websocket("Sec-WebSocket-Version", b" 13, 8"),
    "6455-11.3.5 two versions": _without_websocket("Sec-WebSocket-Version", b" 13", b" 13"),
    "6455-4.2.2-4 a browser": Rejected(with_line(b"Origin: https://example.com"), 403, "header 'Origin'"),
    "6455-4.2.2-4 a browser without an origin": Rejected(with_line(b"Origin: null"), 403, "header 'Origin'"),
    "6455-9.1 an extension without a name": _bad(
        b"Sec-WebSocket-Extensions: ;a", "header 'Sec-WebSocket-Extensions'"
    ),
    "6455-9.1 an open quote": _bad(b'Sec-WebSocket-Extensions: a; b="c', "header 'Sec-WebSocket-Extensions'"),
    "6455-9.1 obs-text in an extension": _bad(b"Sec-WebSocket-Extensions: \xe4", "header 'Sec-WebSocket-Extensions'"),
}
