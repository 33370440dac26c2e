"""A request, read from what people have of one: ``curl -v``, a HAR file, or its lines."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from audiohookd.cli.mistake import Mistake
from audiohookd.text_encoding import decode_text

_REQUEST_LINE = re.compile(r"[A-Z]+ (\S+) HTTP/[\d.]+")
#: Structured fields have a blank after a semicolon, and none before it.
_NO_BLANK_BEFORE = ";"
_HEADER = re.compile(r":?([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)")


class Read(NamedTuple):
    """What was found. ``target`` is empty, and ``at`` (UNIX seconds) None, where it does not say."""

    target: str
    headers: Mapping[str, str]
    at: float | None

    def __repr__(self) -> str:
        return f"Read(target={self.target!r}, at={self.at!r})"


def read(text: str) -> Read:
    """The request in ``text``.

    :raises Mistake: there is none in it.
    """
    text = decode_text(text)
    found = _read_har(text) if text.lstrip().startswith(("{", "[")) else _read_lines(text)
    if not found.headers:
        raise Mistake("explain-signature: there is no header in it: give the request as lines such as Name: value")
    return found


def _read_lines(text: str) -> Read:
    lines = [line.strip("\r") for line in text.split("\n")]
    sent = [line[2:] for line in lines if line.startswith("> ")]
    received = [line[2:] for line in lines if line.startswith("< ")]
    target = ""
    headers: list[tuple[str, str]] = []
    for line in _unfolded(sent or lines):
        if found := _REQUEST_LINE.fullmatch(line.strip()):
            target, headers = found[1], []  # the last request of several
        elif found := _HEADER.fullmatch(line.strip()):
            headers.append((found[1], found[2]))
    joined = _joined(headers)
    # The daemon's answer has no Date, but a proxy's has, and so has the request of some clients.
    answer = _joined((found[1], found[2]) for line in received if (found := _HEADER.fullmatch(line.strip())))
    return Read(_target(target), joined, _date(joined.get("date") or answer.get("date")))


def _unfolded(lines: Iterable[str]) -> Iterator[str]:
    """Each header on one line: a line that is indented more than the header before it continues that header.

    A pasted request may be indented as a whole. Long headers are wrapped anywhere, even inside the base64 of a
    signature.
    """
    header: list[str] = []  # pieces: to put each to a text anew took the square of their number
    indent, is_base64 = 0, False
    for line in lines:
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if header and text and depth > indent:
            header.append(text if is_base64 or text.startswith(_NO_BLANK_BEFORE) else f" {text}")
            continue
        if header:
            yield "".join(header)
        header, indent = ([text], depth) if _HEADER.fullmatch(text) else ([], 0)
        is_base64 = text.lower().startswith("signature:")
        if not header:
            yield text
    if header:
        yield "".join(header)


def _read_har(text: str) -> Read:
    try:
        content = json.loads(text)
        entry = _entry(content)
        request = entry.get("request", entry)
        headers = request["headers"]
        pairs = headers.items() if isinstance(headers, dict) else [(one["name"], one["value"]) for one in headers]
        joined = _joined((str(name), str(value)) for name, value in pairs)
        target = _target(str(request.get("url") or request.get("uri") or ""))
        return Read(target, joined, _iso(entry.get("startedDateTime")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise Mistake("explain-signature: it is JSON, and has no request with url and headers, as HAR has") from None


def _entry(content: Any) -> Any:
    """The last entry of a HAR file, or what stands for one."""
    entries = content.get("log", content).get("entries") if isinstance(content, dict) else content
    return entries[-1] if entries else content


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names in lower case, repeated ones joined, as the daemon has them."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    joined = {name: ", ".join(each) for name, each in values.items()}
    if ":authority" in joined:
        joined.setdefault("host", joined[":authority"])
    return joined


def _target(text: str) -> str:
    """Path and query, undecoded, of a target that may be a whole URL."""
    if text.startswith("/") or not text:
        return text
    parts = urlsplit(text)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, TypeError):
        return None


def _iso(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, TypeError):
        return None
