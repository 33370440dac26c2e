"""Parses an upgrade request from the output of ``curl -v``, a HAR file, or its header lines."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from audiohookd.cli.usage_error import UsageError
from audiohookd.text_encoding import decode_text

_REQUEST_LINE = re.compile(r"[A-Z]+ (\S+) HTTP/[\d.]+")
#: A structured field has a space after a semicolon, and none before it.
_NO_BLANK_BEFORE = ";"
_HEADER = re.compile(r":?([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)")


class ParsedRequest(NamedTuple):
    """A parsed request. ``target`` is empty if unknown. ``at``: arrival time in UNIX seconds, None if unknown."""

    target: str
    headers: Mapping[str, str]
    at: float | None

    def __repr__(self) -> str:
        return f"Read(target={self.target!r}, at={self.at!r})"


def parse_request(text: str) -> ParsedRequest:
    """Parses the request in ``text``: the last one if there are several.

    :raises UsageError: the text holds no header, or is JSON but not HAR.
    """
    text = decode_text(text)
    found = _read_har(text) if text.lstrip().startswith(("{", "[")) else _read_lines(text)
    if not found.headers:
        raise UsageError("explain-signature: no header found: give the request as lines such as Name: value")
    return found


def _read_lines(text: str) -> ParsedRequest:
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
    # The daemon's response has no Date. A proxy adds one, and some clients send one in the request.
    answer = _joined((found[1], found[2]) for line in received if (found := _HEADER.fullmatch(line.strip())))
    return ParsedRequest(_target(target), joined, _date(joined.get("date") or answer.get("date")))


def _unfolded(lines: Iterable[str]) -> Iterator[str]:
    """Joins wrapped headers: a line that is indented more than the header before it continues that header.

    A pasted request may be indented as a whole. Long headers are wrapped anywhere, even inside the base64 of a
    signature.
    """
    header: list[str] = []  # joined once at the end: appending to a string took quadratic time
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


def _read_har(text: str) -> ParsedRequest:
    try:
        content = json.loads(text)
        entry = _entry(content)
        request = entry.get("request", entry)
        headers = request["headers"]
        pairs = headers.items() if isinstance(headers, dict) else [(item["name"], item["value"]) for item in headers]
        joined = _joined((str(name), str(value)) for name, value in pairs)
        target = _target(str(request.get("url") or request.get("uri") or ""))
        return ParsedRequest(target, joined, _iso(entry.get("startedDateTime")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise UsageError(
            "explain-signature: the file is JSON, but has no request with url and headers as HAR has"
        ) from None


def _entry(content: Any) -> Any:
    """The last entry of a HAR file, of a list of entries, or the content itself."""
    entries = content.get("log", content).get("entries") if isinstance(content, dict) else content
    return entries[-1] if entries else content


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers with names in lower case and repeated ones joined, as in the daemon's UpgradeRequest."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    joined = {name: ", ".join(repeated) for name, repeated in values.items()}
    if ":authority" in joined:
        joined.setdefault("host", joined[":authority"])
    return joined


def _target(text: str) -> str:
    """The path and query, undecoded, of a request target or URL."""
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
