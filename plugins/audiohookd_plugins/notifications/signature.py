"""HMAC-SHA256 signatures of webhooks, in the scheme of https://www.standardwebhooks.com.

Several secrets sign side by side, so that one can be replaced without a notification that fails verification.
"""

import base64
import hmac
from pathlib import Path

from audiohookd.secret_file import read_secret_text

PREFIX = "whsec_"
#: Bytes. A shorter secret could be found by brute force.
SHORTEST = 24


class Secrets:
    """At least one secret. Its representation shows none.

    :raises ValueError: a line is no valid secret, or there is none; the text contains no secret either.
    """

    def __init__(self, lines: list[str]) -> None:
        self._keys = [_key(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        if not self._keys:
            raise ValueError("holds no secret")

    def __repr__(self) -> str:
        return f"<{len(self._keys)} secrets>"

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The value of the header ``webhook-signature``: one signature for each secret.

        :param timestamp: of this attempt, in seconds since the epoch.
        """
        signed = f"{message_id}.{timestamp}.".encode() + body
        signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self._keys)
        return " ".join(f"v1,{signature}" for signature in signatures)


def read_secrets(path: Path) -> Secrets:
    """Reads the secrets from a file, one per line.

    :raises ValueError: as :func:`read_secret_text`, or a secret is invalid.
    """
    lines = read_secret_text(path).splitlines()
    try:
        return Secrets(lines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _key(line: str, number: int) -> bytes:
    text = line.strip()
    key = _decoded(text.removeprefix(PREFIX), number) if text.startswith(PREFIX) else text.encode()
    if len(key) < SHORTEST:
        raise ValueError(f"line {number}: is shorter than {SHORTEST} bytes")
    return key


def _decoded(text: str, number: int) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise ValueError(f"line {number}: what follows {PREFIX} is not base64") from None
