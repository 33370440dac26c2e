"""Object keys, and values of tags and metadata, from templates like ``{date}/{recording}`` (pure).

The values of fields come from calls, and must not change the structure of a key. So each value is escaped to one
non-empty segment of letters, digits, ``.``, ``_`` and ``-`` that does not consist of dots only. Other bytes of its
UTF-8 become ``=XX`` in hexadecimal (as in quoted-printable), so that different values stay different. A value that is
too long is cut, and ends in a digest of all of it. A missing value is ``none``.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any

MISSING = "none"
#: The most characters of an escaped value from a call.
LONGEST = 96
#: The fields with their most characters: the start of the recording in UTC, then its identity and origin.
FIELDS = {
    "date": 10,
    "year": 4,
    "month": 2,
    "day": 2,
    "hour": 2,
    "time": 6,
    "time_reversed": 13,
    **dict.fromkeys(("organization", "conversation", "session", "recording", "route", "language"), LONGEST),
}

#: The first time in milliseconds with more than 13 digits: in the year 2286.
_END_OF_TIME = 10**13
_DIGEST = 24
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class Template:
    """A text with fields.

    :param allowed: a regular expression for the text between fields.
    :param longest: the most characters of the result.
    :raises ValueError: it is malformed, has a field that is not in :data:`FIELDS`, or could become too long.
    """

    def __init__(self, text: str, allowed: str, longest: int) -> None:
        try:
            self.parts = [_part(*parsed, allowed) for parsed in Formatter().parse(text)]
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from error
        if self.longest > longest:
            raise ValueError(f"{text!r}: could get longer than {longest} characters")

    @property
    def longest(self) -> int:
        """The most characters of the result."""
        return len(self.render({name: "x" * width for name, width in FIELDS.items()}))

    def render(self, values: Mapping[str, str]) -> str:
        """The text with its fields replaced by ``values``, which are already escaped."""
        return "".join(text + ("" if field is None else values[field]) for text, field in self.parts)


class KeyTemplate(Template):
    """The template of an object's key.

    :raises ValueError: also if two recordings could get the same key, or a segment is empty or consists of dots.
    """

    def __init__(self, text: str, longest: int) -> None:
        super().__init__(text, "[A-Za-z0-9._=/!*'()-]*", longest)
        if "recording" not in [field for _, field in self.parts]:
            raise ValueError(f"{text!r}: must contain {{recording}}, or recordings could get the same name")
        if any(segment.strip(".") == "" for segment in self.render(dict.fromkeys(FIELDS, "x")).split("/")):
            raise ValueError(f"{text!r}: must not begin or end with '/', nor have segments that are empty or dots")


def _part(
    text: str, field: str | None, form: str | None, conversion: str | None, allowed: str
) -> tuple[str, str | None]:
    if not re.fullmatch(allowed, text):
        raise ValueError(f"{text!r} cannot stand in it")
    if field is not None and field not in FIELDS:
        raise ValueError(f"{{{field}}} is no field; there are {', '.join(FIELDS)}")
    if form or conversion:
        raise ValueError(f"{{{field}}} takes no format")
    return text, field


def values(recording_id: str, about: Mapping[str, Any]) -> dict[str, str]:
    """The escaped values of the fields.

    :param about: the ``recording`` object of the sidecar.
    :raises ValueError: it lacks the time when the recording started.
    """
    route = about.get("route")
    known = {name: about.get(name) for name in ("organization", "conversation", "session", "language")}
    known |= {"recording": recording_id, "route": route.removeprefix("/") if isinstance(route, str) else None}
    return _times(_started(about)) | {name: escape(value) for name, value in known.items()}


def escape(value: object) -> str:
    """Escapes one segment of a key; see the module."""
    if not isinstance(value, str) or not value:
        return MISSING
    data = value.encode("utf-8", "surrogatepass")
    plain = "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in data)
    if plain == MISSING:  # a value "none" differs from a missing one
        return "=6Eone"
    if not plain.strip("."):
        plain = "=2E" * len(plain)
    if len(plain) > LONGEST:
        return f"{plain[: LONGEST - _DIGEST - 2]}=={hashlib.sha256(data).hexdigest()[:_DIGEST]}"
    return plain


def _started(about: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(about["startedAt"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError("the sidecar does not tell when the recording started") from error


def _times(start: datetime) -> dict[str, str]:
    milliseconds = (start - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    return {
        "date": start.strftime("%Y-%m-%d"),
        "year": start.strftime("%Y"),
        "month": start.strftime("%m"),
        "day": start.strftime("%d"),
        "hour": start.strftime("%H"),
        "time": start.strftime("%H%M%S"),
        "time_reversed": f"{_END_OF_TIME - 1 - milliseconds:013d}",
    }
