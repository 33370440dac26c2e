"""Secrets and API keys are in no file and no response of the daemon, whatever error occurs."""

import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import pytest

from audiohookd.auth.keys.model import fingerprint
from tests.auth.vault_stand_in import VaultStandIn, vault_stand_in
from tests.functional.caller import API_KEY, Caller, signed_head
from tests.functional.daemon import PATIENCE, Daemon
from tests.functional.place import Place

NEW, OLD, ELSEWHERE = (base64.b64encode(f"a secret of {which}".encode()).decode() for which in ("now", "old", "far"))
OPEN_KEY, STRANGER, VAULT_KEY = "b3Blbi1hbmQtYS1wYXNzd29yZA", "c29tZWJvZHktZWxzZXMta2V5", "a2V5LW9mLXRoZS12YXVsdA"
TOKEN = "hvs.token-of-the-vault"
PAGES = ("/live", "/ready", "/health/check", "/metrics", "/refused", "/nowhere")


def shapes(secret: str) -> list[bytes]:
    """All encodings in which the secret could be written."""
    raw = base64.b64decode(secret + "=" * (-len(secret) % 4))
    return [secret.rstrip("=").encode(), raw, raw.hex().encode(), repr(raw)[2:-1].encode()]


SECRETS = [shape for secret in (NEW, OLD, ELSEWHERE) for shape in shapes(secret)]
SECRETS += [secret.encode() for secret in (API_KEY, OPEN_KEY, STRANGER, VAULT_KEY, TOKEN)]


@pytest.fixture
def vault() -> Iterator[VaultStandIn]:
    with vault_stand_in() as server:
        server.tokens.add(TOKEN)
        server.versions.append(({VAULT_KEY: ELSEWHERE}, time.time()))
        yield server


@pytest.fixture
def there(place: Callable[..., Place], vault: VaultStandIn) -> Place:
    there = place()
    table = {"url": vault.url, "token_file": "token", "refresh": 10}
    there.write(**{"auth.vault": table, "limits": {"handshakes_per_second": 0}})
    (there.directory / "token").write_text(TOKEN)
    (there.directory / "token").chmod(0o600)
    write_keys(there, json.dumps({API_KEY: {"secret": [NEW, OLD]}, OPEN_KEY: None}))
    return there


def write_keys(there: Place, text: str) -> None:
    (there.directory / "keys.json").write_text(text)


def call(there: Place, head: bytes) -> None:
    """Makes a short call."""
    with Caller(there.port, head) as caller:
        caller.session = caller._header("audiohook-session-id")
        answer = caller.open()
        assert answer["type"] == "opened", answer["parameters"]
        caller.audio(bytes(1600))
        caller.close()


def refused(there: Place, head: bytes) -> None:
    with Caller(there.port, head) as caller:
        assert caller.upgrade() == 401


def logged(daemon: Daemon, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in daemon.log():
        assert time.monotonic() < deadline, f"{text!r} is not in\n{daemon.log()}"
        time.sleep(0.05)


def page(there: Place, path: str) -> bytes:
    """The response of the admin port, whatever its status."""
    connection = HTTPConnection("127.0.0.1", there.admin_port, timeout=PATIENCE)
    connection.request("GET", path)
    with connection.getresponse() as answer:
        body = answer.read()
    connection.close()
    return body


def everything(directory: Path) -> bytes:
    """The content of all files that the daemon wrote."""
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def test_no_secret_is_in_any_output(there: Place, vault: VaultStandIn) -> None:
    with there.daemon() as daemon:
        for secret in (NEW, OLD):
            call(there, signed_head(there.port, str(uuid4()), base64.b64decode(secret)))
        call(there, signed_head(there.port, str(uuid4()), None, x_api_key=OPEN_KEY))
        refused(there, signed_head(there.port, str(uuid4()), b"wrong"))
        refused(there, signed_head(there.port, str(uuid4()), None))
        refused(there, signed_head(there.port, str(uuid4()), None, x_api_key=STRANGER))
        refused(there, signed_head(there.port, str(uuid4()), base64.b64decode(NEW), x_api_key=OPEN_KEY))
        vault.status = 500
        for broken in (f'{{"{OPEN_KEY}": "{NEW}&"}}', f'{{"{API_KEY}": "{NEW}", "{OPEN_KEY}": "'):
            write_keys(there, broken)
            daemon.process.send_signal(signal.SIGHUP)
            logged(daemon, "auth.keys_file: cannot load keys")
        logged(daemon, "auth.vault: cannot load keys")
        there.sidecars(3)
        pages = b"".join(page(there, path) for path in PAGES)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(PATIENCE)
        log = daemon.log()
    # The searched output must not be empty.
    assert fingerprint(OPEN_KEY) in log
    for reason in ("signature-wrong", "signature-required", "api-key-unknown", "signature-unexpected"):
        assert f"rejected: {reason}" in log
    assert b'audiohookd_key_refresh_failures_total{source="auth.vault"}' in pages
    spool = everything(there.spool)
    assert b"audiohook-session-id" in spool
    told = log.encode() + pages + spool
    assert [secret for secret in SECRETS if secret in told] == []


def test_no_secret_is_in_the_output_of_a_failed_start(there: Place) -> None:
    for broken in (f'{{"{OPEN_KEY}": "{NEW}&"}}', f'{{"{API_KEY}": "{NEW}", "{OPEN_KEY}": "', f'["{NEW}"]'):
        write_keys(there, broken)
        daemon = there.daemon()
        with pytest.raises(Exception, match=r"auth\.keys_file") as caught, daemon:
            pass
        assert [secret for secret in SECRETS if secret in str(caught.value).encode()] == []
