"""``audiohookctl sessions``."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from audiohookd.cli.main import main

SESSION = "e160e428-53e2-487c-977d-96989bf5c99d"
LIVE = {
    "session": SESSION,
    "conversation": "c",
    "organization": "o",
    "route": "/bots",
    "seconds": 12.3,
    "media": "PCMU external",
    "paused": True,
    "pausedByOperator": False,
}


class Admin(BaseHTTPRequestHandler):
    """An admin port with one session."""

    asked: ClassVar[list[str]] = []
    body = json.dumps({"sessions": [LIVE]}).encode()

    def do_GET(self) -> None:
        self._answer(200, self.body)

    def do_POST(self) -> None:
        is_known = SESSION in self.path
        self._answer(200 if is_known else 404, b"paused\n" if is_known else b"no open session has this id\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def admin() -> Iterator[str]:
    Admin.asked = []
    server = HTTPServer(("127.0.0.1", 0), Admin)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_live_sessions_are_listed(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "--admin", admin]) == 0
    assert capsys.readouterr().out == f"{SESSION}  12 s  PCMU external  /bots  paused\n1 session\n"
    assert main(["sessions", "--json", "--admin", admin]) == 0
    assert json.loads(capsys.readouterr().out) == LIVE


def test_a_session_is_paused(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "pause", SESSION, "--admin", admin]) == 0
    assert capsys.readouterr().out == "paused\n"
    assert Admin.asked == [f"POST /sessions/{SESSION}/pause"]


def test_a_rejection_of_the_daemon_is_one_line(admin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["sessions", "resume", SESSION[::-1].replace("-", "0")[:8] + SESSION[8:-1] + "0", "--admin", admin]) == 2
    )
    assert "404 Not Found: no open session has this id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["pause"], "list takes no ID; pause and resume need one"),
        (["list", SESSION], "list takes no ID"),
        (["--admin", "127.0.0.1:3001"], "is not a URL such as http://127.0.0.1:3001"),
        (["--admin", "http://127.0.0.1:1"], "give --admin URL"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_another_server_is_named(
    admin: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admin, "body", b"<html>")
    assert main(["sessions", "--admin", admin]) == 2
    assert "not an admin port of audiohookd" in capsys.readouterr().err
