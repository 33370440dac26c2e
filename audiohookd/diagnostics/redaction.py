"""Removes from a text all parts of a request that grant access or may be a secret. Pure."""

import re

from audiohookd.auth.keys.model import fingerprint
from audiohookd.auth.request import UpgradeRequest
from audiohookd.escaping import printable

#: Longest line, in characters.
MAX_LINE = 500
#: Values in the two fields that may be a keyid, a nonce or a MAC, even if malformed: neither names nor numbers.
_VALUE = re.compile(r'=\s*"((?:[^"\\]|\\.)*)"|:([^:]*):|=([^;,:"()\s]{16,})')
#: In the query of a target anywhere in a text: a long value, or a value without a name, up to a quote at the end.
_QUERY = re.compile(
    r"""([?&](?:[^=&?\s]*=)?)((?<==)[^&\s]{8,}?|(?<!=)[^=&?\s]{8,}?)(?=['"]?(?:[&?\s]|\Z)|['"][:,;)])"""
)


def redacted(text: str, request: UpgradeRequest) -> str:
    """Returns ``text`` on one bounded line, without credentials of ``request`` and without long values of a query."""
    for word, replacement in _secret_words(request):
        text = text.replace(word, replacement)
    shown = _QUERY.sub(lambda found: found[1] + hint(found[2]), text[: 2 * MAX_LINE])
    shown = printable(shown)
    if len(shown) <= MAX_LINE and len(text) <= 2 * MAX_LINE:
        return shown
    return f"{shown[:MAX_LINE]}... ({len(text)} characters)"


def hint(text: str) -> str:
    """Returns a placeholder for a hidden text, by which its owner can identify it."""
    return f"<{len(text)} characters, {fingerprint(text)}>"


def _secret_words(request: UpgradeRequest) -> list[tuple[str, str]]:
    """Returns the words that must not be shown, each with its replacement."""
    words = [request.header("x-api-key") or ""]
    for name in ("signature", "signature-input"):
        words += [word for found in _VALUE.findall(request.header(name) or "") for word in found]
    secret = sorted({word for word in words if len(word) >= 8} - {"hmac-sha256"}, key=len, reverse=True)
    return [(word, hint(word)) for word in secret]
