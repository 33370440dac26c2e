"""What the daemon itself says of the requests that it refused last: it has them, and the secrets."""

import argparse
import json
from datetime import UTC, datetime
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from audiohookd.cli.mistake import Mistake
from audiohookd.cli.wording import printable

_TIMEOUT = 10.0  # seconds
_MAX_SIZE = 8 << 20
_WHERE = "give --admin URL, where [admin] endpoint of its configuration is"


def explain(arguments: argparse.Namespace) -> int:
    """Prints the newest ``arguments.recent``; returns the exit code.

    :raises Mistake: the daemon cannot be asked.
    """
    refused = _ask(arguments.admin, [("host", name) for name in arguments.host]
                   + [("path", path) for path in arguments.path])
    if not refused:
        print("no request was refused since the daemon started")
        return 0
    for one in refused[: arguments.recent]:
        print("\n".join(printable(line) for line in _lines(one)), end="\n\n")
    return 1


def _lines(one: dict[str, Any]) -> list[str]:
    came = datetime.fromtimestamp(one["at"], UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    often = f", {one['times']} times alike" if one["times"] > 1 else ""
    head = f"{came} UTC, from {one['peer']}: {one['reason']}{often}"
    return [head, *(f"  {line}" for line in one["explanation"])]


def _ask(admin: str, called: list[tuple[str, str]]) -> list[dict[str, Any]]:
    url = f"{admin.rstrip('/')}/refused"
    query = f"?{urlencode(called)}" if called else ""
    if not url.startswith(("http://", "https://")):
        raise Mistake(f"explain-signature: --admin {admin} is not as http://127.0.0.1:3001")
    try:
        # Not through a proxy of the environment: the daemon is near.
        with build_opener(ProxyHandler({})).open(url + query, timeout=_TIMEOUT) as answer:
            refused: list[dict[str, Any]] = json.loads(answer.read(_MAX_SIZE))["refused"]
    except (OSError, URLError) as fault:
        why = getattr(fault, "reason", fault)
        raise Mistake(f"explain-signature: {url}: {why}: {_WHERE}") from None
    except (ValueError, KeyError, TypeError):
        raise Mistake(f"explain-signature: {url}: that is no admin port of this daemon: {_WHERE}") from None
    return refused
