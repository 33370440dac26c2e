"""``audiohookctl call`` over TLS: authorities from a file, and explanations for an untrusted server."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.tls_front import Pair, answering, fronting, pair

KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"


def call(port: int, *options: str, url: str | None = None) -> tuple[int, str]:
    """Makes two calls to a port of this machine. Returns the exit code and the messages."""
    command = [sys.executable, "-m", "audiohookd.cli.main", "call", url or f"wss://127.0.0.1:{port}/x", "--key", KEY]
    environment = os.environ | {"AUDIOHOOK_CLIENT_SECRET": base64.b64encode(b"0123456789abcdef").decode()}
    done = subprocess.run(
        [*command, "--probe", *options], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert json.dumps(done.stdout) == '""'
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("ca") / "ca.pem", "Throw-Away CA", ca=True)


def test_an_authority_of_a_file_is_trusted(authority: Pair, tmp_path: Path) -> None:
    certificate = pair(tmp_path / "server.pem", "127.0.0.1", authority)
    with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as backend, fronting(backend, certificate) as port:
        code, said = call(port, "--ca", str(authority.file))
    assert "call 1: HTTP 404 Not Found: nothing is served at this path" in said
    assert code == 1


def call_by_name(host: str, port: int, authority: Pair) -> tuple[int, str]:
    """Calls as :func:`call` does, to a name that is not in any DNS."""
    return call(port, "--ca", str(authority.file), "--connect", f"127.0.0.1:{port}", url=f"wss://{host}/x")


def test_the_name_of_the_url_is_that_of_the_certificate_wherever_the_call_connects(
    authority: Pair, tmp_path: Path
) -> None:
    certificate = pair(tmp_path / "name.pem", "audio.invalid", authority)
    with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as backend, fronting(backend, certificate) as port:
        right, wrong = (call_by_name(host, port, authority) for host in ("audio.invalid", "other.invalid"))
    assert "call 1: HTTP 404 Not Found: nothing is served at this path" in right[1]
    assert "is for audio.invalid, not for other.invalid" in wrong[1]


def test_a_server_that_is_not_trusted_is_explained(authority: Pair, tmp_path: Path) -> None:
    cases = {
        "the certificate is self-signed": pair(tmp_path / "self.pem", "127.0.0.1"),
        "the certificate expired on": pair(tmp_path / "old.pem", "127.0.0.1", authority, (-90, -3)),
        "is for other.example.com, not for 127.0.0.1": pair(tmp_path / "other.pem", "other.example.com", authority),
        "the issuer Other CA is unknown": pair(
            tmp_path / "unknown.pem", "127.0.0.1", pair(tmp_path / "ca2.pem", "Other CA", ca=True)
        ),
    }
    for told, certificate in cases.items():
        with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as backend, fronting(backend, certificate) as port:
            code, said = call(port, "--ca", str(authority.file), "--sessions", "2")
        assert code == 1
        assert said.count(told) == 2, said
        assert "SSL error" not in said


def test_a_port_without_tls_is_named() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        _, said = call(port)
    assert "call 1: no TLS: the port does not speak TLS (plain HTTP?)" in said


def test_a_file_without_certificates_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    code, said = call(9, "--ca", str(tmp_path / "empty"))
    assert (code, said.count("\n")) == (2, 1)
    assert "contains no certificates (PEM)" in said
