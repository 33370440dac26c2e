"""``audiohookctl sessions``: lists the live sessions of a daemon, and pauses or resumes one."""

import argparse
import json
from typing import Any

from audiohookd.cli.admin_port import ADMIN, REMEDY, page
from audiohookd.cli.formatting import counted
from audiohookd.cli.target import uuid
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sessions",
        help="list the live sessions of a daemon, pause or resume one",
        description="Lists the live sessions of a daemon. pause asks Genesys Cloud to send no audio of a session,"
        " until resume; no plugin can resume it meanwhile. Needs allow_pause = true in [admin].",
    )
    add = parser.add_argument
    add("action", nargs="?", choices=["list", "pause", "resume"], default="list")
    add("session", nargs="?", type=uuid, metavar="ID", help="the session to pause or to resume")
    add("--admin", default=ADMIN, metavar="URL", help=f"the daemon's admin port (default: {ADMIN})")
    add("--json", action="store_true", help="print one JSON object per session")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    if (arguments.action == "list") != (arguments.session is None):
        raise UsageError("sessions: list takes no ID; pause and resume need one")
    if arguments.session is not None:
        print(page(arguments.admin, f"sessions/{arguments.session}/{arguments.action}", "POST").decode().strip())
        return 0
    try:
        found: list[dict[str, Any]] = json.loads(page(arguments.admin, "sessions"))["sessions"]
        lines = [json.dumps(session) if arguments.json else _line(session) for session in found]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"sessions: {arguments.admin}: not an admin port of audiohookd: {REMEDY}") from None
    for line in lines:
        print(printable(line))
    if not arguments.json:
        print(counted(len(found), "session"))
    return 0


def _line(session: dict[str, Any]) -> str:
    paused = "paused by the operator" if session["pausedByOperator"] else "paused" if session["paused"] else ""
    parts = (
        session["session"],
        f"{session['seconds']:.0f} s",
        session["media"] or "no audio",
        session["route"],
        paused,
    )
    return "  ".join(part for part in parts if part)
