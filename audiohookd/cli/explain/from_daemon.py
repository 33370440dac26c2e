"""What the daemon itself says of the requests that it refused last: it has them, and the secrets.

It keeps requests with an API key only. How many others it refused is read from its counters.
"""

import argparse
import json
import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from audiohookd.auth.rejection import RejectionReason
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable

_TIMEOUT = 10.0  # seconds
_MAX_SIZE = 8 << 20
#: Of the body of an error.
_MAX_SAID = 1_000
_COUNTER = re.compile(r'^audiohookd_(rejections|limit_hits)_total\{\w+="([^"]*)"\} (\d+)$', re.MULTILINE)
#: Reasons of requests that the daemon keeps: all of them have an API key.
_EXPLAINED: Final = frozenset(RejectionReason) - {RejectionReason.API_KEY_MISSING}
_WHERE = "give --admin URL, where [admin] endpoint of its configuration is"


def explain(arguments: argparse.Namespace) -> int:
    """Prints the newest ``arguments.recent``; returns the exit code.

    :raises Mistake: the daemon cannot be asked.
    """
    refused, omitted = _ask(
        arguments.admin, [("host", name) for name in arguments.host] + [("path", path) for path in arguments.path]
    )
    for one in refused[: arguments.recent]:
        print("\n".join(printable(line) for line in _lines(one)), end="\n\n")
    if omitted and arguments.recent > len(refused):
        print(f"{omitted} older ones are not shown: the answer of the daemon is limited in size")
    if not refused:
        print("no request was refused for its key or signature since the daemon started")
    print(printable(_unexplained(arguments.admin)))
    return 1 if refused else 0


def _lines(one: dict[str, Any]) -> list[str]:
    came = datetime.fromtimestamp(one["at"], UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    often = f", {one['times']} times alike" if one["times"] > 1 else ""
    head = f"{came} UTC, from {one['peer']}: {one['reason']}{often}"
    return [head, *(f"  {line}" for line in one["explanation"])]


def _ask(admin: str, called: list[tuple[str, str]]) -> tuple[list[dict[str, Any]], int]:
    """The requests, the newest first, and how many older ones the daemon left out."""
    url = _url(admin, "refused")
    query = f"?{urlencode(called)}" if called else ""
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"explain-signature: --admin {admin} is not as http://127.0.0.1:3001")
    try:
        found = json.loads(_get(url + query))
        refused: list[dict[str, Any]] = found["refused"]
        return refused, found.get("omitted", 0)
    except HTTPError as fault:
        said = fault.read(_MAX_SAID).decode("utf-8", "replace").partition("\n")[0]
        raise UsageError(f"explain-signature: {url}: {fault.code} {fault.reason}: {printable(said)}") from None
    except (OSError, URLError) as fault:
        why = getattr(fault, "reason", fault)
        raise UsageError(f"explain-signature: {url}: {why}: {_WHERE}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"explain-signature: {url}: that is no admin port of this daemon: {_WHERE}") from None


def _url(admin: str, page: str) -> str:
    return f"{admin.rstrip('/')}/{page}"


def _get(url: str) -> bytes:
    # Not through a proxy of the environment: the daemon is near.
    with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT) as answer:
        content: bytes = answer.read(_MAX_SIZE)
        return content


def _unexplained(admin: str) -> str:
    """How many connections, requests and sessions the daemon refused for other reasons, by reason."""
    url = _url(admin, "metrics")
    try:
        counted = _COUNTER.findall(_get(url).decode("utf-8", "replace"))
    except OSError:
        return f"requests that were refused for other reasons are not shown: {url} cannot be read"
    found = [f"{label} {count}" for _, label, count in counted if label not in _EXPLAINED and int(count)]
    if not found:
        return "nothing was refused for other reasons"
    return (
        f"refused for other reasons, and not shown here: {', '.join(found)} (rejections_total and limit_hits_total of"
        f" {url}); the daemon's log has the lines, docs/refusals.rst explains them"
    )
