"""A guard before the request head: what Autobahn would parse too kindly, or read for ever.

Unguarded, a head without an end grew the process by 20 MiB in 4 s, and octets such as 0x85 or 0x0B in a value began a
"new header" of the sender's choice (its parser splits lines as Python does), through nginx, HAProxy and Caddy alike.
"""

import re
from enum import Enum

#: Bytes of request line and headers together.
MAX_HEAD = 16_384

#: Genesys Cloud sends about a dozen, and proxies add some.
MAX_HEADERS = 64

_END = b"\r\n\r\n"
_request_line = re.compile(rb"[A-Z]{1,16} [!-~]+ HTTP/1\.[01]")
#: No space before the colon, and no folded lines: both have been used to smuggle headers past proxies.
_header_line = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e]*")
#: An upgrade has no body. Where one is announced, a proxy may see another message behind this head than we do.
_announces_body = re.compile(rb"(?:transfer-encoding|content-length):(?!\s*0\s*\Z)", re.IGNORECASE)


class Head(Enum):
    """What became of the head so far."""

    INCOMPLETE = 0
    GOOD = 200
    BAD = 400
    TOO_LARGE = 431


class HeadGuard:
    """Looks at a request head as it comes in, in pieces of any size, and keeps it until it is whole."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def data(self) -> bytes:
        """All that came so far: the head, and what came together with its end."""
        return bytes(self._data)

    def feed(self, data: bytes) -> Head:
        """The next piece. After anything but INCOMPLETE the guard is of no more use."""
        scan_from = max(0, len(self._data) - len(_END) + 1)
        self._data += data
        end = self._data.find(_END, scan_from)
        if end > MAX_HEAD - len(_END) or (end < 0 and len(self._data) > MAX_HEAD):
            return Head.TOO_LARGE
        if end < 0:
            return Head.INCOMPLETE
        first, *headers = bytes(self._data[:end]).split(b"\r\n")
        good = _request_line.fullmatch(first) and all(_is_good(line) for line in headers)
        return Head.GOOD if good and len(headers) <= MAX_HEADERS else Head.BAD


def _is_good(line: bytes) -> bool:
    return bool(_header_line.fullmatch(line)) and not _announces_body.match(line)
