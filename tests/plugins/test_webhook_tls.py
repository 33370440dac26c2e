"""Notifications over TLS, and through a proxy."""

from pathlib import Path

import pytest

from audiohookd.interfaces import Unavailable
from audiohookd.spool.catalog import Recording
from tests.plugins.notification_rig import ID
from tests.plugins.webhook_rig import Certificate, Sender, WebhookServer, certificate, private_file, serving

pytestmark = pytest.mark.usefixtures("the_system_trusts")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("mine"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("foreign"), "192.0.2.1")


class TestTls:
    def test_a_certificate_that_the_system_knows(
        self, known: Certificate, secret_file: Path, recording: Recording
    ) -> None:
        with serving(known) as server:
            assert Sender(url=server.url, secret_file=secret_file).tell(recording) is None
            assert server.requests[0].headers["webhook-id"] == ID

    def test_one_that_the_configuration_names(
        self, mine: Certificate, known: Certificate, secret_file: Path, recording: Recording
    ) -> None:
        """It replaces the system's certificates."""
        with serving(mine) as server:
            assert Sender(url=server.url, secret_file=secret_file, ca_file=mine.chain).tell(recording) is None
        with serving(known) as server:
            fault = Sender(url=server.url, secret_file=secret_file, ca_file=mine.chain).tell(recording)
            assert isinstance(fault, Unavailable)

    def test_one_that_the_system_does_not_know(
        self, mine: Certificate, secret_file: Path, recording: Recording
    ) -> None:
        with serving(mine) as server:
            fault = Sender(url=server.url, secret_file=secret_file).tell(recording)
            assert isinstance(fault, Unavailable)
            assert "CERTIFICATE_VERIFY_FAILED" in str(fault)
            assert server.requests == []

    def test_one_of_another_host(self, foreign: Certificate, secret_file: Path, recording: Recording) -> None:
        with serving(foreign) as server:
            fault = Sender(url=server.url, secret_file=secret_file, ca_file=foreign.chain).tell(recording)
            assert isinstance(fault, Unavailable)
            assert server.requests == []

    def test_a_server_that_speaks_none(self, server: WebhookServer, secret_file: Path, recording: Recording) -> None:
        url = server.url.replace("http:", "https:")
        assert isinstance(Sender(url=url, secret_file=secret_file).tell(recording), Unavailable)
        assert server.requests == []


class TestAProxy:
    def test_carries_requests_when_configured(
        self, server: WebhookServer, secret_file: Path, recording: Recording
    ) -> None:
        sender = Sender(url="http://hooks.example.com/x", allow_http=True, secret_file=secret_file, proxy=server.url)
        assert sender.tell(recording) is None
        assert server.requests[0].target == "http://hooks.example.com/x"

    def test_receives_only_its_own_credentials(
        self, server: WebhookServer, secret_file: Path, tmp_path: Path, recording: Recording
    ) -> None:
        headers = private_file(tmp_path / "headers", "Proxy-Authorization: Basic cHJveHk=", "Authorization: Bearer t")
        sender = Sender(
            url="https://hooks.example.com/x", secret_file=secret_file, proxy=server.url, headers_file=headers
        )
        server.answers(407)
        fault = sender.tell(recording)
        assert isinstance(fault, Unavailable)
        (request,) = server.requests
        assert (request.method, request.target) == ("CONNECT", "hooks.example.com:443")
        assert request.headers["proxy-authorization"] == "Basic cHJveHk="
        assert "authorization" not in request.headers
        assert "webhook-signature" not in request.headers

    def test_of_the_environment_is_ignored(
        self, server: WebhookServer, sender: Sender, recording: Recording, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1/")
        assert sender.tell(recording) is None
        assert server.requests[0].target == "/recordings"
