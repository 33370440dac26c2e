"""``audiohookctl explain-signature``: requests in all formats, and the daemon's record of rejected requests."""

import base64
import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import sign
from audiohookd.cli.explain.request_parser import parse_request
from audiohookd.cli.main import main
from audiohookd.cli.usage_error import UsageError
from tests.cli.tls_front import answering

KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = b"MySuperSecretKeyTellNoOne-1!2@3#4$5"
TEXT = base64.b64encode(SECRET).decode()
CREATED = 1_700_000_000
HOST = "audiohook.example.com"
HEADERS = {
    "Host": HOST,
    "Audiohook-Organization-Id": "d7934305-0972-4844-938e-9060eef73d05",
    "Audiohook-Session-Id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "Audiohook-Correlation-Id": "e160e428-53e2-487c-977d-96989bf5c99d",
    "X-API-KEY": KEY,
}
FIELDS = sign(
    UpgradeRequest("/ws?a=1", {name.lower(): value for name, value in HEADERS.items()}),
    SECRET,
    created=CREATED,
    nonce="VGhpc0lzQVVuaXF1ZU5vbmNl",
)
SIGNED = HEADERS | {"Signature-Input": FIELDS.signature_input, "Signature": FIELDS.signature}
LINES = [f"{name}: {value}" for name, value in SIGNED.items()]
PLAIN = "\n".join(["GET /ws?a=1 HTTP/1.1", *LINES])
CURL = "\n".join(
    [
        "* Connected to audiohook.example.com (192.0.2.1) port 443",
        "> GET /ws?a=1 HTTP/1.1",
        *(f"> {line}" for line in LINES),
        "> ",
        "< HTTP/1.1 401 Unauthorized",
        "< Date: Tue, 14 Nov 2023 22:13:21 GMT",
        "< ",
    ]
)
HAR = json.dumps(
    {
        "log": {
            "entries": [
                {"request": {"url": "https://elsewhere/", "headers": []}},
                {
                    "startedDateTime": "2023-11-14T22:13:21.000Z",
                    "request": {
                        "url": f"wss://{HOST}/ws?a=1",
                        "headers": [{"name": name, "value": value} for name, value in SIGNED.items()],
                    },
                },
            ]
        }
    }
)


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text(TEXT)
    return str(file)


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "request"
    file.write_text(text)
    return str(file)


# ---- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "at"), [(PLAIN, None), (CURL, CREATED + 1), (HAR, CREATED + 1)])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format_gives_the_same_request(text: str, at: float | None, mark: str) -> None:
    found = parse_request(mark + text)
    assert (found.target, found.at) == ("/ws?a=1", at)
    assert found.headers == {name.lower(): value for name, value in SIGNED.items()}


def test_crlf_and_repeated_headers_are_parsed() -> None:
    found = parse_request("GET /x HTTP/1.1\r\nX-A: 1\r\nx-a:2\r\n\r\n")
    assert found.headers == {"x-a": "1, 2"}


def test_a_request_line_may_hold_a_whole_url() -> None:
    assert parse_request("GET https://h/x?y=1 HTTP/1.1\nHost: h").target == "/x?y=1"


def test_a_date_of_the_request_tells_when_it_came() -> None:
    assert parse_request("GET / HTTP/1.1\nDate: Tue, 14 Nov 2023 22:13:21 GMT\nHost: h").at == CREATED + 1
    assert parse_request("GET / HTTP/1.1\nDate: yesterday\nHost: h").at is None


@pytest.mark.parametrize("text", ["", "nothing of the kind", "{}", "[]", '{"log": {"entries": [1]}}', "{", '["a"]'])
def test_a_text_without_a_request_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="explain-signature"):
        parse_request(text)


