"""What is told of a request, without what of it could let anybody in, or may be a secret of somebody. Pure."""

import re

from audiohookd.auth.keys import fingerprint
from audiohookd.auth.request import UpgradeRequest
from audiohookd.escaping import printable

#: Characters of a line.
MAX_LINE = 500
#: What stands in the two fields and may be keyid, nonce or MAC, or was meant to be: no names and no numbers.
_VALUE = re.compile(r'=\s*"((?:[^"\\]|\\.)*)"|:([^:]*):|=([^;,:"()\s]{16,})')
#: In the query of a target, anywhere in a text, a long value, or what has no name: up to a quote at the end.
_QUERY = re.compile(
    r"""([?&](?:[^=&?\s]*=)?)((?<==)[^&\s]{8,}?|(?<!=)[^=&?\s]{8,}?)(?=['"]?(?:[&?\s]|\Z)|['"][:,;)])"""
)


def redacted(text: str, request: UpgradeRequest) -> str:
    """`text` on one line, bounded, without what of `request` could let anybody in, and long values of a query."""
    for word, instead in _secret_words(request):
        text = text.replace(word, instead)
    shown = _QUERY.sub(lambda found: found[1] + hint(found[2]), text[: 2 * MAX_LINE])
    shown = printable(shown)
    if len(shown) <= MAX_LINE and len(text) <= 2 * MAX_LINE:
        return shown
    return f"{shown[:MAX_LINE]}... ({len(text)} characters)"


def hint(text: str) -> str:
    """What stands for a text that is not shown: whoever has it can find it again."""
    return f"<{len(text)} characters, {fingerprint(text)}>"


def _secret_words(request: UpgradeRequest) -> list[tuple[str, str]]:
    """What must not be shown wherever it stands, and what stands there instead."""
    words = [request.header("x-api-key") or ""]
    for name in ("signature", "signature-input"):
        words += [word for found in _VALUE.findall(request.header(name) or "") for word in found]
    secret = sorted({word for word in words if len(word) >= 8} - {"hmac-sha256"}, key=len, reverse=True)
    return [(word, hint(word)) for word in secret]
