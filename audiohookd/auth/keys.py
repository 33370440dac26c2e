"""API keys and their secrets, and the JSON file they come from."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zope.interface import Interface, implementer

_API_KEY = re.compile(r"[a-zA-Z0-9+/_-]+={0,2}")
# Base64 as Genesys Cloud accepts it: the padding may be missing (protocol section 2.1).
_SECRET = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=?|[A-Za-z0-9+/]{2}(?:==)?)?")


class KeyFileError(ValueError):
    """A key file that cannot be used. Its text is one line for the user: file, API key and what to do.

    It never contains a secret or a piece of one.
    """


class Keys:
    """API keys and their secrets; does not change. Its representation shows neither."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._secrets = MappingProxyType(dict(secrets))

    def lookup(self, api_key: str) -> bytes | None:
        """The secret of a key: None for an unknown key, empty for a known one that does not sign."""
        return self._secrets.get(api_key)

    def __len__(self) -> int:
        return len(self._secrets)

    def __repr__(self) -> str:
        unsigned = sum(not secret for secret in self._secrets.values())
        return f"<Keys: {len(self)}, of which {unsigned} without a secret>"


class IKeySource(Interface):
    """Where API keys and secrets come from."""

    def load() -> Keys:
        """Fetch all keys anew.

        May block, so call it at start-up or in a worker thread. Keeps nothing: keys returned earlier stay as
        they are, and after an error the caller still has them.

        :raises ValueError: what the source holds cannot be used. The text is one line, without secrets.
        """


@implementer(IKeySource)
class KeyFile:
    """A JSON object in a file: `{"api key": "secret in base64"}`; null or "" where requests are unsigned."""

    def __init__(self, path: str) -> None:
        self._path = path

    def load(self) -> Keys:
        """Read and check the whole file.

        :raises KeyFileError: the file cannot be read, or something in it is wrong.
        """
        secrets: dict[str, bytes] = {}
        for api_key, value in self._members(self._read()):
            if not _API_KEY.fullmatch(api_key):
                raise self._error(f"API key {api_key!r}: use letters, digits, + / _ -, and up to two = last")
            if api_key in secrets:
                raise self._error(f"API key {api_key!r} is there twice: remove one of them")
            secrets[api_key] = self._secret(api_key, value)
        return Keys(secrets)

    def _read(self) -> bytes:
        try:
            return Path(self._path).read_bytes()
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror}): correct path or permissions") from None
        except ValueError:  # a null character
            raise self._error("cannot be the name of a file: correct the path") from None

    def _members(self, content: bytes) -> tuple[tuple[str, Any], ...]:
        try:
            # Tuples: a dict would keep one of two equal keys, and a list is what an array becomes.
            parsed = json.loads(content, object_pairs_hook=tuple)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            # Not chained: the original error holds the whole text, and with it every secret.
            raise self._error(f"is not JSON: correct {place}") from None
        except (ValueError, RecursionError):
            raise self._error("is not JSON: write it anew, in UTF-8") from None
        if not isinstance(parsed, tuple):
            raise self._error('is not a JSON object: write {"API key": "secret in base64"}')
        return parsed

    def _secret(self, api_key: str, value: Any) -> bytes:
        if value is None:
            return b""
        if not isinstance(value, str):
            raise self._error(f"secret of {api_key!r} is not text: write base64 in quotes, or null")
        if not _SECRET.fullmatch(value):
            raise self._error(f"secret of {api_key!r} is not base64: copy it anew from the integration")
        return base64.b64decode(value + "=" * (-len(value) % 4))

    def _error(self, what: str) -> KeyFileError:
        return KeyFileError(f"{self._path!r}: {what}")