SAMPLE_SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
#: The request in Genesys' documentation, which wraps long headers.
SAMPLE = """GET /api/v1/voicebiometrics/ws HTTP/1.1
Host: audiohook.example.com
Audiohook-Organization-Id: d7934305-0972-4844-938e-9060eef73d05
Audiohook-Correlation-Id: e160e428-53e2-487c-977d-96989bf5c99d
Audiohook-Session-Id: 30b0e395-84d3-4570-ac13-9a62d8f514c0
X-API-KEY: SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh
Signature: sig1=:NZBwyBHRRyRoeLqy1IzO~~a9VYBuI8TgMFt2GRDkDuJh4=:
Signature-Input: sig1=("@request-target" "@authority" "audiohook-organization-id"~"audiohook-session-id"\
 "audiohook-correlation-id" "x-api-key")~~;keyid="SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"~~\
;nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256";created=1641013200;expires=3282026430
"""


@pytest.mark.parametrize("fold", ["\n    ", "\r\n\t", "\n "])
@pytest.mark.parametrize("start", ["", "\ufeff", "    ", "> "])
def test_a_wrapped_header_is_one_header(
    start: str, fold: str, tmp_path: Path, secret_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it was pasted: with a byte order mark, indented, or from curl."""
    each = start if start.strip(" ") == "" or start == "> " else ""
    text = SAMPLE.replace("~~", fold).replace("~", fold)
    text = start.removesuffix(each) + "".join(each + line for line in text.splitlines(keepends=True))
    Path(secret_file).write_text(SAMPLE_SECRET)
    assert explain(write(tmp_path, text), secret_file, at=1641013201) == 0, capsys.readouterr().out


def test_a_line_after_the_head_belongs_to_no_header() -> None:
    assert parse_request("GET / HTTP/1.1\nHost: h\n\n  and a body").headers == {"host": "h"}


def test_typographic_quotes_are_a_possible_cause_of_a_malformed_signature(
    tmp_path: Path, secret_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SAMPLE.replace("~~", "").replace("~", " ").replace('"', "\u201d")
    assert explain(write(tmp_path, text), secret_file, at=1641013201) == 1
    assert "not in the typographic quotes of a word processor" in capsys.readouterr().out


def test_the_representation_has_no_headers() -> None:
    assert KEY not in repr(parse_request(PLAIN))


# ---- a request in a file -------------------------------------------------------------------------------


def explain(file: str, secret_file: str, *more: str, at: float = CREATED) -> int:
    return main(["explain-signature", file, "--secret-file", secret_file, "--at", str(at), *more])


def test_a_correct_request_is_accepted(tmp_path: Path, secret_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(write(tmp_path, PLAIN), secret_file) == 0
    assert capsys.readouterr().out.startswith("verdict: accepted\n")


def test_stdin_is_read(secret_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PLAIN.encode())))
    assert main(["explain-signature", "--secret-file", secret_file, "--at", str(CREATED)]) == 0
    assert "the request is valid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "more", "told"),
    [
        ((HOST, "backend:3000"), ("--host", HOST), "certain: Host was rewritten on the way to 'backend:3000'"),
        ((HOST, "backend:3000"), ("--authority", HOST), "the request is valid"),
        (("/ws?", "/hook/ws?"), (), "certain: the path was changed on the way to '/hook/ws?a=1'"),
        (("/ws?", "/x?"), ("--path", "/ws"), "certain: the path was changed"),
        (("30b0e395", "30b0e396"), (), "a guess: the secret is not the signer's"),
        ((HOST, "hook.example.org"), (), "a guess: Genesys Cloud called another name, path or query"),
    ],
)
def test_a_change_is_explained(
    changed: tuple[str, str],
    more: tuple[str, ...],
    told: str,
    tmp_path: Path,
    secret_file: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = explain(write(tmp_path, PLAIN.replace(*changed)), secret_file, *more)
    said = capsys.readouterr().out
    assert told in said
    assert code == ("the request is valid" not in said)


def test_a_missing_time_is_noted(tmp_path: Path, secret_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain-signature", write(tmp_path, PLAIN), "--secret-file", secret_file]) == 1
    said = capsys.readouterr().out
    assert "verdict: too-old" in said
    assert "so the request is checked as if it arrived now" in said


def test_a_key_file_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys.json"
    keys.touch(0o600)
    keys.write_text(json.dumps({KEY: base64.b64encode(b"another secret!!").decode(), "dGhlaXJz": TEXT}))
    assert main(["explain-signature", write(tmp_path, PLAIN), "--keys", str(keys), "--at", str(CREATED)]) == 1
    assert "certain: key and secret are not a pair" in capsys.readouterr().out


def test_an_entry_that_lets_in_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys.json"
    keys.touch(0o600)
    keys.write_text(json.dumps({KEY: {"secret": TEXT, "routes": ["/partner"]}}))
    assert main(["explain-signature", write(tmp_path, PLAIN), "--keys", str(keys), "--at", str(CREATED)]) == 1
    said = capsys.readouterr().out
    assert "verdict: route-not-allowed" in said
    assert "certain: '/ws' is not in routes of the key's entry ('/partner')" in said


def test_a_secret_that_is_not_base64_is_tried_as_it_is(
    tmp_path: Path, secret_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(secret_file).write_text("MySuperSecretKeyTellNoOne-1!2@3#4$5\n")
    assert explain(write(tmp_path, PLAIN), secret_file) == 0
    said = capsys.readouterr().out
    assert "note: the secret is not base64" in said
    assert "TellNoOne" not in said


def test_nothing_secret_is_printed(tmp_path: Path, secret_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for text in (PLAIN, CURL.replace(HOST, "b"), HAR):
        explain(write(tmp_path, text), secret_file)
        said = "".join(capsys.readouterr())
        for hidden in (KEY, TEXT[:10], SECRET.decode()[:10], FIELDS.signature[6:20], "VGhpc0lz"):
            assert hidden not in said


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        ("\n".join(LINES), (), "no request line found"),
        ("", (), "no header"),
        (PLAIN, ("--recent",), "leave out FILE"),
    ],
)
def test_mistakes_are_one_line(
    text: str, more: tuple[str, ...], told: str, tmp_path: Path, secret_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(write(tmp_path, text), secret_file, *more) == 2
    assert told in capsys.readouterr().err


def test_the_target_may_be_given_apart(tmp_path: Path, secret_file: str) -> None:
    assert explain(write(tmp_path, "\n".join(LINES)), secret_file, "--target", "/ws?a=1") == 0


def test_a_secret_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDIOHOOK_CLIENT_SECRET", raising=False)
    assert main(["explain-signature", write(tmp_path, PLAIN)]) == 2


# ---- the daemon's record ---------------------------------------------------------------------------------


class Admin(BaseHTTPRequestHandler):
    body = b""
    metrics: bytes | None = b""
    query = ""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/refused":
            type(self).query = query
        found = {"/refused": self.body, "/metrics": self.metrics}.get(path)
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, *_: object) -> None:
        """Logs nothing to stderr."""


@pytest.fixture
def admin() -> Iterator[tuple[str, type[Admin]]]:
    kind = type("ThisAdmin", (Admin,), {})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", kind
        server.shutdown()
        thread.join()


def one(**changed: Any) -> dict[str, Any]:
    found = {"at": CREATED, "peer": "192.0.2.7", "times": 3, "reason": "too-old", "explanation": ["verdict: too-old"]}
    return found | changed


def test_rejected_requests_of_the_daemon_are_printed(
    admin: tuple[str, type[Admin]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kind = admin
    kind.body = json.dumps({"refused": [one(), one(peer="\x1b[2J"), one()]}).encode()
    assert main(["explain-signature", "--recent", "2", "--admin", url]) == 1
    said = capsys.readouterr().out
    assert "2023-11-14 22:13:20 UTC, from 192.0.2.7: too-old, 3 times\n  verdict: too-old\n" in said
    assert said.count("too-old, 3 times") == 2
    assert "\x1b" not in said


def test_hints_are_passed_to_the_daemon(admin: tuple[str, type[Admin]]) -> None:
    url, kind = admin
    kind.body = json.dumps({"refused": [one()]}).encode()
    assert main(["explain-signature", "--recent", "--admin", url, "--host", HOST, "--path", "/ws?a=1"]) == 1
    assert kind.query == f"host={HOST}&path=%2Fws%3Fa%3D1"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--authority", HOST], "leave out --authority"),
        (["--target", "/ws"], "leave out --authority, --target"),
        (["--at", "0"], "--at"),
        (["--host", "a"] * 5, "--host at most 4 times"),
    ],
)
def test_nothing_is_ignored_in_silence(more: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain-signature", "--recent", *more]) == 2
    assert told in capsys.readouterr().err


def test_a_daemon_without_rejections_is_reported(
    admin: tuple[str, type[Admin]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kind = admin
    kind.body = b'{"refused": []}'
    assert main(["explain-signature", "--recent", "--admin", url]) == 0
    said = capsys.readouterr().out
    assert "no request was rejected for its key or signature" in said
    assert "nothing was rejected for other reasons" in said


def test_rejections_for_other_reasons_are_counted(
    admin: tuple[str, type[Admin]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kind = admin
    kind.body = b'{"refused": []}'
    kind.metrics = b"""# TYPE audiohookd_rejections_total counter
audiohookd_rejections_total{reason="api-key-missing"} 1
audiohookd_rejections_total{reason="http-429"} 2
audiohookd_rejections_total{reason="too-old"} 5
audiohookd_limit_hits_total{limit="handshakes-per-address"} 2
audiohookd_limit_hits_total{limit="sessions"} 0
audiohookd_sessions_total 7
"""
    assert main(["explain-signature", "--recent", "--admin", url]) == 0
    said = capsys.readouterr().out
    assert "not shown here: api-key-missing 1, http-429 2, handshakes-per-address 2 (rejections_total" in said
    assert f"{url}/metrics" in said


def test_counters_that_cannot_be_read_are_named(
    admin: tuple[str, type[Admin]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kind = admin
    kind.body, kind.metrics = json.dumps({"refused": [one()]}).encode(), None
    assert main(["explain-signature", "--recent", "--admin", url]) == 1
    said = capsys.readouterr().out
    assert f"rejected for other reasons are not shown: cannot read {url}/metrics" in said


@pytest.mark.parametrize("body", [b"", b"live\n", b"[]", b"{}"])
def test_a_port_of_another_server_is_a_mistake(
    body: bytes, admin: tuple[str, type[Admin]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kind = admin
    kind.body = body
    assert main(["explain-signature", "--recent", "--admin", url]) == 2
    assert "not an admin port" in capsys.readouterr().err


def test_a_daemon_that_does_not_run_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain-signature", "--recent", "--admin", "http://127.0.0.1:9"]) == 2
    said = capsys.readouterr().err
    assert "refused" in said.lower()
    assert "give --admin URL" in said
    assert main(["explain-signature", "--recent", "--admin", "file:///etc"]) == 2


def test_an_error_of_the_admin_port_is_shown_with_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    body = b"misdirected request: \x1b[2J: add it to allowed_hosts in [admin]\n"
    with answering(b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as port:
        assert main(["explain-signature", "--recent", "--admin", f"http://127.0.0.1:{port}"]) == 2
    said = capsys.readouterr().err
    assert "421 Misdirected Request: misdirected request: " in said
    assert "allowed_hosts" in said
    assert "\x1b" not in said


def test_older_requests_that_the_daemon_left_out_are_counted(
    admin: tuple[str, type[Admin]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kind = admin
    kind.body = json.dumps({"refused": [one()], "omitted": 7}).encode()
    assert main(["explain-signature", "--recent", "1", "--admin", url]) == 1
    assert "older ones" not in capsys.readouterr().out
    assert main(["explain-signature", "--recent", "9", "--admin", url]) == 1
    assert "7 older requests are not shown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "count"), [(" x\n", 400_000), ("x-forwarded-for: 192.0.2.1\n", 100_000), ("a: b\n  c\n", 100_000)]
)
def test_many_lines_take_time_in_proportion(line: str, count: int) -> None:
    """Each folded line converted the whole header to lower case again: 400,000 lines took minutes."""
    assert _seconds_to_read(line * count) < 40 * _seconds_to_read(line * (count // 10)) + 0.05


def _seconds_to_read(lines: str) -> float:
    begun = time.process_time()
    parse_request(f"GET / HTTP/1.1\nHost: {HOST}\nsignature: sig1=:\n{lines}")
    return time.process_time() - begun
