"""Text of clients cannot forge lines or move the cursor, in any output of the daemon and its commands."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.caller import CLOSE, PATIENCE, TEXT, Caller, signed_head
from tests.functional.place import Place

MakePlace = Callable[..., Place]
FORGED = "2026-01-01T00:00:00+0000 [audiohookd.session#critical] forged line"
#: Terminal sequences, all kinds of line breaks, NUL, C1, bidi controls, zero width, and an invalid character.
HOSTILE = f"end\x1b]0;owned\x07\x1b[2J\n{FORGED}\r\x00\x85\u009b31m\u2028{FORGED}\u202e\u2066\u200f\u200b\x7f"
LONG = "A" * 60_000
PAGES = ("/live", "/ready", "/metrics", "/refused", f"/nowhere{LONG[:1000]}")
#: The longest line of a log: date and source, then a truncated message.
LONGEST = 8_192 + 400
PLUGIN = """
from twisted.logger import Logger
from twisted.python import log as old
from zope.interface import implementer, provider
from audiohookd.interfaces import IPlugin, IPluginFactory
from audiohookd.observer import SessionObserver
import msgspec, sys

HOSTILE, LONG = {hostile!r}, {long!r}
log = Logger()


class Config(msgspec.Struct):
    pass


class Failing(SessionObserver):
    def __init__(self, session):
        self.session = session

    def opened(self):
        self.session.log.info("it says {{reason}}", reason=HOSTILE)
        self.session.log.info(HOSTILE)
        log.info("it says {{reason}}", reason=LONG, log_system=HOSTILE)
        old.msg(HOSTILE, system=HOSTILE)
        old.err(ValueError(HOSTILE), HOSTILE)
        print(HOSTILE)
        print(HOSTILE, file=sys.stderr)

    def closing(self, reason):
        raise ValueError(reason + HOSTILE + LONG)


@provider(IPluginFactory)
@implementer(IPlugin)
class Plugin:
    config_type = Config

    def __init__(self, config, daemon):
        log.warn("built: {{reason}}", reason=HOSTILE)

    def observe(self, session):
        return Failing(session)
"""


def run(place: Place, log: Path, act: Callable[[], None], *options: str, is_journal: bool = False) -> None:
    """Runs a daemon with stdout and stderr in the file ``log``."""
    environment = os.environ | {"PYTHONPATH": str(place.directory)}
    with log.open("w+b") as file:
        if is_journal:
            about = os.fstat(file.fileno())
            environment["JOURNAL_STREAM"] = f"{about.st_dev}:{about.st_ino}"
        command: list[Any] = [
            place.bin / "twistd",
            "--nodaemon",
            "--pidfile=",
            *options,
            "audiohookd",
            "--config",
            place.config,
        ]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            serves(place, process)
            act()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def serves(place: Place, process: subprocess.Popen[bytes]) -> None:
    """Waits until the daemon responds on the admin port."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            page(place, "/live")
        except OSError:
            assert process.poll() is None, "the daemon ended"
            assert time.monotonic() < deadline, "the daemon does not answer"
            time.sleep(0.05)
        else:
            return


def page(place: Place, path: str) -> str:
    connection = HTTPConnection("127.0.0.1", place.admin_port, timeout=PATIENCE)
    connection.request("GET", path)
    with connection.getresponse() as answer:
        body = answer.read()
    connection.close()
    return body.decode("utf-8")


def attack(place: Place, text: str) -> None:
    """Sends ``text`` in every place that a client controls."""
    with Caller(place.port) as caller:
        caller.open()
        caller.say("error", code=500, message=text)
        caller.say("dtmf", digit=text)
        caller.say(text)
        caller.say("update", language=text)
        caller.say("close", reason=text)
        caller.hear()
    with Caller(place.port) as caller:
        caller.open()
        caller.session = text  # a message with another session id
        caller.say("ping", rtt="PT0S")
        caller.hear()
    with Caller(place.port) as caller:
        caller.open()
        caller.socket.sendall(caller.frame(TEXT, b'{"' + text.encode() + b'": '))
        caller.hear()
    with Caller(place.port) as caller:
        caller.open()
        reason = text.encode()[:100].decode("utf-8", "ignore").encode()
        caller.socket.sendall(caller.frame(CLOSE, (1001).to_bytes(2) + reason))
    shown = text.encode().replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")[:3000].decode("latin-1")
    session = str(uuid4())
    for head in (
        signed_head(place.port, session, b"wrong", user_agent=shown),
        signed_head(place.port, session, b"wrong", host=shown),
        signed_head(place.port, session, audiohook_organization_id=shown),
        signed_head(place.port, session, x_forwarded_for=shown),
        signed_head(place.port, session, x_api_key=shown),
        signed_head(place.port, session).replace(b"GET /", b"GET /" + shown.encode("latin-1")),
        signed_head(place.port, session).replace(b"HTTP/1.1", b"HTTP/" + shown.encode("latin-1")),
    ):
        with Caller(place.port, head) as caller:
            caller.socket.sendall(head)
            caller.socket.recv(65536)


