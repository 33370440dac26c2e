"""Parses the JSON object in a source of keys: for each API key a secret or an object. Pure.

::

    {"API key": "secret in base64",
     "another": null,
     "a third": {"secret": "in base64", "organizations": ["UUID"], "routes": ["/path"],
                 "not_after": "2027-01-31T00:00:00Z"}}
"""

import base64
import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from audiohookd.auth.keys.model import MAX_SECRETS, UNSIGNED, Key, Keys, fingerprint
from audiohookd.protocol.messages import UUID_PATTERN
from audiohookd.text_encoding import decode_text

_API_KEY = re.compile(r"[a-zA-Z0-9+/_-]+={0,2}")
# Base64 as Genesys Cloud accepts it, with or without padding (protocol section 2.1).
_SECRET = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=?|[A-Za-z0-9+/]{2}(?:==)?)?")
_ORGANIZATION = re.compile(UUID_PATTERN)
_ROUTE = re.compile(r"/[!-~]*")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.IGNORECASE | re.ASCII)
#: Shown in the error for a source without keys.
EXAMPLE = '{"API key": "secret in base64"}'
_MEMBERS = ("secret", "organizations", "routes", "not_after")


class BadKeys(ValueError):
    """The content is invalid. The text is one line with the place, and contains no secret and no API key."""


def read_keys(content: bytes | str) -> Keys:
    """Parses all keys of the object.

    :raises BadKeys: the content is invalid.
    """
    keys: dict[str, Key] = {}
    for number, (api_key, value) in enumerate(_members(content), 1):
        if not _API_KEY.fullmatch(api_key):
            raise BadKeys(f"API key of entry {number}: use only letters, digits, + / _ -, and up to two = at the end")
        where = f"entry {number} (API key {fingerprint(api_key)})"
        if api_key in keys:
            raise BadKeys(f"{where} occurs twice: remove one of them")
        keys[api_key] = _key(value, where)
    return Keys(keys)


def _members(content: bytes | str) -> tuple[tuple[str, Any], ...]:
    if not content.strip():
        raise BadKeys(f"is empty: write {EXAMPLE}")
    try:
        # Tuples: a dict would drop one of two equal keys, and a list would look like an array.
        parsed = json.loads(decode_text(content), object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        # Not chained: the original error contains the whole text, with every secret.
        raise BadKeys(f"is not JSON: correct {place}") from None
    except (ValueError, RecursionError):
        raise BadKeys("is not JSON: replace it by a JSON object in UTF-8") from None
    if not isinstance(parsed, tuple):
        raise BadKeys(f"is not a JSON object: write {EXAMPLE}")
    return parsed


def _key(value: Any, where: str) -> Key:
    if not isinstance(value, tuple):
        return Key((_secret(value, where),))
    members = _known(value, where)
    if "secret" not in members:
        raise BadKeys(f'{where}: "secret" is missing: write base64 in quotes, or null')
    return Key(
        secrets=_secrets(members["secret"], where),
        organizations=_all(members, "organizations", _organization, where),
        routes=_all(members, "routes", _route, where),
        not_after=_time(members["not_after"], where) if "not_after" in members else None,
    )


def _known(value: tuple[tuple[str, Any], ...], where: str) -> dict[str, Any]:
    """Returns the members of an entry. An error does not quote an unknown name, which may be a misplaced secret."""
    members = dict(value)
    if len(members) < len(value):
        raise BadKeys(f"{where}: a member occurs twice: remove one of them")
    if not members.keys() <= set(_MEMBERS):
        raise BadKeys(f"{where}: has an unknown member; known members: {', '.join(_MEMBERS)}")
    return members


def _secrets(value: Any, where: str) -> tuple[bytes, ...]:
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MAX_SECRETS:
        raise BadKeys(f"{where}: has {len(values)} secrets: write one, or two while one replaces the other")
    if "" in values:  # most likely a template variable without a value
        raise BadKeys(f"{where}: its secret is empty: write null if its requests are not signed")
    return tuple(_secret(each, where) for each in values)


def _secret(value: Any, where: str) -> bytes:
    if value is None:
        return UNSIGNED
    if not isinstance(value, str):
        raise BadKeys(f"{where}: its secret is not text: write base64 in quotes, or null")
    if not _SECRET.fullmatch(value):
        raise BadKeys(f"{where}: its secret is not base64: copy it again from the integration")
    return base64.b64decode(value + "=" * (-len(value) % 4))


def _all(members: dict[str, Any], name: str, read: Callable[[str], str | None], where: str) -> frozenset[str] | None:
    """Reads a list of texts. An empty list is an error: it could mean none or all."""
    if name not in members:
        return None
    values = members[name]
    found = [read(text) if isinstance(text, str) else None for text in values] if isinstance(values, list) else []
    if not found or None in found:
        items = "UUIDs" if name == "organizations" else "paths that begin with / and have no ?"
        raise BadKeys(f'{where}: "{name}" must be a list of {items}; leave it out to allow all')
    return frozenset(text for text in found if text is not None)


def _organization(text: str) -> str | None:
    return text.lower() if _ORGANIZATION.fullmatch(text) else None


def _route(text: str) -> str | None:
    return text if _ROUTE.fullmatch(text) and not {"?", "#"} & set(text) else None


def _time(value: Any, where: str) -> float:
    if isinstance(value, str) and _DATE_TIME.fullmatch(value):
        with suppress(ValueError, OverflowError):  # such as a month 13
            return datetime.fromisoformat(value.upper()).timestamp()
    raise BadKeys(f'{where}: "not_after" must be a time like "2027-01-31T00:00:00Z"')
