"""The operator's tools with a real daemon: doctor over TLS, sign, and explain-signature."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cli.tls_front import HOST, Pair, fronting, pair
from tests.functional.caller import API_KEY, PATH, Caller, signed_head
from tests.functional.listener_rig import configured
from tests.functional.place import Place

SECRET_TEXT = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
URL = f"wss://{HOST}{PATH}"


def ctl(place: Place, *arguments: str) -> tuple[int, str]:
    """Runs the installed audiohookctl, and returns its exit code and output."""
    command: list[Any] = [place.bin / "audiohookctl", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def credentials(tmp_path: Path) -> list[str]:
    (tmp_path / "secret").write_text(SECRET_TEXT)
    return ["--key", API_KEY, "--secret-file", str(tmp_path / "secret")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("ca") / "ca.pem", "Throw-Away CA", ca=True)


@pytest.fixture
def front(served: Place, authority: Pair, tmp_path: Path) -> Iterator[int]:
    with fronting(served.port, pair(tmp_path / "server.pem", issuer=authority)) as port:
        yield port


def doctor(place: Place, port: int, authority: Pair, *options: str) -> tuple[int, str]:
    return ctl(place, "doctor", URL, "--ca", str(authority.file), "--connect", f"127.0.0.1:{port}", *options)


def test_a_private_authority_is_none_of_genesys_cloud(
    served: Place, front: int, authority: Pair, credentials: list[str]
) -> None:
    code, said = doctor(served, front, authority, *credentials)
    assert code == 1
    assert said.splitlines()[-1] == (
        "Genesys Cloud would not activate this integration: it would not connect: it trusts only public"
        " certificate authorities, not --ca. Everything else is correct."
    )


def test_a_correct_daemon_passes_the_doctor(
    served: Place, front: int, authority: Pair, credentials: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is from an authority that this machine trusts by default."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    code, said = doctor(served, front, authority, *credentials)
    assert code == 0, said
    steps = {line.split()[0]: line.split()[1] for line in said.splitlines()[:-1]}
    assert steps == dict.fromkeys(("URL", "DNS", "TCP", "TLS", "upgrade", "open", "close", "end"), "ok")
    assert "WebSocket closed: 1000" in said
    assert said.endswith(
        f"Genesys Cloud would activate this integration, provided that port 443 of {HOST} leads to 127.0.0.1:{front}"
        " and that a public authority issued its certificate ($SSL_CERT_FILE changes what is trusted here).\n"
    )
    assert list(served.spool.glob("ready/*/*")) == [], "a probe is no call"


def test_a_wrong_secret_is_found_and_explained(served: Place, front: int, authority: Pair, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("d3Jvbmcgc2VjcmV0IQ==")
    code, said = doctor(served, front, authority, "--key", API_KEY, "--secret-file", str(tmp_path / "wrong"))
    assert code == 1
    assert "401 Unauthorized: key or signature rejected" in said
    assert "not the daemon answered" not in said
    code, said = ctl(served, "explain-signature", "--recent", "--admin", f"http://127.0.0.1:{served.admin_port}")
    assert code == 1
    assert "127.0.0.1: signature-wrong" in said
    assert "a guess: the secret is not the signer's" in said


def test_a_host_given_as_a_hint_is_proven(served: Place) -> None:
    with Caller(served.port, signed_head(served.port, str(uuid4()), host="hook.example.org")) as caller:
        assert caller.upgrade() == 401
    recent = ("explain-signature", "--recent", "--admin", f"http://127.0.0.1:{served.admin_port}")
    _, said = ctl(served, *recent)
    assert "a guess: Genesys Cloud called another name, path or query" in said
    _, said = ctl(served, *recent, "--host", f"127.0.0.1:{served.port}")
    assert "certain: Host was rewritten on the way to 'hook.example.org'" in said


def test_rejections_by_a_limit_are_counted(place: Callable[..., Place]) -> None:
    there = configured(place, {"trusted_hops": 1, "max_sessions": 10}, limits={"handshakes_per_second": 1})
    head = signed_head(there.port, str(uuid4()), x_forwarded_for="203.0.113.9")
    with there.daemon():
        statuses = []
        for _ in range(30):
            with Caller(there.port, head.replace(b"GET ", b"PUT ", 1)) as caller:
                statuses.append(caller.upgrade())
        code, said = ctl(there, "explain-signature", "--recent", "--admin", f"http://127.0.0.1:{there.admin_port}")
    assert code == 0
    assert "no request was rejected for its key or signature" in said
    assert f"http-429 {statuses.count(429)}" in said
    assert statuses.count(429) > 0


def test_a_wrong_path_is_explained(served: Place, front: int, authority: Pair, credentials: list[str]) -> None:
    code, said = ctl(
        served, "doctor", f"wss://{HOST}/elsewhere", "--ca", str(authority.file), "--connect", f"127.0.0.1:{front}",
        *credentials,
    )  # fmt: skip
    assert code == 1
    assert "404 Not Found: nothing is served at this path" in said


def test_signed_headers_are_accepted_once(served: Place, credentials: list[str]) -> None:
    code, headers = ctl(served, "sign", served.url(), *credentials)
    assert code == 0
    upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
    head = f"GET {PATH} HTTP/1.1\n{headers}{upgrade}Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\n\n"
    with Caller(served.port, head.replace("\n", "\r\n").encode()) as caller:
        assert caller.upgrade() == 101
    with Caller(served.port, head.replace("\n", "\r\n").encode()) as caller:
        assert caller.upgrade() == 401
    _, said = ctl(served, "explain-signature", "--recent", "--admin", f"http://127.0.0.1:{served.admin_port}")
    assert "certain: a request with this nonce was accepted before" in said


def refused(place: Place) -> tuple[list[dict[str, Any]], str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{place.admin_port}/refused", timeout=10) as answer:
        text = answer.read().decode()
    return json.loads(text)["refused"], text


def test_the_record_proves_a_rewritten_host_and_shows_nothing_of_use(served: Place) -> None:
    heads = [
        signed_head(served.port, str(uuid4()), host="backend:1", x_forwarded_host=f"127.0.0.1:{served.port}"),
        signed_head(served.port, str(uuid4()), secret=None),
        signed_head(served.port, str(uuid4()), secret=None, x_api_key="cGFzc3dvcmQgb2Ygc29tZWJvZHk="),
    ]
    for head in heads:
        with Caller(served.port, head) as caller:
            assert caller.upgrade() == 401
    found, text = refused(served)
    assert [request["reason"] for request in found] == ["api-key-unknown", "signature-required", "signature-wrong"]
    assert "certain: Host was rewritten on the way to 'backend:1'" in text
    for head in heads:
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
        mac = lines.get("signature", "sig1=:none-at-all:")[6:-1]
        nonce = lines.get("signature-input", 'nonce="none-at-all"').partition('nonce="')[2].partition('"')[0]
        for hidden in (lines["x-api-key"], mac, mac[:12], nonce, SECRET_TEXT):
            assert hidden not in text


def test_a_daemon_without_rejections_is_reported(served: Place) -> None:
    assert refused(served)[0] == []
