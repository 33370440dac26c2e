"""Parses the head of a request strictly as in RFC 9112, and in bounded memory.

Autobahn's own parser has no limit (it read 20 MiB of an endless head in 4 s) and splits lines as Python does: octets
such as 0x85 or 0x0B in a value started a "new header" of the sender's choice, even through nginx, HAProxy and Caddy.
So Autobahn does not receive the head of a request; see :mod:`audiohookd.websocket.handshake`.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct

#: The most bytes of request line and headers together.
MAX_HEAD = 16_384

#: The most header lines. Genesys Cloud sends about a dozen, and proxies add some.
MAX_HEADERS = 64

_END = b"\r\n\r\n"
#: A token of HTTP (RFC 9110, section 5.6.2), as a pattern.
TCHARS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_request_line = re.compile(rf"({TCHARS}) ([!-~]+) HTTP/([0-9]\.[0-9])")
#: Rejects a space before the colon and folded lines: both were used to smuggle headers past proxies. By RFC 9110,
#: section 5.5, octets from 0x80 are valid and opaque; control characters are invalid.
_header_line = re.compile(rf"({TCHARS}):([\t\x20-\x7e\x80-\xff]*)")
#: Some clients send one before the request line (RFC 9112, section 2.2).
_EMPTY_LINE = b"\r\n"
_MALFORMED = "malformed request line"
_control = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
#: Characters of a header name that are logged.
_MAX_NAME = 64


class HeadState(Enum):
    """The state of a head that is being received."""

    INCOMPLETE = 0
    GOOD = 200
    BAD = 400
    TOO_LARGE = 431


class RequestHead(Struct, frozen=True):
    """A well-formed request head.

    ``version`` is the version of HTTP, such as ``1.1``. ``headers`` maps names in lower case to values without
    surrounding white space, one character for each octet. Values of a repeated header are joined by comma and space.
    """

    method: str
    target: str
    version: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"RequestHead({self.method})"  # the rest may hold secrets


class InvalidHead(Exception):
    """A head that is not valid HTTP/1.1. Its text, for the log, names the header without its value."""


class RequestHeadValidator:
    """Collects a request head from pieces of any size, and parses it when it is complete.

    ``request`` and ``rest`` (the bytes after the head) are set when the state is GOOD; ``fault`` describes the error
    when the state is BAD or TOO_LARGE.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._has_skipped = False
        self.request: RequestHead | None = None
        self.rest = b""
        self.fault = ""

    @property
    def data(self) -> bytes:
        """All bytes received so far from the request line on, including bytes after the head."""
        return bytes(self._data)

    def feed(self, data: bytes) -> HeadState:
        """Adds the next piece. Must not be called again after a state other than INCOMPLETE."""
        scan_from = max(0, len(self._data) - len(_END) + 1)
        self._data += data
        self._skip_empty_line()
        if self._data.startswith(_EMPTY_LINE):
            self.fault = _MALFORMED
            return HeadState.BAD
        end = self._data.find(_END, scan_from)
        if end > MAX_HEAD - len(_END) or (end < 0 and len(self._data) > MAX_HEAD):
            self.fault = f"more than {MAX_HEAD} bytes of request line and headers"
            return HeadState.TOO_LARGE
        if end < 0:
            return HeadState.INCOMPLETE
        try:
            self.request = _read(bytes(self._data[:end]))
        except InvalidHead as bad:
            self.fault = str(bad)
            return HeadState.BAD
        self.rest = bytes(self._data[end + len(_END) :])
        return HeadState.GOOD

    def _skip_empty_line(self) -> None:
        if not self._has_skipped and self._data.startswith(_EMPTY_LINE):
            self._has_skipped = True
            del self._data[: len(_EMPTY_LINE)]


def _read(head: bytes) -> RequestHead:
    """Parses a head without the empty line at its end.

    :raises InvalidHead: the head is not valid HTTP/1.1.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    line = _request_line.fullmatch(first)
    if line is None:
        raise InvalidHead(_MALFORMED)
    if len(lines) > MAX_HEADERS:
        raise InvalidHead(f"{len(lines)} headers, {MAX_HEADERS} are allowed")
    return RequestHead(line[1], line[2], line[3], _headers(lines))


def _headers(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    before = ""
    for line in lines:
        found = _header_line.fullmatch(line)
        if found is None:
            raise InvalidHead(_fault_of(line, before))
        before, value = found[1], found[2].strip(" \t")
        name = before.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _fault_of(line: str, before: str) -> str:
    """Describes the error in a header line that follows the header ``before``."""
    place = f"after header {_shown(before)}" if before else "after the request line"
    if line.startswith((" ", "\t")):
        return f"folded line {place}"
    name, _, value = line.partition(":")
    if not re.fullmatch(TCHARS, name.rstrip(" \t")) or ":" not in line:
        return f"line without a header name {place}"
    octet = _control.search(value)
    if octet is None or name.endswith((" ", "\t")):
        return f"header {_shown(name.rstrip())}: white space before the colon"
    return f"header {_shown(name)}: octet 0x{ord(octet[0]):02x} in its value"


def _shown(name: str) -> str:
    return repr(name[:_MAX_NAME])
