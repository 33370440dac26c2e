"""Prints the daemon's own explanation of the requests that it rejected last.

The daemon keeps only requests with an API key. Its counters have the number of the others.
"""

import argparse
import json
import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from audiohookd.auth.rejection import RejectionReason
from audiohookd.cli.admin_port import REMEDY, page
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable

_COUNTER = re.compile(r'^audiohookd_(rejections|limit_hits)_total\{\w+="([^"]*)"\} (\d+)$', re.MULTILINE)
#: Rejection reasons of the requests that the daemon keeps. All of them have an API key.
_EXPLAINED: Final = frozenset(RejectionReason) - {RejectionReason.API_KEY_MISSING}


def explain(arguments: argparse.Namespace) -> int:
    """Prints the latest ``arguments.recent`` rejected requests, and returns the exit code.

    :raises UsageError: the daemon cannot be reached at its admin port.
    """
    refused, omitted = _ask(
        arguments.admin, [("host", name) for name in arguments.host] + [("path", path) for path in arguments.path]
    )
    for request in refused[: arguments.recent]:
        print("\n".join(printable(line) for line in _lines(request)), end="\n\n")
    if omitted and arguments.recent > len(refused):
        print(f"{omitted} older requests are not shown: the daemon limits the size of its answer")
    if not refused:
        print("no request was rejected for its key or signature since the daemon started")
    print(printable(_unexplained(arguments.admin)))
    return 1 if refused else 0


def _lines(request: dict[str, Any]) -> list[str]:
    time = datetime.fromtimestamp(request["at"], UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    repeated = f", {request['times']} times" if request["times"] > 1 else ""
    head = f"{time} UTC, from {request['peer']}: {request['reason']}{repeated}"
    return [head, *(f"  {line}" for line in request["explanation"])]


def _ask(admin: str, hints: list[tuple[str, str]]) -> tuple[list[dict[str, Any]], int]:
    """The rejected requests, newest first, and the number of older ones that the daemon left out."""
    content = page(admin, f"refused?{urlencode(hints)}" if hints else "refused")
    try:
        found = json.loads(content)
        refused: list[dict[str, Any]] = found["refused"]
        return refused, found.get("omitted", 0)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"explain-signature: {admin}: not an admin port of audiohookd: {REMEDY}") from None


def _unexplained(admin: str) -> str:
    """Counts the connections, requests and sessions that the daemon rejected for other reasons, by reason."""
    url = f"{admin.rstrip('/')}/metrics"
    try:
        counted = _COUNTER.findall(page(admin, "metrics").decode("utf-8", "replace"))
    except UsageError:
        return f"requests that were rejected for other reasons are not shown: cannot read {url}"
    found = [f"{label} {count}" for _, label, count in counted if label not in _EXPLAINED and int(count)]
    if not found:
        return "nothing was rejected for other reasons"
    return (
        f"rejected for other reasons, not shown here: {', '.join(found)} (rejections_total and limit_hits_total of"
        f" {url}); see the lines in the daemon's log, and docs/rejections.rst"
    )
