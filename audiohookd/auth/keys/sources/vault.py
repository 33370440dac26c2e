"""Keys in HashiCorp Vault or OpenBao: the KV secrets engine, version 2. Needs ``audiohookd[vault]``."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from zope.interface import implementer

from audiohookd.auth.keys.model import IKeySource, Keys, KeySourceError, SourceUnavailable
from audiohookd.auth.keys.parse import BadKeys, read_keys
from audiohookd.auth.keys.rotation import Rotation, merge_versions
from audiohookd.config.schema import VaultSecret
from audiohookd.secret_file import SecretFileError, read_secret_text

#: Seconds to connect, and to wait for each part of an answer.
TIMEOUT = 5.0


@implementer(IKeySource)
class Vault:
    """A secret with the JSON object as its data: its current version, and for some time the previous one.

    The token comes from a file, which is read for each load so that an agent can renew it, or from an AppRole login,
    which is repeated when the token has expired. An error text has only the name of a foreign exception, because its
    text may contain anything.

    :param now: UNIX seconds.
    """

    def __init__(self, name: str, settings: VaultSecret, now: Callable[[], float]) -> None:
        self.name = name
        self.interval = settings.refresh
        self._settings = settings
        self._now = now
        self._rotation = Rotation()
        self._client: Any = None

    def changed(self) -> bool:
        """See :class:`IKeySource`. Only a load can tell."""
        return True

    def load(self) -> Keys:
        """See :class:`IKeySource`."""
        try:
            from hvac import exceptions  # noqa: PLC0415 - an extra
        except ImportError:
            raise self._error("hvac is not installed: pip install 'audiohookd[vault]'") from None
        try:
            return self._load()
        except BadKeys as error:
            raise self._error(f"{error} (current version)") from None
        except (exceptions.Forbidden, exceptions.Unauthorized):
            raise self._error("permission denied: check the token or role, and its policy") from None
        except exceptions.InvalidPath:
            raise self._error("the secret does not exist, or its current version is deleted") from None
        except exceptions.InvalidRequest:
            raise self._error("request rejected: check the mount (KV version 2), role_id and secret_id") from None
        except KeySourceError:
            raise
        except Exception as error:  # from hvac or requests, or from an answer of an unexpected shape
            raise self._error(f"cannot be fetched ({type(error).__name__})", SourceUnavailable) from None

    def _load(self) -> Keys:
        answer = self._fetch_authorized()
        current = read_keys(json.dumps(answer["data"]))
        metadata, now = answer["metadata"], self._now()
        since = self._rotation.since(str(metadata["version"]), _seconds(metadata["created_time"]), now)
        until = since + self._settings.overlap
        return (
            merge_versions(current, self._previous(int(metadata["version"]) - 1), until) if now < until else current
        )

    def _fetch_authorized(self) -> Any:
        """Fetches the current version. If the AppRole token has expired, logs in again and retries once."""
        from hvac.exceptions import Forbidden  # noqa: PLC0415 - see load

        if self._client is not None and self._settings.token_file is None:
            try:
                return self._fetch()
            except Forbidden:
                self._client = None
        self._client = self._authorized()
        return self._fetch()

    def _previous(self, version: int) -> Keys:
        """Returns the keys of the previous version: none if it does not exist, is deleted, or is invalid."""
        from hvac.exceptions import InvalidPath  # noqa: PLC0415 - see load

        try:
            return read_keys(json.dumps(self._fetch(version)["data"])) if version > 0 else Keys({})
        except (BadKeys, InvalidPath):
            return Keys({})

    def _fetch(self, version: int | None = None) -> Any:
        kv = self._client.secrets.kv.v2
        path, mount = self._settings.path, self._settings.mount
        return kv.read_secret_version(path, version, mount_point=mount, raise_on_deleted_version=True)["data"]

    def _authorized(self) -> Any:
        import hvac  # noqa: PLC0415 - see load

        ca_file = self._settings.ca_file
        if ca_file is not None and not ca_file.is_file():
            raise KeySourceError(f"ca_file {str(ca_file)!r}: no such file: correct the path")
        verify = True if ca_file is None else str(ca_file)
        token = "" if self._settings.token_file is None else read_line(self._settings.token_file)
        client = hvac.Client(self._settings.url, token=token, verify=verify, timeout=TIMEOUT)
        if self._settings.secret_id_file is not None:
            secret_id = read_line(self._settings.secret_id_file)
            client.auth.approle.login(self._settings.role_id, secret_id)
        return client

    def _error(self, text: str, kind: type[KeySourceError] = KeySourceError) -> KeySourceError:
        return kind(f"{self._settings.mount}/{self._settings.path} of {self._settings.url}: {text}")


def read_line(path: Path) -> str:
    """Reads the single line of a file with a token or a secret id.

    :raises KeySourceError: the file cannot be used, or is not one line of ASCII.
    """
    try:
        text = read_secret_text(path).strip()
    except SecretFileError as error:
        raise KeySourceError(str(error)) from None
    if not (text.isascii() and text.isprintable() and text):
        raise KeySourceError(f"{str(path)!r}: must contain one line of ASCII")
    return text


def _seconds(text: str) -> float:
    """Parses a time. ``fromisoformat`` truncates the nanoseconds to microseconds."""
    return datetime.fromisoformat(text).timestamp()
