"""What the daemon itself says of the requests that it refused last: it has them, and the secrets."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from audiohookd.cli.mistake import Mistake
from audiohookd.cli.wording import printable

_TIMEOUT = 10.0  # seconds
_MAX_SIZE = 8 << 20


def explain(admin: str, count: int) -> int:
    """Prints the newest ``count``; returns the exit code.

    :raises Mistake: the daemon cannot be asked.
    """
    refused = _ask(admin)
    if not refused:
        print("no request was refused since the daemon started")
        return 0
    for one in refused[:count]:
        print("\n".join(printable(line) for line in _lines(one)), end="\n\n")
    return 1


def _lines(one: dict[str, Any]) -> list[str]:
    came = datetime.fromtimestamp(one["at"], UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    often = f", {one['times']} times alike" if one["times"] > 1 else ""
    head = f"{came} UTC, from {one['peer']}: {one['reason']}{often}"
    return [head, *(f"  {line}" for line in one["explanation"])]


def _ask(admin: str) -> list[dict[str, Any]]:
    url = f"{admin.rstrip('/')}/refused"
    if not url.startswith(("http://", "https://")):
        raise Mistake(f"explain-signature: --admin {admin} is not as http://127.0.0.1:3001")
    try:
        # Not through a proxy of the environment: the daemon is near.
        with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT) as answer:
            refused: list[dict[str, Any]] = json.loads(answer.read(_MAX_SIZE))["refused"]
    except (OSError, URLError) as fault:
        raise Mistake(f"explain-signature: {url}: {getattr(fault, 'reason', fault)}") from None
    except (ValueError, KeyError, TypeError):
        raise Mistake(f"explain-signature: {url}: that is no admin port of this daemon") from None
    return refused