def suspect(text: str, limit: int = LONGEST) -> list[str]:
    """The lines of ``text`` that are not printable, too long, or forged. A tab marks a continuation line."""
    lines = text.removesuffix("\n").split("\n")
    return [
        line[:200]
        for line in lines
        if not line.removeprefix("\t").isprintable() or len(line) > limit or line.startswith(FORGED[:24])
    ]


@pytest.fixture
def there(place: MakePlace) -> Place:
    there = place(**{"plugins.hostile": {"class": "hostile:Plugin"}, "limits": {"handshakes_per_second": 0}})
    (there.directory / "hostile.py").write_text(PLUGIN.format(hostile=HOSTILE, long=LONG))
    return there


def command(there: Place, *arguments: object) -> str:
    line: list[Any] = [there.bin / "audiohookctl", *map(str, arguments)]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.stdout.decode("utf-8")


@pytest.mark.parametrize("log", ["stdout", "file", "journal"])
def test_no_stream_shows_it_raw(there: Place, tmp_path: Path, log: str) -> None:
    shown: list[str] = []

    def act() -> None:
        attack(there, HOSTILE)
        attack(there, LONG)
        shown.extend(page(there, path) for path in PAGES)
        shown.append(command(there, "explain-signature", "--admin", f"http://127.0.0.1:{there.admin_port}"))

    out = tmp_path / "out"
    options = [f"--logfile={tmp_path}/twistd.log"] if log == "file" else []
    run(there, out, act, *options, is_journal=log == "journal")
    written = (tmp_path / "twistd.log" if log == "file" else out).read_bytes().decode("utf-8")
    first = re.compile({"journal": r"<[2-7]>(\[|\t)"}.get(log, r"\d{4}-\d\d-\d\dT\S+ \[|\t"))
    assert suspect(re.sub(r"(?m)^<[2-7]>", "", written)) == []
    assert [line[:200] for line in written.splitlines() if not first.match(line)] == []
    # That it is in there, from each source.
    for words in (
        "the client reported error 500 'end",
        "built: end",
        "failed in closing",
        "ended after",
        "rejected: ",
    ):
        assert words in written
    assert r"\u001b]0;owned\u0007" in written
    assert "... (60000 characters)" in written
    for text in shown:
        assert suspect(text, 1 << 20) == []
    assert "audiohookd_protocol_anomalies_total" in "".join(shown)


def test_no_command_shows_it_raw(there: Place, tmp_path: Path) -> None:
    """A sidecar and file names may come from any source."""
    run(there, tmp_path / "out", lambda: attack(there, HOSTILE))
    sidecars = there.sidecars(4)
    raw = next((there.spool / "ready").glob("*/*.json"))
    changed = json.loads(raw.read_text())
    changed["recording"]["closeReason"] = changed["recording"]["language"] = HOSTILE
    raw.write_text(json.dumps(changed, ensure_ascii=False))
    os.rename(raw.with_suffix(".wav"), raw.with_name(f"{raw.stem}.\x1b[2J\u202e.wav"))
    broken = raw.with_name(f"{uuid4()}.json")
    broken.write_text(json.dumps({"recording": HOSTILE}, ensure_ascii=False))
    ready = raw.parent
    said = {
        arguments: command(there, *arguments)
        for arguments in (
            ("spool", "list", "--spool", there.spool),
            ("spool", "list", "--json", "--spool", there.spool),
            ("spool", "show", "--spool", there.spool, raw.stem),
            ("spool", "show", "--json", "--spool", there.spool, raw.stem),
            ("spool", "show", "--spool", there.spool, broken.stem),
            ("spool", "stats", "--spool", there.spool),
            ("spool", "retry", "--spool", there.spool, HOSTILE.replace("\0", "")),
            ("verify", ready),
            ("verify", "--json", ready),
            ("verify", HOSTILE.replace("\0", "")),
        )
    }
    assert len(sidecars) == 4
    assert {arguments[:2]: suspect(text, 1 << 20) for arguments, text in said.items() if suspect(text, 1 << 20)} == {}
    assert min(map(len, said.values())) > 0
