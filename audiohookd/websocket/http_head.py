"""The head of a request, read strictly: RFC 9112 as it is written, and no more than a bounded number of octets.

Autobahn's own parser reads a head without an end for ever (20 MiB in 4 s), and splits lines as Python does: octets
such as 0x85 or 0x0B in a value began a "new header" of the sender's choice, through nginx, HAProxy and Caddy alike.
So it does not get the head of a request, see :mod:`audiohookd.websocket.handshake`.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct

#: Bytes of request line and headers together.
MAX_HEAD = 16_384

#: Genesys Cloud sends about a dozen, and proxies add some.
MAX_HEADERS = 64

_END = b"\r\n\r\n"
#: A token of HTTP (RFC 9110, section 5.6.2), as a pattern.
TCHARS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_request_line = re.compile(rf"({TCHARS}) ([!-~]+) HTTP/([0-9]\.[0-9])")
#: No space before the colon, and no folded lines: both have been used to smuggle headers past proxies. RFC 9110,
#: section 5.5: octets from 0x80 on are legal and opaque, control characters are neither.
_header_line = re.compile(rf"({TCHARS}):([\t\x20-\x7e\x80-\xff]*)")
#: RFC 9112, section 2.2: some clients send one before the request line.
_EMPTY_LINE = b"\r\n"
_MALFORMED = "malformed request line"
_control = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
#: Characters of a header name that go into the log.
_MAX_NAME = 64


class HeadState(Enum):
    """What became of the head so far."""

    INCOMPLETE = 0
    GOOD = 200
    BAD = 400
    TOO_LARGE = 431


class RequestHead(Struct, frozen=True):
    """A well-formed head.

    ``version`` is that of HTTP, such as ``1.1``. ``headers`` has names in lower case, values without the white space
    around them, one character for each octet, and the values of a repeated header joined with comma and space.
    """

    method: str
    target: str
    version: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"RequestHead({self.method})"  # the rest may hold secrets


class InvalidHead(Exception):
    """A head that is not one of HTTP/1.1. The text is for the log: it names the header and quotes no value."""


class RequestHeadValidator:
    """Takes a request head in pieces of any size, and keeps it until it is whole.

    ``request`` is there when it is GOOD; ``fault`` says what is wrong when it is BAD or TOO_LARGE.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._has_skipped = False
        self.request: RequestHead | None = None
        self.rest = b""
        self.fault = ""

    @property
    def data(self) -> bytes:
        """All that came so far, from the request line on: the head, and what came together with its end."""
        return bytes(self._data)

    def feed(self, data: bytes) -> HeadState:
        """The next piece. After anything but INCOMPLETE the guard is of no more use."""
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
    """A head without the empty line at its end.

    :raises BadHead: see there.
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
    """The fault of a header line that comes after the header named ``before``."""
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
