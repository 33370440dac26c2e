"""Fixtures that several notifier tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from audiohookd.spool.catalog import Recording
from tests.plugins.notification_rig import a_recording
from tests.plugins.webhook_rig import SECRET, Certificate, Sender, WebhookServer, certificate, private_file, serving


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with serving() as one:
        yield one


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    return private_file(tmp_path / "secret", SECRET)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return a_recording(tmp_path / "spool")


@pytest.fixture
def sender(server: WebhookServer, secret_file: Path) -> Sender:
    return Sender(url=server.url, secret_file=secret_file)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("known"))


@pytest.fixture
def the_system_trusts(known: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusts one certificate only, which also saves the time to read the system's 150."""
    monkeypatch.setenv("SSL_CERT_FILE", str(known.chain))
    monkeypatch.setenv("SSL_CERT_DIR", str(known.chain.parent / "none"))
